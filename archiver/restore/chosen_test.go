package restore

import "testing"

func TestMatchParts(t *testing.T) {
	for _, c := range []struct {
		pattern, rel string
		want         verdict
	}{
		{"/a/*.raw", "x.raw", whole},
		{"/a/*.raw", "x.jpg", nothing},
		{"/a/*.raw", "x.raw/below", whole},
		{"/a/*.raw", "b/x.raw", nothing},
		{"/a/*/x.raw", "b", inside},
		{"/a/*/x.raw", "b/x.raw", whole},
		{"/a/*/x.raw", "b/y.raw", nothing},
		{"/a/**/x.raw", "x.raw", whole},
		{"/a/**/x.raw", "b/c/x.raw", whole},
		{"/a/**/x.raw", "b/c", inside},
		{"/a/**", "b", whole},
		{"/a/[xy]?", "x1", whole},
		{"/a/[xy]?", "z1", nothing},
	} {
		dir, some := splitPattern(c.pattern)
		if got := some.of(c.rel); dir != "/a" || got != c.want {
			t.Errorf("%s below %s of %s: %d, want %d", c.rel, dir, c.pattern, got, c.want)
		}
	}
	if dir, _ := splitPattern("/*/x"); dir != "/" {
		t.Errorf("the directory before /*/x is %q", dir)
	}
}

func TestListed(t *testing.T) {
	c := listed([]string{"/s/dir/a", "s/dir-b", "/s/gone", "/s/dir/a"})
	for rel, want := range map[string]verdict{"s": inside, "s/dir": inside, "s/dir/a": whole, "s/dir/ab": nothing, "s/dir-b": whole, "s/di": nothing, "t": nothing} {
		if got := c.of(rel); got != want {
			t.Errorf("%s: %d, want %d", rel, got, want)
		}
	}
	if un := c.unmet(); len(un) != 1 || un[0] != "s/gone" {
		t.Errorf("not met: %v", un)
	}
	if !listed([]string{"/"}).all() || c.all() {
		t.Error("the whole archive is on a list that names the root, and on no other")
	}
}

func TestExcluded(t *testing.T) {
	patterns := []string{"*.tmp", "/s/cache/**", "s/*/old"}
	for full, want := range map[string]bool{"/s/a.tmp": true, "/s/d/a.tmp": true, "/s/tmp": false, "/s/cache": false, "/s/cache/x": true, "/s/d/old": true, "/s/d/older": false, "/t/d/old": false} {
		if got := Matches(patterns, full); got != want {
			t.Errorf("%s: %v", full, got)
		}
	}
	if CheckPatterns([]string{"/a/[x"}) == nil || CheckPatterns(patterns) != nil {
		t.Error("only a pattern that cannot be read is an error")
	}
}
