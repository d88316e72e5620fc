package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
)

func TestInsertProof(t *testing.T) {
	p := changer.Proof{Serial: "10680", Element: 1, Node: "/dev/nst1", At: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	const want = `library:
  drives:
    # The left one.
    - serial: "10670"
      element: 0
    - serial: "10680" # the right one
      proved:
        serial: "10680"
        element: 1
        node: "/dev/nst1"
        date: "2026-01-31T12:00:00Z"
      element: 1
  # flavor: auto
`
	const plain = `library:
  drives:
    # The left one.
    - serial: "10670"
      element: 0
    - serial: "10680" # the right one
      element: 1
  # flavor: auto
`
	got, err := insertProof(plain, "10680", p)
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	older := p
	older.At = older.At.AddDate(-1, 0, 0)
	if got, err = insertProof(plain, "10680", older); err == nil {
		got, err = insertProof(got, "10680", p)
	}
	if err != nil || got != want {
		t.Errorf("in place of an older one: %v\n%s", err, got)
	}
	if _, err := insertProof(plain, "999", p); err == nil {
		t.Error("a drive that is not there")
	}
	if got, err := insertProof("drives:\n- {serial: a}\n", "a", p); err == nil {
		t.Errorf("what is not understood was changed: %s", got)
	}
}

func TestSetDriveKey(t *testing.T) {
	const text = `library:
  drives:
    - element: 1 # by order
      serial: "10670"
      # The node for mt.
      tape: /dev/nst0

    - serial: "10680"
      proved:
        serial: "10680"
        element: 1
      element: 0
  # flavor: auto
`
	for _, c := range []struct{ serial, key, value, was, is string }{
		{"10670", "element", "0", "    - element: 1 # by order\n", "    - element: 0\n"},
		{"10670", "tape", `"/dev/nst1"`, "      tape: /dev/nst0\n", "      tape: \"/dev/nst1\"\n"},
		{"10680", "element", "1", "      element: 0\n", "      element: 1\n"},
		{"10680", "tape", `"/dev/nst0"`, "    - serial: \"10680\"\n", "    - serial: \"10680\"\n      tape: \"/dev/nst0\"\n"},
	} {
		got, err := setDriveKey(text, c.serial, c.key, c.value)
		if want := strings.Replace(text, c.was, c.is, 1); err != nil || got != want {
			t.Errorf("%s of %s: %v\n%s", c.key, c.serial, err, got)
		}
	}
	if _, err := setDriveKey(text, "999", "element", "1"); err == nil {
		t.Error("a drive that is not there")
	}
}
