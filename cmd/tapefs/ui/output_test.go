package ui

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What programs get is what encoding/json writes, but that nothing is null and no control character is left.
func TestWriteJSON(t *testing.T) {
	type inner struct {
		List []string         `json:"list"`
		Map  map[string]int64 `json:"map"`
	}
	type result struct {
		Text  string         `json:"text"`
		Left  int            `json:"left,omitempty"`
		At    time.Time      `json:"at"`
		Never *time.Time     `json:"never,omitempty"`
		Map   map[string]int `json:"map"`
		Inner []inner        `json:"inner"`
		PathText
	}
	full := result{Text: "a <b> & \u2028 \"c\" \n", At: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Map: map[string]int{"z": 1, "a": 2},
		Inner: []inner{{List: []string{"x"}, Map: map[string]int64{"k": 1}}}, PathText: NewPathText("/p\xff")}
	var got, want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(full); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&got, full); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("%s\nencoding/json writes\n%s", got.String(), want.String())
	}
	got.Reset()
	if err := WriteJSONLine(&got, []result{{Inner: []inner{{}}}}); err != nil {
		t.Fatal(err)
	}
	if text := got.String(); strings.Contains(text, "null") || !strings.Contains(text, `"map":{},"inner":[{"list":[],"map":{}}]`) || strings.Count(text, "\n") != 1 {
		t.Errorf("what is empty is written as %s", text)
	}
	got.Reset()
	if err := WriteJSONLine(&got, []string(nil)); err != nil || got.String() != "[]\n" {
		t.Errorf("no rows are written as %q, %v", got.String(), err)
	}
	got.Reset()
	if err := WriteJSONLine(&got, "\x7f\u0085\u202e\x1b"); err != nil || strings.ContainsAny(got.String(), "\x7f\u0085\u202e\x1b") {
		t.Errorf("control characters are written as %q, %v", got.String(), err)
	}
}
