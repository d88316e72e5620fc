package ui

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/agnivade/levenshtein"
)

// DidYouMean ends a sentence about a word that is not known with the known one that it looks like; "" when there is none.
func DidYouMean(word string, known []string) string {
	best, distance := "", 1+len(word)/3
	for _, k := range known {
		d := levenshtein.ComputeDistance(word, k)
		if sameLetters(word, k) {
			d = 1 // a slip of two fingers
		}
		if d <= distance && k != word {
			best, distance = k, d-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

func sameLetters(a, b string) bool {
	x, y := []byte(a), []byte(b)
	slices.Sort(x)
	slices.Sort(y)
	return bytes.Equal(x, y)
}
