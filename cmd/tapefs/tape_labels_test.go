package main

import (
	"slices"
	"testing"
)

func TestLabelRanges(t *testing.T) {
	for word, want := range map[string][]string{
		"AB0001L8":           {"AB0001L8"},
		"AB0009L8..AB0011L8": {"AB0009L8", "AB0010L8", "AB0011L8"},
		"000998LU..000999LU": {"000998LU", "000999LU"},
		"A1B002L9..A1B002L9": {"A1B002L9"},
	} {
		if got, err := labelsOf(word); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", word, got, err, want)
		}
	}
	for _, word := range []string{"AB0001", "AB0002L8..AB0001L8", "AB0001L8..AC0002L8", "AB0001L8..AB0002L9", "ABCDEFL8..ABCDEFL8", "000000L8..999999L8", "AB0001L8..", "..", "AB-001L8"} {
		if got, err := labelsOf(word); err == nil {
			t.Errorf("%s became %d labels", word, len(got))
		}
	}
}
