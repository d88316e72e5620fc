package main

import (
	"embed"
	"fmt"
	"strings"
)

// The scripts hand the words of the command line to a hidden command and show what it prints, see completion_words.go. The
// libraries for kong (willabides/kongplete, on posener/complete) do less: they split the line at spaces, so that neither a
// path with a space nor one in quotes completes, and zsh gets them through its emulation of bash.
//
//go:embed completion
var completionScripts embed.FS

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says how to use what is printed.
func (c *completionCmd) Help() string {
	return "Completes commands, flags, sources, drives, barcodes, and paths of the archive.\n\n" +
		"In ~/.bashrc:  source <(tapefs completion bash)\n\n" +
		"In ~/.zshrc, after compinit:  source <(tapefs completion zsh)\n\n" +
		"For fish:  tapefs completion fish >~/.config/fish/completions/tapefs.fish"
}

func (c *completionCmd) Run(a *app) error {
	script, err := completionScripts.ReadFile("completion/tapefs." + c.Shell)
	if err != nil {
		return fmt.Errorf("read completion: %w", err)
	}
	_, err = a.stdout.Write(script)
	return err
}

// bashWord is what a word of bash's command line means: bash gives words as they were typed. The last
// one may end in the middle of quotes.
func bashWord(typed string) string {
	var out strings.Builder
	quote := byte(0)
	for i := 0; i < len(typed); i++ {
		c := typed[i]
		switch {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(typed):
			i++
			if quote == '"' && !strings.ContainsRune("\"\\$`", rune(typed[i])) {
				out.WriteByte('\\')
			}
			out.WriteByte(typed[i])
		case c == '\\' && quote != '\'':
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
