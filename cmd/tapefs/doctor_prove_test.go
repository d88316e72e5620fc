package main

import (
	"testing"
	"time"

	"tapefs/changer"
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
