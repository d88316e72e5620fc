package rebuild

import "testing"

const volumeA = "11111111-2222-3333-4444-555555555555" // of a tape that tests make by hand

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
