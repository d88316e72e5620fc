package ui

import "testing"

func TestDidYouMean(t *testing.T) {
	known := []string{"photos", "films", "home"}
	for word, want := range map[string]string{"photo": "photos", "fotos": "photos", "flims": "films", "hoem": "home", "music": "", "": ""} {
		got := DidYouMean(word, known)
		if want == "" && got != "" || want != "" && got != `, did you mean "`+want+`"?` {
			t.Errorf("%q: %s", word, got)
		}
	}
}
