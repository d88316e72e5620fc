package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// The groups of commands in tapefs --help, by what people want to do.
var commandGroups = kong.Groups{
	"archive": "Archive, and keep it safe:",
	"read":    "Find and read:",
	"tapes":   "Tapes and drives:",
	"setup":   "Set up and look after:",
	"more":    "More:",
	"global":  "Flags of every command:",
}

// commandHelp is what a command's --help says below the description.
type commandHelp struct {
	examples [][2]string // a command line without "tapefs ", and what it is for; "" where it says so itself
	exits    []string    // exit codes beside 0 and 2, each with what it means here
}

// Exit codes that mean the same wherever they are.
const (
	exitHelpFailed   = "1 failed"
	exitHelpOperator = "4 a tape or a person is needed"
	exitHelpLocked   = "75 another run holds the lock"
)

var (
	failsOnly = []string{exitHelpFailed}
	onLibrary = []string{exitHelpFailed, exitHelpOperator}
)

// commandHelps has an entry for each command that does something, by its words.
var commandHelps = map[string]commandHelp{
	"init": {[][2]string{
		{"init", "with the drives of this machine"},
		{"init --source photos=nas:/srv/photos", ""},
		{"init --virtual /tmp/library", "to try everything without hardware"},
	}, failsOnly},
	"archive": {[][2]string{
		{"archive", "all sources, as cron does"},
		{"archive photos --dry-run", "what would be done, without doing it"},
		{"archive --until 06:00", "leave the drive to readers in the morning"},
		{"archive --heal", "also renew copies that were found damaged"},
	}, []string{exitHelpFailed, "3 some files, sources or tapes failed: each is named", exitHelpOperator, exitHelpLocked}},
	"safe": {[][2]string{
		{"safe photos --verified", "what was also read back from tape"},
		{"safe photos --delete", "remove it there, with receipts"},
		{"safe photos --copies 2 -0", "for xargs -0"},
	}, []string{exitHelpFailed, "3 some files are left out: the reasons are counted"}},
	"mount": {[][2]string{
		{"mount /archive", ""},
		{"mount --at 2024-05-31 /then", "the archive as it was on that day"},
		{"mount --daemon /archive", "umount /archive ends it"},
	}, failsOnly},
	"restore": {[][2]string{
		{"restore /photos/2019 --to /srv/back", "makes /srv/back/2019"},
		{"restore / --to /srv/back", "everything"},
		{"restore /photos/a.jpg --version 1 --to /tmp", "its oldest version"},
		{"restore '/photos/*/*.raw' --exclude old --to /srv/back", ""},
		{"restore --files-from list --to /srv/back", "what a list names"},
		{"restore --dry-run /photos --to /srv/back", "tapes, and how long"},
	}, []string{exitHelpFailed, "3 some files failed: each is named", "4 tapes are outside the library: run it again once they are in"}},
	"prefetch": {[][2]string{
		{"prefetch /photos/2019", ""},
		{"prefetch --pin /films/tonight.mkv", "keep it in the cache"},
		{"prefetch --dry-run /photos", "which tapes, and how long"},
	}, []string{exitHelpFailed, "3 some files failed", exitHelpOperator}},
	"verify": {[][2]string{
		{"verify --due", "what the scrub section asks for; cron"},
		{"verify --tape AB0001L8", ""},
		{"verify --sample 5% --openssl", "prove it with openssl, too"},
	}, []string{"1 failed, or damage is known that is not healed", "3 some could not be read now", exitHelpOperator}},
	"ls": {[][2]string{
		{"ls -l /photos/2019", ""},
		{"ls -R --at 90d /photos", "as it was 90 days ago"},
	}, failsOnly},
	"find": {[][2]string{
		{"find /photos --name '*.jpg'", ""},
		{"find / --larger 10GiB --older 5y -l", "big and old"},
		{"find /photos --tape AB0001L8", "what lies on this tape"},
		{"find / --is pending,damaged", "what lacks copies"},
	}, failsOnly},
	"info": {[][2]string{
		{"info /photos/2019/a.jpg", "which tapes have it"},
		{"info --versions /photos/2019/a.jpg", ""},
	}, failsOnly},
	"serve": {[][2]string{
		{"serve", "for this machine, port 9180"},
		{"serve --listen unix:/run/page.sock", "for a proxy"},
	}, failsOnly},
	"status": {[][2]string{
		{"status", ""},
		{"status --json", "for monitoring"},
	}, failsOnly},
	"runs": {[][2]string{
		{"runs", ""},
		{"runs 17", "one run, with every error"},
	}, failsOnly},
	"receipts": {[][2]string{
		{"receipts --since 30d", "what was removed lately"},
		{"receipts /in '*.raw' --json", "a folder, and by name; for programs"},
	}, failsOnly},
	"forget": {[][2]string{
		{"forget --vanished-before 2y", "list them"},
		{"forget --vanished-before 2y --yes", "do it"},
		{"forget --keep-versions 3 /photos", ""},
		{"forget --vanished-before 2y --removed-too", "and what tapefs removed"},
	}, []string{exitHelpFailed, exitHelpLocked}},
	"doctor": {[][2]string{
		{"doctor", ""},
		{"doctor --fix-config --prove", "after drives were added or exchanged"},
	}, []string{"1 something is missing: the text says what to do"}},
	"demo": {[][2]string{
		{"demo", ""},
		{"demo --src ~/Pictures", "with files of your own; they are only read"},
	}, failsOnly},
	"completion": {[][2]string{
		{"completion bash", ""},
	}, failsOnly},
	"version": {[][2]string{{"version", ""}}, nil},
	"man":     {[][2]string{{"man /usr/local/share/man", "as make install does"}}, failsOnly},

	"tape list": {[][2]string{{"tape list", ""}}, failsOnly},
	"tape info": {[][2]string{{"tape info AB0001L8", ""}}, failsOnly},
	"tape files": {[][2]string{
		{"tape files AB0001L8", ""},
		{"tape files AB0001L8 -l --sort path", ""},
	}, failsOnly},
	"tape page": {[][2]string{
		{"tape page AB0001L8 -o AB0001L8.html", ""},
		{"tape page AB0001L8 AB0002L8 --format pdf -o pages.pdf", ""},
	}, failsOnly},
	"tape labels": {[][2]string{
		{"tape labels AB0001L8..AB0020L8 -o labels.pdf", ""},
		{"tape labels AB0001L8 --layout roll -o label.pdf", ""},
	}, failsOnly},
	"tape load":   {[][2]string{{"tape load AB0001L8", ""}}, onLibrary},
	"tape unload": {[][2]string{{"tape unload AB0001L8", ""}}, onLibrary},
	"tape move":   {[][2]string{{"tape move AB0001L8 mail", ""}}, onLibrary},
	"tape export": {[][2]string{
		{"tape export --to 'bank, box 2'", "all full tapes"},
		{"tape export AB0001L8 --to 'bank, box 2'", ""},
	}, onLibrary},
	"tape import": {[][2]string{{"tape import", ""}}, onLibrary},
	"tape check":  {[][2]string{{"tape check AB0001L8", "after a power cut"}}, onLibrary},
	"tape trust":  {[][2]string{{"tape trust AB0001L8", ""}}, failsOnly},
	"tape repack": {[][2]string{
		{"tape repack --below 40% --dry-run", ""},
		{"tape repack AB0001L8", "before it is retired"},
	}, []string{exitHelpFailed, "3 some of it could not be moved", exitHelpOperator, exitHelpLocked}},
	"tape format": {[][2]string{
		{"tape format AB0001L8 --pool main", ""},
		{"tape format --pool main --all-blank", ""},
	}, []string{exitHelpFailed, "3 the tape is not proved blank, or some failed", exitHelpOperator}},
	"tape erase":  {[][2]string{{"tape erase AB0001L8", ""}}, []string{exitHelpFailed, "3 it holds what would be lost", exitHelpOperator}},
	"tape retire": {[][2]string{{"tape retire AB0001L8 --reason 'read errors'", ""}}, failsOnly},

	"library status": {[][2]string{{"library status --watch", ""}}, failsOnly},
	"library inventory": {[][2]string{
		{"library inventory", ""},
		{"library inventory --read", "also who cartridges without a label are"},
	}, onLibrary},

	"drive status":  {[][2]string{{"drive status", ""}}, failsOnly},
	"drive inquiry": {[][2]string{{"drive inquiry", ""}}, failsOnly},
	"drive trust":   {[][2]string{{"drive trust 1", ""}}, failsOnly},
	"drive eject":   {[][2]string{{"drive eject 1", ""}}, failsOnly},
	"drive clean":   {[][2]string{{"drive clean 1", ""}}, onLibrary},

	"config check": {[][2]string{{"config check", ""}}, failsOnly},
	"config show": {[][2]string{
		{"config show", ""},
		{"config show --json", "for programs"},
	}, failsOnly},
	"config schema": {[][2]string{
		{"config schema", "for an editor to complete and check the configuration"},
	}, nil},

	"catalog check": {[][2]string{
		{"catalog check", ""},
		{"catalog check --tapes", "ask every tape in the library, too"},
	}, []string{"1 something is wrong: each point is named"}},
	"catalog backup": {[][2]string{{"catalog backup /srv/backup/catalog.db", ""}}, failsOnly},
	"catalog export": {[][2]string{
		{"catalog export", "all files, as CSV"},
		{"catalog export tapes", ""},
		{"catalog export --versions --format jsonl", "older versions, too"},
	}, failsOnly},
	"catalog rebuild": {[][2]string{
		{"catalog rebuild", "from all tapes in the library"},
		{"catalog rebuild --tape AB0001L8", "read one tape again"},
	}, []string{exitHelpFailed, "3 some of what is on the tapes was refused", exitHelpOperator}},
	"catalog import-tapebackup": {[][2]string{{"catalog import-tapebackup old.db --key old.key", ""}}, failsOnly},

	"key new":    {[][2]string{{"key new", ""}}, failsOnly},
	"key list":   {[][2]string{{"key list", ""}}, failsOnly},
	"key check":  {[][2]string{{"key check --copy /media/stick/my.key", ""}}, failsOnly},
	"key print":  {[][2]string{{"key print", "for the safe"}}, failsOnly},
	"key seal":   {[][2]string{{"key seal", ""}}, failsOnly},
	"key unseal": {[][2]string{{"key unseal", ""}}, failsOnly},
}

// addHelp gives each command its examples and exit codes, and every flag that all commands have a group at the end.
func addHelp(app *kong.Application) {
	if app.HelpFlag != nil {
		app.HelpFlag.Group = &kong.Group{Key: "global", Title: commandGroups["global"]}
	}
	for _, leaf := range app.Leaves(true) {
		h, ok := commandHelps[commandWords(leaf)]
		if !ok {
			continue
		}
		if leaf.Detail != "" {
			leaf.Detail += "\n\n"
		}
		leaf.Detail += h.text()
	}
}

// commandWords are the words of a command without those of its arguments: "tape format".
func commandWords(node *kong.Node) string {
	var words []string
	for ; node != nil && node.Type == kong.CommandNode; node = node.Parent {
		words = append([]string{node.Name}, words...)
	}
	return strings.Join(words, " ")
}

func (h commandHelp) text() string {
	var b strings.Builder
	b.WriteString("Examples:\n\n")
	width := 0
	for _, e := range h.examples {
		if e[1] != "" {
			width = max(width, len(e[0]))
		}
	}
	for _, e := range h.examples {
		line := fmt.Sprintf("    tapefs %-*s  %s", width, e[0], e[1])
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("\nExit codes: " + strings.Join(h.exitList(), "; ") + ".")
	return b.String()
}

// exitList are all exit codes of the command, in order.
func (h commandHelp) exitList() []string {
	exits := append([]string{"0 done"}, h.exits...)
	if len(h.exits) == 0 || !strings.HasPrefix(h.exits[0], "1 ") {
		exits = append(exits, exitHelpFailed)
	}
	return append(exits[:2], append([]string{"2 wrong usage or configuration"}, exits[2:]...)...)
}

// asWords lets "help" and "version" be asked for as words, as many programs do.
func asWords(args []string) []string {
	if len(args) == 0 {
		return []string{"--help"}
	}
	if args[0] == "help" {
		return append(args[1:len(args):len(args)], "--help")
	}
	return args
}

// helpCmd is listed and completed; asWords turns it into --help before it is parsed.
type helpCmd struct {
	Command []string `arg:"" optional:"" help:"The command to explain."`
}
