package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml/ast"
)

// Size is a number of bytes, written as 64MiB, 1.5TB or a plain number.
type Size int64

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(node ast.Node) error {
	return scalar(node, func(word string) error {
		n, err := humanize.ParseBytes(word)
		if err != nil || n > 1<<62 {
			return fmt.Errorf("%q is not a size such as 64MiB, 20GB or 1.5TB", word)
		}
		*s = Size(n)
		return nil
	})
}

// Period is a length of time, written as 90s, 10m, 2h, 7d, 2w or 1y (365 days).
type Period time.Duration

// UnmarshalYAML reads a period.
func (p *Period) UnmarshalYAML(node ast.Node) error {
	return scalar(node, func(word string) (err error) {
		*p, err = ParsePeriod(word)
		return err
	})
}

func (p Period) String() string { return time.Duration(p).String() }

// longUnits are those that time.ParseDuration does not know.
var longUnits = map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 365 * 24 * time.Hour}

// maxPeriod is a century: more is a slip, and would not fit for long.
const maxPeriod = 100 * 365 * 24 * time.Hour

// ParsePeriod reads a length of time as people write it: what time.ParseDuration takes, or whole days, weeks or years. It is not negative
// where it is written in those, and not above a century.
func ParsePeriod(word string) (Period, error) {
	bad := fmt.Errorf("%q is not a length of time such as 90s, 10m, 2h, 7d, 2w or 1y", word)
	if word == "" {
		return 0, bad
	}
	if unit, ok := longUnits[word[len(word)-1]]; ok {
		n, err := strconv.ParseInt(word[:len(word)-1], 10, 32)
		if err != nil || n < 0 || n > int64(maxPeriod/unit) {
			return 0, bad
		}
		return Period(time.Duration(n) * unit), nil
	}
	d, err := time.ParseDuration(word)
	if err != nil || d > maxPeriod {
		return 0, bad
	}
	return Period(d), nil
}

// Share is a part of a whole: 5%, all, none.
type Share float64

// UnmarshalYAML reads a share.
func (s *Share) UnmarshalYAML(node ast.Node) error {
	return scalar(node, func(word string) error {
		switch word {
		case "none":
			*s = 0
			return nil
		case "all":
			*s = 1
			return nil
		}
		f, err := ParseShare(word)
		*s = Share(f)
		return err
	})
}

// scalar hands the text of a plain value to parse, and says of an error where in the configuration it is.
func scalar(node ast.Node, parse func(word string) error) error {
	var word string
	switch n := node.(type) {
	case *ast.NullNode:
		return nil
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode, *ast.SequenceNode, *ast.MappingNode, *ast.MappingValueNode, nil:
		return &valueError{"one value belongs here", node.GetToken()}
	case *ast.StringNode:
		word = n.Value
	default:
		word = n.GetToken().Value
	}
	if err := parse(strings.TrimSpace(word)); err != nil {
		return &valueError{err.Error(), node.GetToken()}
	}
	return nil
}

// MarshalYAML writes a size so that it reads back as the same number.
func (s Size) MarshalYAML() (any, error) {
	for _, unit := range []struct {
		name string
		size Size
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s >= unit.size && s%unit.size == 0 {
			return fmt.Sprintf("%d%s", s/unit.size, unit.name), nil
		}
	}
	return int64(s), nil
}

// MarshalYAML writes a period so that it reads back as the same.
func (p Period) MarshalYAML() (any, error) {
	if day := Period(24 * time.Hour); p >= day && p%day == 0 {
		return fmt.Sprintf("%dd", p/day), nil
	}
	return p.String(), nil
}

// MarshalYAML writes a share so that it reads back as the same.
func (s Share) MarshalYAML() (any, error) {
	switch s {
	case 0:
		return "none", nil
	case 1:
		return "all", nil
	}
	return strconv.FormatFloat(float64(s)*100, 'f', -1, 64) + "%", nil
}

// ParseShare reads a share such as 5%, which is above 0 and at most 1.
func ParseShare(word string) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(word, "%"), 64)
	if err != nil || !strings.HasSuffix(word, "%") || !(f > 0 && f <= 100) {
		return 0, fmt.Errorf("%q is not a share such as 5%%", word)
	}
	return f / 100, nil
}
