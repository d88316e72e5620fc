package main

import "testing"

// What a person is told to run next is about the archive that the command was about.
func TestRepeatFlags(t *testing.T) {
	for _, c := range []struct {
		flags      globals
		text, want string
	}{
		{globals{}, "run tapefs archive again", "run tapefs archive again"},
		{globals{Config: "/a/b.yaml"}, "run tapefs archive again: tapefs runs 5", "run tapefs --config /a/b.yaml archive again: tapefs --config /a/b.yaml runs 5"},
		{globals{Config: "it's", State: "/s"}, "tapefs key list", `tapefs --config 'it'\''s' --state /s key list`},
		{globals{Config: "x"}, "tapefs init --config x writes one", "tapefs init --config x writes one"},
		{globals{Config: "x"}, "update tapefs; a tape of tapefs is there", "update tapefs; a tape of tapefs is there"},
	} {
		if got := c.flags.repeat(c.text); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
