package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/tapefs/tapefs/changer/virtual"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// globals are the flags that every command takes.
type globals struct {
	Config    string `group:"global" help:"Configuration file; else $$TAPEFS_CONFIG, then config.yaml in $$XDG_CONFIG_HOME/tapefs, then /etc/tapefs." placeholder:"FILE"`
	State     string `group:"global" help:"State folder: catalog, keys, spool, cache, run. Overrides the configuration." placeholder:"DIR"`
	JSON      bool   `group:"global" name:"json" help:"Print JSON, for programs."`
	Verbose   bool   `group:"global" short:"v" help:"Log each step."`
	LogFormat string `group:"global" help:"Format of log lines: text or json." enum:"text,json" default:"text"`
}

// cli is the command line.
type cli struct {
	globals

	Archive  archiveCmd  `cmd:"" group:"archive" help:"Bring new and changed files of sources onto tape."`
	Safe     safeCmd     `cmd:"" group:"archive" help:"List the files of a source that may be deleted there, because tapes have them; --delete removes them."`
	Receipts receiptsCmd `cmd:"" group:"archive" help:"List what safe --delete and inboxes removed at sources: when, size, SHA-256, tapes."`
	Verify   verifyCmd   `cmd:"" group:"archive" help:"Read tapes back and prove that their bytes are those that were written."`
	Forget   forgetCmd   `cmd:"" group:"archive" help:"Forget versions: what vanished long ago, old ones, or paths. Lists them unless --yes."`

	Mount    mountCmd    `cmd:"" group:"read" help:"Show the archive in a directory."`
	Restore  restoreCmd  `cmd:"" group:"read" help:"Bring many files back in tape order, without the mount."`
	Prefetch prefetchCmd `cmd:"" group:"read" help:"Bring files into the cache before somebody reads them, in tape order; pin them there."`
	Ls       lsCmd       `cmd:"" group:"read" help:"List a directory of the archive, from the catalog alone."`
	Find     findCmd     `cmd:"" group:"read" help:"Find files by name, from the catalog alone."`
	Info     infoCmd     `cmd:"" group:"read" help:"Say all that is known of a path: versions, object, copies, tapes."`
	Serve    serveCmd    `cmd:"" group:"read" help:"Show library, tapes, runs and files on a page for browsers."`

	Tape    tapeCmd    `cmd:"" group:"tapes" help:"Tapes of this catalog."`
	Library libraryCmd `cmd:"" group:"tapes" help:"The tape library."`
	Drive   driveCmd   `cmd:"" group:"tapes" help:"The drives: state, kind, eject, clean, trust again."`

	Init    initCmd    `cmd:"" group:"setup" help:"Write a configuration, a key and an empty catalog."`
	Doctor  doctorCmd  `cmd:"" group:"setup" help:"Look whether all is in place for archive and mount, and say what to do."`
	Config  configCmd  `cmd:"" group:"setup" help:"The configuration: check it, and show how it is understood."`
	Status  statusCmd  `cmd:"" group:"setup" help:"Drives, tapes, sources, spool, cache, owed copies."`
	Runs    runsCmd    `cmd:"" group:"setup" help:"What earlier runs did."`
	Catalog catalogCmd `cmd:"" group:"setup" help:"The catalog: check, backup, export, and rebuild from tapes."`
	Key     keyCmd     `cmd:"" group:"setup" help:"Keys: without them the tapes are noise."`

	Demo       demoCmd       `cmd:"" group:"more" help:"Show the whole journey with a virtual library in a temporary folder."`
	Virtual    virtualCmd    `cmd:"" group:"more" help:"A tape library in a directory, as the programs mtx, mt, mkltfs, ltfs, ltfsck."`
	Completion completionCmd `cmd:"" group:"more" help:"Print what makes bash, zsh or fish complete commands, paths and barcodes."`
	Man        manCmd        `cmd:"" group:"more" help:"Write the manual pages into a directory."`
	Help       helpCmd       `cmd:"" group:"more" help:"Explain a command."`
	Version    versionCmd    `cmd:"" group:"more" help:"Print the version."`
}

// app is what a command gets besides its own flags.
type app struct {
	globals
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger

	mounted bool     // this process is that of a mount
	stopper *stopper // nil: signals are somebody else's
	ends    []func() // to be called when the command is over, before its error is told
}

// virtualCmd is handled before parsing: its arguments are those of other programs.
type virtualCmd struct {
	Args []string `arg:"" optional:"" passthrough:"" help:"create, fault, log, or mtx, mt, mkltfs, ltfs, ltfsck, lsscsi with their own arguments."`
}

func (c *virtualCmd) Run(a *app) error {
	return exitStatus(virtual.Main(c.Args, a.stdin, a.stdout, a.stderr))
}

// exitStatus passes another program's exit code through.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "virtual" {
		return virtual.Main(args[1:], stdin, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "--version" { // not a flag of every command: restore has one of its own
		fmt.Fprintln(stdout, "tapefs "+programVersion())
		return exitDone
	}
	if len(args) > 0 && args[0] == mountHelperWord {
		return runMountHelper(ctx, args[1:], stdin, stdout, stderr)
	}
	var c cli
	exited := -1
	parser, err := newParser(ctx, &c, stdout, stderr, func(code int) { exited = code })
	if err != nil {
		fmt.Fprintf(stderr, "tapefs: %v\n", err)
		return exitFailed
	}
	args = asWords(args)
	if args[0] == "__complete" {
		complete(ctx, parser.Model, args[1:], stdout)
		return 0
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		// What stands before the mistake is parsed, and --json may come after it.
		report(stderr, withHint(&usageError{err}, "tapefs --help"), globals{JSON: asksJSON(args)})
		return exitUsage
	}
	shown := ui.NewPrintableWriter(stdout)
	a := &app{globals: c.globals, stdin: stdin, stdout: shown, stderr: stderr}
	a.log = newLogger(stderr, a.LogFormat, a.Verbose)
	a.stopper, _ = ctx.Value(stopperKey{}).(*stopper)
	if err = checkLimits(parsed.Command(), limitOf); err == nil {
		err = parsed.Run(a)
	}
	err = errors.Join(err, shown.Flush())
	for _, end := range a.ends {
		end()
	}
	if s, ok := stderr.(*ui.Terminal); ok {
		s.End()
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	if err != nil {
		report(stderr, err, c.globals)
	}
	return exitCode(err)
}

// asksJSON reports whether a command line that could not be parsed asks for JSON.
func asksJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}

// newParser makes the parser of the command line. exit is called after help was printed.
func newParser(ctx context.Context, c *cli, stdout, stderr io.Writer, exit func(code int)) (*kong.Kong, error) {
	parser, err := kong.New(c,
		kong.Name("tapefs"),
		kong.Description("A tape archive that is used through an ordinary directory.\n\n"+
			"New here? \"tapefs demo\" shows the whole journey, \"tapefs doctor\" says what this machine still needs, "+
			"and \"tapefs init\" writes a configuration.\n\n"+exitHelp),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.Vars{"moment": momentHelp, "listen": defaultListen},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.KindMapper(reflect.String, kong.MapperFunc(exactString)),
		commandGroups,
	)
	if err != nil {
		return nil, err
	}
	addHelp(parser.Model)
	return parser, nil
}

// exactString takes a word of the command line as its bytes: kong's own way goes through JSON, which
// replaces what is not UTF-8, and names may hold any bytes.
func exactString(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	word, ok := token.Value.(string)
	if !ok {
		word = fmt.Sprint(token.Value)
	}
	target.SetString(word)
	return nil
}

// newLogger writes warnings and worse, with -v everything.
func newLogger(w io.Writer, format string, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	options.ReplaceAttr = func(groups []string, attr slog.Attr) slog.Attr {
		if attr.Key == slog.TimeKey && len(groups) == 0 && os.Getenv("JOURNAL_STREAM") != "" {
			return slog.Attr{} // the journal has its own time
		}
		return attr
	}
	return slog.New(slog.NewTextHandler(w, options))
}
