package main

import (
	"reflect"
	"regexp"
	"strings"
	"sync"
)

// namedCommand finds a command of ours in a sentence: "tapefs archive".
var namedCommand = sync.OnceValue(func() *regexp.Regexp {
	var names []string
	for field := range reflect.TypeFor[cli]().Fields() {
		if _, ok := field.Tag.Lookup("cmd"); ok {
			names = append(names, strings.ToLower(field.Name))
		}
	}
	return regexp.MustCompile(`\btapefs (` + strings.Join(names, "|") + `)\b`)
})

// repeat adds the configuration and state that were given on the command line to the commands that a text tells people to run next.
// Without them these would be about another archive, or about none.
func (g globals) repeat(text string) string {
	var flags string
	if g.Config != "" && !strings.Contains(text, "--config") {
		flags += " --config " + shellWord(g.Config)
	}
	if g.State != "" && !strings.Contains(text, "--state") {
		flags += " --state " + shellWord(g.State)
	}
	if flags == "" {
		return text
	}
	return namedCommand().ReplaceAllStringFunc(text, func(found string) string {
		return "tapefs" + flags + strings.TrimPrefix(found, "tapefs")
	})
}

// plainWord is what a shell takes as it stands.
var plainWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_./:@%+=-]+$`) })

// shellWord quotes a word for a shell, where it must be.
func shellWord(word string) string {
	if plainWord().MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
