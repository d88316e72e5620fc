package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each command says how it is used and how it ends, its examples are command lines that it takes, and no line of its help
// is wider than a terminal.
func TestHelp(t *testing.T) {
	parse := func(args ...string) error {
		parser, err := newParser(t.Context(), &cli{}, io.Discard, io.Discard, func(int) {})
		if err == nil {
			_, err = parser.Parse(args)
		}
		return err
	}
	parser, err := newParser(t.Context(), &cli{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{"virtual": true, "help": true} // whose arguments belong to others
	for _, leaf := range parser.Model.Leaves(true) {
		words := commandWords(leaf)
		h, ok := commandHelps[words]
		if seen[words] {
			continue
		}
		seen[words] = true
		if !ok || len(h.examples) == 0 {
			t.Errorf("%s has no example", words)
		}
		for _, e := range h.examples {
			if e[0] != words && !strings.HasPrefix(e[0], words+" ") {
				t.Errorf("%q is an example of %s", e[0], words)
			}
			if err := parse(shellWords(e[0])...); err != nil {
				t.Errorf("tapefs %s: %v", e[0], err)
			}
		}
		var out bytes.Buffer
		run(t.Context(), append(strings.Fields(words), "--help"), nil, &out, io.Discard)
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("help of %s has a line of %d columns: %s", words, n, line)
			}
		}
		if !strings.Contains(out.String(), "Exit codes: 0 done; ") {
			t.Errorf("help of %s says no exit codes:\n%s", words, out.String())
		}
	}
	for words := range commandHelps {
		if !seen[words] {
			t.Errorf("there is no command %s", words)
		}
	}
}

// shellWords splits a line as a shell would that knows single quotes only.
func shellWords(line string) []string {
	var words []string
	for i, piece := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, piece)
			continue
		}
		words = append(words, strings.Fields(piece)...)
	}
	return words
}
