package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tapefs/tapefs/catalog"
)

// candidates are the words that can stand at a place of the command line. kind tells the shell what they are:
// words, paths (of the archive: those ending in "/" go on), or files, which the shell knows better.
type candidates struct {
	kind  string
	words []string
}

// complete answers the scripts of tapefs completion: args are the shell and the words typed so far, the last of which
// is completed. The answer is the kind, then one candidate a line. What cannot be known (no configuration,
// no catalog) has no candidates; it is no error.
func complete(ctx context.Context, model *kong.Application, args []string, stdout io.Writer) {
	if len(args) < 2 {
		return
	}
	shell, words := args[0], slices.Clone(args[1:])
	if shell == "bash" {
		for i := range words {
			words[i] = bashWord(words[i])
		}
	}
	last := words[len(words)-1]
	found := completer{ctx: ctx}.at(model.Node, words[:len(words)-1], last)
	fmt.Fprintln(stdout, found.kind)
	for _, w := range found.words {
		if strings.HasPrefix(w, last) && !strings.Contains(w, "\n") { // a shell could not tell it from two
			fmt.Fprintln(stdout, w)
		}
	}
}

type completer struct {
	ctx context.Context
	app app // of the flags typed so far
}

// at finds what can follow the words before.
func (c completer) at(node *kong.Node, before []string, last string) candidates {
	position, onlyArgs := 0, false
	var value *kong.Value // of the flag whose value comes next
	for _, w := range before {
		switch {
		case value != nil:
			c.note(value.Name, w)
			value = nil
		case !onlyArgs && w == "--":
			onlyArgs = true
		case !onlyArgs && strings.HasPrefix(w, "-") && len(w) > 1:
			name, inline, hasValue := strings.Cut(w, "=")
			flag := findFlag(node, name)
			switch {
			case flag == nil || flag.IsBool() || flag.IsCounter():
			case hasValue:
				c.note(flag.Name, inline)
			default:
				value = flag.Value
			}
		default:
			if child := findChild(node, w); child != nil && position == 0 {
				node = child
			} else {
				position++
			}
		}
	}
	switch {
	case value != nil:
		return c.values(value, last)
	case !onlyArgs && strings.HasPrefix(last, "--") && strings.Contains(last, "="):
		name, typed, _ := strings.Cut(last, "=")
		flag := findFlag(node, name)
		if flag == nil {
			return candidates{kind: "words"}
		}
		found := c.values(flag.Value, typed)
		for i := range found.words {
			found.words[i] = name + "=" + found.words[i]
		}
		return found
	case !onlyArgs && strings.HasPrefix(last, "-"):
		return candidates{"words", flagNames(node)}
	}
	if position == 0 && len(node.Children) > 0 {
		found := candidates{kind: "words"}
		for _, child := range node.Children {
			if !child.Hidden {
				found.words = append(found.words, child.Name)
			}
		}
		return found
	}
	if n := len(node.Positional); n > 0 {
		if position >= n && node.Positional[n-1].IsCumulative() {
			position = n - 1
		}
		if position < n {
			return c.values(node.Positional[position], last)
		}
	}
	return candidates{kind: "words"}
}

// note remembers which archive the words typed so far speak of.
func (c *completer) note(flag, value string) {
	switch flag {
	case "config":
		c.app.Config = value
	case "state":
		c.app.State = value
	}
}

func findChild(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name || slices.Contains(child.Aliases, name) {
			return child
		}
	}
	return nil
}

func findFlag(node *kong.Node, word string) *kong.Flag {
	for ; node != nil; node = node.Parent {
		for _, f := range node.Flags {
			if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}

func flagNames(node *kong.Node) []string {
	var names []string
	for ; node != nil; node = node.Parent {
		for _, f := range node.Flags {
			if !f.Hidden {
				names = append(names, "--"+f.Name)
			}
		}
	}
	return names
}

// values are what a flag or an argument can be, by its name and by what its help calls the value.
func (c completer) values(v *kong.Value, last string) candidates {
	if v.Enum != "" {
		return candidates{"words", v.EnumSlice()}
	}
	name := strings.ToLower(v.Name)
	if v.Flag != nil && v.Flag.PlaceHolder != "" {
		name = strings.ToLower(v.Flag.PlaceHolder)
	}
	words := candidates{kind: "words"}
	switch {
	case name == "path":
		return candidates{"paths", c.paths(last)}
	case name == "file", name == "dir", name == "mountpoint", name == "db":
		return candidates{kind: "files"}
	case name == "source" || v.Name == "source":
		if conf, err := c.app.configuration(); err == nil {
			words.words = slices.Sorted(maps.Keys(conf.Sources))
		}
	case name == "pool":
		if conf, err := c.app.configuration(); err == nil {
			words.words = slices.Sorted(maps.Keys(conf.Pools))
		}
	case name == "fingerprint":
		words.words = c.fromCatalog(func(db *catalog.DB) (out []string, err error) {
			keys, err := db.Keys(c.ctx)
			for _, k := range keys {
				out = append(out, k.Fingerprint)
			}
			return out, err
		})
	case name == "drive":
		words.words = c.drives()
	case strings.HasPrefix(name, "barcode"), name == "from":
		words.words = c.fromCatalog(func(db *catalog.DB) (out []string, err error) {
			tapes, err := db.Tapes(c.ctx)
			for _, t := range tapes {
				out = append(out, t.Barcode)
			}
			return out, err
		})
		if name == "barcode|drive" {
			words.words = append(words.words, c.drives()...)
		}
	}
	return words
}

func (c completer) drives() (out []string) {
	conf, err := c.app.configuration()
	if err != nil {
		return nil
	}
	for _, d := range conf.Library.Drives {
		out = append(out, strconv.Itoa(d.Element), d.Serial)
	}
	return out
}

func (c completer) fromCatalog(read func(*catalog.DB) ([]string, error)) []string {
	_, db, err := c.app.readCatalog(c.ctx)
	if err != nil {
		return nil
	}
	defer db.Close()
	out, err := read(db)
	if err != nil {
		return nil
	}
	return out
}

// maxPaths bounds the names that are offered: nobody reads more.
const maxPaths = 2000

// paths lists the names of the archive that begin as the word does; directories end in "/".
func (c completer) paths(last string) []string {
	dir, prefix := path.Split(last)
	return c.fromCatalog(func(db *catalog.DB) (out []string, err error) {
		at, err := db.Resolve(c.ctx, cleanPath(dir))
		if err != nil {
			return nil, err
		}
		add := func(v *catalog.Version) {
			name := dir + v.Name
			if v.Kind == catalog.Directory {
				name += "/"
			}
			out = append(out, strings.Clone(name))
		}
		if prefix != "" { // what is asked for below begins behind it
			switch v, err := db.Lookup(c.ctx, at.ID, prefix); {
			case err == nil:
				add(&v)
			case !errors.Is(err, catalog.ErrNotFound):
				return nil, err
			}
		}
		err = db.ChildrenByName(c.ctx, at.ID, prefix, maxPaths, func(v *catalog.Version) error {
			if strings.HasPrefix(v.Name, prefix) {
				add(v)
			}
			return nil
		})
		return out, err
	})
}
