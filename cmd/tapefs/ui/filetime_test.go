package ui

import (
	"encoding/json"
	"math"
	"testing"
)

// A file's time is written and read again whatever its year, and the years that RFC 3339 has are written as it says.
func TestFileTimeOfAnyYear(t *testing.T) {
	for _, c := range []struct {
		at   FileTime
		text string
	}{
		{FileTime{0, 0}, `"1970-01-01T00:00:00Z"`},
		{FileTime{-1, 500_000_000}, `"1969-12-31T23:59:59.5Z"`},
		{FileTime{firstSecond, 0}, `"0000-01-01T00:00:00Z"`},
		{FileTime{firstSecond - 1, 0}, `"unix:-62167219201"`},
		{FileTime{afterLast - 1, 999_999_999}, `"9999-12-31T23:59:59.999999999Z"`},
		{FileTime{afterLast, 0}, `"unix:253402300800"`},
		{FileTime{math.MaxInt64, 0}, `"unix:9223372036854775807"`},
		{FileTime{math.MinInt64, 0}, `"unix:-9223372036854775808"`},
	} {
		text, err := json.Marshal(c.at)
		if err != nil || string(text) != c.text {
			t.Errorf("%+v is written as %s, %v, want %s", c.at, text, err, c.text)
			continue
		}
		var back FileTime
		if err := json.Unmarshal(text, &back); err != nil || back != c.at {
			t.Errorf("%s is read as %+v, %v", text, back, err)
		}
	}
	for _, wrong := range []string{`"unix:x"`, `"yesterday"`, `7`} {
		if err := json.Unmarshal([]byte(wrong), new(FileTime)); err == nil {
			t.Errorf("%s is taken for a time", wrong)
		}
	}
}
