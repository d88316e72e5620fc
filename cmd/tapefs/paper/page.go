package paper

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// Page is what a printed page tells of a tape.
type Page struct {
	Barcode    string     `json:"barcode"`
	Number     int        `json:"number"` // n-th tape of its archive
	Pool       string     `json:"pool"`
	State      string     `json:"state"`
	Place      string     `json:"place,omitempty"`
	Archive    string     `json:"archive"` // UUID of the catalog
	Volume     string     `json:"volume"`  // UUID of the LTFS volume; "" while there is none
	Generation int        `json:"generation"`
	Format     int        `json:"format"`   // of what is written to tapes, the number in README.txt
	Capacity   int64      `json:"capacity"` // bytes, and so is Used
	Used       int64      `json:"used"`
	Formatted  *time.Time `json:"formatted,omitempty"`
	First      *time.Time `json:"first_written,omitempty"`
	Last       *time.Time `json:"last_written,omitempty"`
	Printed    time.Time  `json:"printed"`
	Version    string     `json:"program"` // of tapefs

	Files   int64    `json:"files"` // of which something lies on the tape, older versions and symlinks included
	Bytes   int64    `json:"bytes"` // of them there
	Folders []Folder `json:"folders"`
	Keys    []Key    `json:"keys"` // that open what lies there
}

// Folder sums up what lies on a tape of one folder.
type Folder struct {
	Path   string      `json:"path"`
	Files  int64       `json:"files"`
	Bytes  int64       `json:"bytes"`
	Oldest ui.FileTime `json:"oldest"` // modification times of the files
	Newest ui.FileTime `json:"newest"`
}

// Key names a key and says how openssl is called with it. It has nothing secret.
type Key struct {
	Fingerprint string `json:"fingerprint"`
	Cipher      string `json:"cipher"`
	Iterations  int    `json:"iterations"`
}

// maxFolders keeps a page to one sheet.
const maxFolders = 20

// view is a page as templates and PDF show it.
type view struct {
	*Page
	Shown []Folder
	More  int // folders that are not shown
}

// views has the largest folders of each page, in the order of their paths.
func views(pages []Page) []view {
	list := make([]view, len(pages))
	for i := range pages {
		shown := slices.Clone(pages[i].Folders)
		slices.SortStableFunc(shown, func(a, b Folder) int { return cmp.Compare(b.Bytes, a.Bytes) })
		more := max(len(shown)-maxFolders, 0)
		shown = shown[:len(shown)-more]
		slices.SortFunc(shown, func(a, b Folder) int { return strings.Compare(a.Path, b.Path) })
		list[i] = view{&pages[i], shown, more}
	}
	return list
}

// fact is a line of the page's first table.
type fact struct{ Name, Text string }

// Facts say which tape it is.
func (v view) Facts() []fact {
	p := v.Page
	list := []fact{
		{"Pool", p.Pool}, {"Number", fmt.Sprintf("%d of archive %s", p.Number, p.Archive)}, {"LTFS volume", orDash(p.Volume)}, {"State", p.State},
		{"Place", orDash(p.Place)}, {"Generation", generationText(p.Generation)}, {"Format", fmt.Sprintf("tapefs-format %d", p.Format)},
		{"Capacity", fmt.Sprintf("%s, %s of it used", bytesText(p.Capacity), bytesText(p.Used))},
		{"Formatted", dateText(p.Formatted)}, {"Written", spanText(p.First, p.Last)},
	}
	if len(p.Keys) > 0 {
		list = append(list, fact{"Key", p.fingerprints() + " (a fingerprint: the key itself is not on this page)"})
	}
	return list
}

// Step is a step of the way back, with the commands to type.
type Step struct {
	Text  string
	Lines []string
}

// Steps read the tape without tapefs.
func (v view) Steps() []Step {
	steps := []Step{
		{"Mount the tape with LTFS of any maker (DEVICE is the drive), and read README.txt on it.", []string{"mkdir -p /mnt/tape", "ltfs -o devname=DEVICE /mnt/tape"}},
	}
	if len(v.Keys) == 0 {
		return steps // nothing is on it
	}
	steps = append(steps, Step{"Is KEYFILE the right key? This must begin with " + v.fingerprints() + ":",
		[]string{"{ echo 'tapefs key id v1'; cat KEYFILE; } | openssl dgst -sha256 -r"}},
		Step{"All files, into TARGET:", []string{"sh /mnt/tape/restore.sh KEYFILE TARGET /mnt/tape"}})
	for i, k := range v.Keys {
		same := func(other Key) bool { return other.Cipher == k.Cipher && other.Iterations == k.Iterations }
		if slices.ContainsFunc(v.Keys[:i], same) {
			continue
		}
		folder := k.Fingerprint
		if len(v.Keys) > 1 {
			folder = "FINGERPRINT"
		}
		steps = append(steps, Step{"By hand, one object of them:", []string{
			fmt.Sprintf("openssl enc -d -%s -pbkdf2 -iter %d -md sha256 -pass file:KEYFILE \\", k.Cipher, k.Iterations),
			fmt.Sprintf("    -in /mnt/tape/tapefs/%s/OBJECT.tar.enc | tar -xp -C TARGET", folder)}})
	}
	return steps
}

// fingerprints names the keys: "a, b or c".
func (p *Page) fingerprints() string {
	text := ""
	for i, k := range p.Keys {
		switch {
		case i > 0 && i == len(p.Keys)-1:
			text += " or "
		case i > 0:
			text += ", "
		}
		text += k.Fingerprint
	}
	return text
}

// Title sums up the contents.
func (v view) Title() string {
	return fmt.Sprintf("%s files, %s", humanize.Comma(v.Files), bytesText(v.Bytes))
}

// MoreText tells of folders that are not shown, "" if all are.
func (v view) MoreText() string {
	if v.More == 0 {
		return ""
	}
	return fmt.Sprintf("and %s smaller folders: tapefs tape files %s lists everything", humanize.Comma(int64(v.More)), v.Barcode)
}

// Foot says how old the page is.
func (v view) Foot() string {
	return fmt.Sprintf("Printed %s by tapefs %s, from the catalog: what was written to the tape later is not on this page.", v.Printed.Format("2006-01-02 15:04 MST"), v.Version)
}

//go:embed page.html.tmpl
var pageText string

var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"bytes": bytesText, "count": humanize.Comma, "modified": modifiedText, "name": visible,
	}).Parse(pageText))
})

// WriteHTML writes one HTML document of all pages, each on a sheet of its own. It needs no other file.
func WriteHTML(w io.Writer, pages []Page) error { return pageTemplate().Execute(w, views(pages)) }

func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func generationText(n int) string {
	if n <= 0 {
		return "-"
	}
	return fmt.Sprintf("LTO-%d", n)
}

func dateText(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.DateOnly)
}

// spanText is two days, or the one that both are.
func spanText(from, to *time.Time) string { return spanOf(dateText(from), dateText(to)) }

// modifiedText is spanText for the times of a folder's files.
func modifiedText(f Folder) string {
	return spanOf(f.Oldest.Time().Format(time.DateOnly), f.Newest.Time().Format(time.DateOnly))
}

func spanOf(a, b string) string {
	if a == b {
		return a
	}
	return a + " to " + b
}
