package catalog_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asksSuspicion finds a condition that decides by itself which tapes are suspect, or count.
var asksSuspicion = regexp.MustCompile(`(?:[!=]= |case )(?:catalog\.)?TapeSuspect\b|'suspect'|'open', 'full'|\.Suspected\.IsZero\(\)`)

// Which tapes are suspect, and on which a copy counts, is said in one place: whoever asks calls Tape.Suspect, Doubted or Counts, or puts
// suspectTape, doubtedTape, countedTapes or goodTape into a query.
func TestOneMeaningOfSuspect(t *testing.T) {
	for text, asks := range map[string]bool{
		"if t.State == catalog.TapeSuspect {":                     true,
		"case TapeSuspect:":                                       true,
		"WHERE t.state IN ('suspect', 'retired')":                 true,
		"WHERE t.state NOT IN ('open', 'full', 'superseded')":     true,
		"t.State, t.Note = catalog.TapeSuspect, why.Error()":      false,
		"if t.Suspect() {":                                        false,
		"NOT EXISTS (SELECT 1 FROM tape t WHERE ` + goodTape + `": false,
	} {
		if asksSuspicion.MatchString(text) != asks {
			t.Errorf("%s: want %v", text, asks)
		}
	}
	own := map[string]bool{"../catalog/suspect.go": true, "../catalog/findings_tape.go": true, // what findings say
		"../catalog/rebuild_world.go": true} // what records of older programs lack
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || own[filepath.ToSlash(path)] {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, at := range asksSuspicion.FindAllIndex(text, -1) {
			t.Errorf("%s:%d decides by itself: %s", path, 1+strings.Count(string(text[:at[0]]), "\n"), text[at[0]:at[1]])
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files were read: %v", files, err)
	}
}
