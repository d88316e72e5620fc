package catalog_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// told takes changes over into a catalog as a manifest of a tape has them, and makes a whole of it.
func told(t *testing.T, l *life, seq int, changes ...catalog.Change) {
	t.Helper()
	ctx := context.Background()
	var upto int64
	for _, c := range changes {
		upto = max(upto, c.ID)
	}
	r := l.db.Rebuild(l.run.ID)
	check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: seq, Upto: upto, Name: "m", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2e9, 0)}))
	for _, c := range changes {
		check(t, r.Change(ctx, c, nil))
	}
	if seq == 1 {
		check(t, r.CopyPart(ctx, provedPart("01", 9, catalog.PartWritten)))
	}
	check(t, r.EndManifest(ctx))
	check(t, r.Finish(ctx))
}

// That a tape became suspect, and that it is so no more, is told by the journal at the moment when it is recorded.
func TestRebuildKeepsSuspicion(t *testing.T) {
	ctx := context.Background()
	state := func(s string, damage bool) func(*life) {
		return func(l *life) {
			must(l.db.UpdateTape(ctx, l.tapes[0].ID, func(t *catalog.Tape) error {
				t.State, t.Note, t.FoundDamaged = s, "why it is "+s, t.FoundDamaged || damage
				return nil
			}))(t)
		}
	}
	suspect := state(catalog.TapeSuspect, false)
	trusted := func(l *life) { _, _, err := l.db.TrustTape(ctx, l.tapes[0].ID); check(t, err) }
	for name, c := range map[string]struct {
		known    []func(*life) // by the catalog that takes over what happened
		happened []func(*life)
		since    []func(*life)
		journal  int // findings of happened
		state    string
		damaged  bool
	}{
		"suspect":                          {nil, []func(*life){suspect}, nil, 1, catalog.TapeSuspect, false},
		"of damage":                        {nil, []func(*life){state(catalog.TapeSuspect, true)}, nil, 1, catalog.TapeSuspect, true},
		"noted twice":                      {nil, []func(*life){suspect, suspect}, nil, 1, catalog.TapeSuspect, false},
		"suspect, and damage found":        {nil, []func(*life){suspect, state(catalog.TapeSuspect, true)}, nil, 2, catalog.TapeSuspect, true},
		"trusted":                          {nil, []func(*life){suspect, trusted}, nil, 2, catalog.TapeOpen, false},
		"trusted, and suspect again":       {nil, []func(*life){suspect, trusted, suspect}, nil, 3, catalog.TapeSuspect, false},
		"full, and never suspect":          {nil, []func(*life){state(catalog.TapeFull, false)}, nil, 0, catalog.TapeOpen, false},
		"known, and trusted":               {[]func(*life){suspect}, []func(*life){suspect, trusted}, nil, 2, catalog.TapeOpen, false},
		"known, and read back":             {[]func(*life){suspect}, []func(*life){suspect, state(catalog.TapeFull, false)}, nil, 2, catalog.TapeFull, false},
		"known, and retired":               {[]func(*life){suspect}, []func(*life){suspect, state(catalog.TapeRetired, false)}, nil, 2, catalog.TapeRetired, false},
		"trusted there, suspect here":      {nil, []func(*life){suspect, trusted}, []func(*life){suspect}, 2, catalog.TapeSuspect, false},
		"suspect there, retired here":      {nil, []func(*life){suspect}, []func(*life){state(catalog.TapeRetired, false)}, 1, catalog.TapeRetired, false},
		"suspect there, trusted here next": {nil, []func(*life){suspect}, []func(*life){suspect, trusted}, 1, catalog.TapeOpen, false},
	} {
		t.Run(name, func(t *testing.T) {
			other, _ := lifeWithPart(t)
			l, _ := lifeWithPart(t)
			for _, happens := range c.known {
				happens(other)
			}
			for _, happens := range c.happened {
				happens(l)
			}
			journal := findingsOf(t, l.db)
			if len(journal) != c.journal {
				t.Errorf("%d findings are journalled: %+v", len(journal), journal)
			}
			for _, happens := range c.since {
				happens(other)
			}
			told(t, other, 1, journal...)
			tape := must(other.db.TapeByUUID(ctx, "main"))(t)
			if tape.State != c.state || tape.FoundDamaged != c.damaged || tape.Suspect() == tape.Suspected.IsZero() && c.state != catalog.TapeFull {
				t.Errorf("the rebuilt catalog has %+v", tape)
			}
			if pending := must(other.db.PendingChanges(ctx))(t); len(journal) > 0 && len(pending["offsite"]) == 0 {
				t.Errorf("nothing waits for the other pool: %v", pending)
			}
		})
	}
}

// What was found holds by when it was found: where an older catalog was put back, the numbers of changes were given twice.
func TestFindingsOfTwoPasts(t *testing.T) {
	ctx := context.Background()
	found := func(id int64, kind, file string, at int64) catalog.Change {
		detail, err := json.Marshal(map[string]any{"volume": "main", "name": file, "startblock": 9})
		check(t, err)
		return catalog.Change{ID: id, At: time.Unix(at, 0), Kind: kind, Version: catalog.Root, Detail: string(detail)}
	}
	suspicion := func(id int64, kind, state string, at int64) catalog.Change {
		detail, err := json.Marshal(map[string]any{"volume": "main", "barcode": "A00001L8", "state": state})
		check(t, err)
		return catalog.Change{ID: id, At: time.Unix(at, 0), Kind: kind, Version: catalog.Root, Detail: string(detail)}
	}
	const damaged, good = catalog.FoundPartDamaged, catalog.FoundPartGood
	for name, c := range map[string]struct {
		one, two []catalog.Change
		findings int
		part     catalog.PartState
		tape     string
	}{
		"one number, two files":     {[]catalog.Change{found(11, damaged, "q", 10)}, []catalog.Change{found(11, damaged, "p", 20)}, 2, catalog.PartDamaged, catalog.TapeOpen},
		"one number, two times":     {[]catalog.Change{found(11, damaged, "p", 10), found(12, good, "p", 20)}, []catalog.Change{found(11, damaged, "p", 30)}, 3, catalog.PartDamaged, catalog.TapeOpen},
		"the later has the less":    {[]catalog.Change{found(11, damaged, "p", 40)}, []catalog.Change{found(12, damaged, "p", 20), found(13, good, "p", 30)}, 3, catalog.PartDamaged, catalog.TapeOpen},
		"good in the later one":     {[]catalog.Change{found(11, good, "q", 10), found(12, damaged, "p", 20)}, []catalog.Change{found(11, good, "p", 30)}, 3, catalog.PartDurable, catalog.TapeOpen},
		"the very same":             {[]catalog.Change{found(11, damaged, "p", 10)}, []catalog.Change{found(11, damaged, "p", 10)}, 1, catalog.PartDamaged, catalog.TapeOpen},
		"the same, numbered anew":   {[]catalog.Change{found(11, damaged, "p", 10)}, []catalog.Change{found(13, damaged, "p", 10)}, 1, catalog.PartDamaged, catalog.TapeOpen},
		"suspect, number of damage": {[]catalog.Change{found(11, damaged, "p", 10)}, []catalog.Change{suspicion(11, catalog.FoundTapeSuspect, catalog.TapeSuspect, 20)}, 2, catalog.PartDamaged, catalog.TapeSuspect},
		"suspicion later than trust": {[]catalog.Change{suspicion(11, catalog.FoundTapeSuspect, catalog.TapeSuspect, 30)},
			[]catalog.Change{suspicion(11, catalog.FoundTapeSuspect, catalog.TapeSuspect, 10), suspicion(12, catalog.FoundTapeTrusted, catalog.TapeOpen, 20)}, 3, catalog.PartDurable, catalog.TapeSuspect},
	} {
		for _, order := range []string{"", ", the other first"} {
			t.Run(name+order, func(t *testing.T) {
				l, p := lifeWithPart(t)
				pasts := [][]catalog.Change{c.one, c.two}
				if order != "" {
					slices.Reverse(pasts)
				}
				told(t, l, 1, pasts[0]...)
				told(t, l, 2, pasts[1]...)
				told(t, l, 3, pasts[0]...) // nothing is doubled by what is read again
				if all := findingsOf(t, l.db); len(all) != c.findings {
					t.Errorf("%d findings are known: %+v", len(all), all)
				}
				if parts := must(l.db.CopyParts(ctx, p.Copy))(t); len(parts) != 1 || parts[0].State != c.part {
					t.Errorf("the part is %+v", parts)
				}
				if tape := must(l.db.TapeByUUID(ctx, "main"))(t); tape.State != c.tape {
					t.Errorf("the tape is %+v", tape)
				}
			})
		}
	}
}

// What a manifest does not name is named again, also where it has another change under the same number.
func TestNumberOfTwoPastsIsNamedAgain(t *testing.T) {
	ctx := context.Background()
	l, p := lifeWithPart(t)
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartDamaged, 4000))
	mine := findingsOf(t, l.db)
	if len(mine) != 1 {
		t.Fatalf("the journal has %+v", mine)
	}
	told(t, l, 1, catalog.Change{ID: mine[0].ID, At: time.Unix(1e9, 0), Kind: catalog.FoundPartDamaged, Version: catalog.Root, Detail: `{"volume":"main","name":"q","startblock":9}`})
	if pending := must(l.db.PendingChanges(ctx))(t); pending["main"][catalog.FoundPartDamaged] != 2 || pending["offsite"][catalog.FoundPartDamaged] != 2 {
		t.Errorf("of two findings with one number wait: %v", pending)
	}
}

// Where a number means two changes, what the newest manifest says of a tape holds as ever.
func TestTapeRecordAfterTwoPasts(t *testing.T) {
	ctx := context.Background()
	l, _ := lifeWithPart(t)
	r := l.db.Rebuild(l.run.ID)
	r.Given(0, 30)
	damage := func(id int64, file string) {
		check(t, r.Change(ctx, catalog.Change{ID: id, At: time.Unix(1e9, 0), Kind: catalog.FoundPartDamaged, Version: catalog.Root, Detail: `{"volume":"main","name":"` + file + `","startblock":9}`}, nil))
	}
	for i, upto := range []int64{20, 20, 30} {
		check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: i + 1, Upto: upto, Name: "m", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2e9, 0)}))
		damage(upto, string(rune('q'+i)))
		state := catalog.TapeOpen
		if i == 2 {
			state = catalog.TapeRetired
		}
		check(t, r.Tape(ctx, catalog.Tape{Barcode: "B00001L8", UUID: "offsite", PoolName: "offsite", Number: 2, State: state}))
		check(t, r.EndManifest(ctx))
	}
	check(t, r.Finish(ctx))
	if tape := must(l.db.TapeByUUID(ctx, "offsite"))(t); tape.State != catalog.TapeRetired {
		t.Errorf("the tape is %+v", tape)
	}
}

// A journal may hold anything that its keys prove: what is no suspicion changes no tape.
func TestRebuildPassesOverOddSuspicion(t *testing.T) {
	ctx := context.Background()
	l, _ := lifeWithPart(t)
	var odd []catalog.Change
	for i, detail := range []string{"", "{", "null", "[]", `{"volume": 7, "state": "suspect"}`, `{"volume": "other", "state": "suspect"}`, `{"volume": "", "state": "suspect"}`,
		`{"volume": "main", "state": "odd"}`, `{"volume": "main", "state": {}}`} {
		odd = append(odd, catalog.Change{ID: int64(500 + i), At: time.Unix(int64(2e9+i), 0), Kind: catalog.FoundTapeSuspect, Version: catalog.Root, Detail: detail})
	}
	told(t, l, 1, odd...)
	if tape := must(l.db.TapeByUUID(ctx, "main"))(t); tape.State != catalog.TapeOpen {
		t.Errorf("the tape is %+v", tape)
	}
}
