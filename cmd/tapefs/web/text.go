package web

import (
	"html/template"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// functions are what the templates call.
func (s *Server) functions() template.FuncMap {
	return template.FuncMap{
		"size":  sizeText,
		"comma": func(n int64) string { return humanize.Comma(n) },
		"date":  dateText,
		"ago":   agoText,
		"name":  ui.Printable,
		"word":  func(text string) string { return strings.ReplaceAll(text, "_", " ") },
		"rate": func(bytes float64) string {
			if bytes <= 0 {
				return "–"
			}
			return sizeText(int64(bytes)) + "/s"
		},
		"since": func(t time.Time) string { return t.Local().Format("15:04:05") },
		"took": func(d time.Duration) string {
			if d <= 0 {
				return "–"
			}
			return d.String()
		},
		"days":  func(d time.Duration) int { return int(d / (24 * time.Hour)) },
		"count": countText,
	}
}

func countText(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}

func sizeText(n int64) string {
	if n < 0 {
		return "–"
	}
	return humanize.IBytes(uint64(n))
}

func dateText(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func agoText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanize.Time(t)
}
