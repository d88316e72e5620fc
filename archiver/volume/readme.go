package volume

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tapefs/tapefs/changer"
)

// ErrNoLabel: the text is not the README.txt of a tapefs tape.
var ErrNoLabel = errors.New("not a tape of tapefs")

// ErrNewerFormat: the tape has a label, of a format that this program does not know. It comes with ErrNoLabel.
var ErrNewerFormat = errors.New("use a newer tapefs")

// Names at the root of every tape.
const (
	ReadmeName  = "README.txt"
	restoreName = "restore.sh"
)

// TapeFormat is the number in the first line of README.txt. Any change of what FORMAT.md
// describes that an older program would misread needs a higher one.
const TapeFormat = 1

// RestoreScriptSum is the SHA-256 of the restore.sh that is written to tapes, in hex.
func RestoreScriptSum() string { return fmt.Sprintf("%x", sha256.Sum256(restoreScript)) }

// labelLineMax bounds the first line of README.txt, in bytes.
const labelLineMax = 1024

//go:embed readme.txt.tmpl
var readmeText string

//go:embed restore.sh
var restoreScript []byte

var readmeTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New(ReadmeName).Parse(readmeText))
})

// Label is what a tape says of itself in README.txt.
type Label struct {
	Catalog string // UUID of the catalog that wrote it
	Volume  string // LTFS volume UUID
	Pool    string
	Number  int // n-th tape of the catalog, from 1

	// Not in the first line, for people only; ParseLabel leaves them empty.
	Barcode   string
	Formatted time.Time
	Version   string // of tapefs
}

// UUIDText is how the UUID of a catalog or volume is written.
var UUIDText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-fA-F][0-9a-fA-F-]{0,63}$`) })

// Check refuses what the first line could not carry or would not carry back.
func (l Label) Check() error {
	switch {
	case !UUIDText().MatchString(l.Catalog):
		return fmt.Errorf("%q is no catalog UUID", l.Catalog)
	case !UUIDText().MatchString(l.Volume):
		return fmt.Errorf("%q is no volume UUID", l.Volume)
	case !isWord(l.Pool):
		return fmt.Errorf("%q cannot be a pool's name: it must be one word", l.Pool)
	case l.Number < 1:
		return fmt.Errorf("%d is no tape number", l.Number)
	}
	return nil
}

// isWord: printable, without blanks, valid UTF-8, at most 255 bytes.
func isWord(s string) bool {
	return s != "" && len(s) <= 255 && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) < 0
}

// FirstLine is the machine's part of README.txt, without a newline.
func (l Label) FirstLine() string {
	return fmt.Sprintf("tapefs-format %d catalog=%s volume=%s pool=%s number=%d", TapeFormat, l.Catalog, l.Volume, l.Pool, l.Number)
}

// WriteTapeTexts writes restore.sh and README.txt into the root of a mounted volume, in this order: where
// README.txt is whole, both are. A README.txt that is there already is an error and stays as it is;
// without one, restore.sh is what an interrupted labelling left, and is written anew.
func WriteTapeTexts(dir string, l Label) error {
	if err := l.Check(); err != nil {
		return fmt.Errorf("label tape: %w", err)
	}
	if l.Barcode != "" && !isWord(l.Barcode) {
		return fmt.Errorf("label tape: %q is no barcode", l.Barcode)
	}
	var text bytes.Buffer
	err := readmeTemplate().Execute(&text, struct {
		Label
		FirstLine string
		On        string
	}{l, l.FirstLine(), l.Formatted.UTC().Format(time.DateOnly)})
	if err != nil {
		return fmt.Errorf("label tape: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("label tape: %w", err)
	}
	defer root.Close()
	if _, err := root.Lstat(ReadmeName); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("label tape: %s is there: %w", ReadmeName, fs.ErrExist), err)
	}
	if err := root.Remove(restoreName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("label tape: %w", err)
	}
	if err := writeNew(root, restoreName, restoreScript); err != nil {
		return fmt.Errorf("label tape: %w", err)
	}
	if err := writeNew(root, ReadmeName, text.Bytes()); err != nil {
		return fmt.Errorf("label tape: %w", err)
	}
	return nil
}

// writeNew writes a file that must not exist. What was begun and failed is taken away if possible.
func writeNew(root *os.Root, name string, b []byte) error {
	return CreateNew(root, name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// CreateNew makes a file that must not exist from what fill writes, and closes it.
func CreateNew(root *os.Root, name string, fill func(io.Writer) error) error {
	f, err := changer.OpenFile(root, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), root.Remove(name))
	}
	return nil
}

// ParseLabel reads the first line of a README.txt. Words it does not know are passed over.
// Errors wrap ErrNoLabel, also for a format newer than this program's.
func ParseLabel(r io.Reader) (Label, error) {
	line, err := bufio.NewReader(io.LimitReader(r, labelLineMax)).ReadString('\n')
	if err != nil && err != io.EOF {
		return Label{}, fmt.Errorf("read %s: %w", ReadmeName, err)
	}
	words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if err == io.EOF || len(words) < 2 || words[0] != "tapefs-format" {
		return Label{}, fmt.Errorf("read %s: %w", ReadmeName, ErrNoLabel)
	}
	if words[1] != strconv.Itoa(TapeFormat) {
		return Label{}, fmt.Errorf("%w that this program can read: format %.20q, known is %d; %w", ErrNoLabel, words[1], TapeFormat, ErrNewerFormat)
	}
	var l Label
	seen := map[string]bool{}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		if seen[name] {
			return Label{}, fmt.Errorf("%w: %.20q twice in its first line", ErrNoLabel, name)
		}
		seen[name] = true
		switch name {
		case "catalog":
			l.Catalog = value
		case "volume":
			l.Volume = value
		case "pool":
			l.Pool = value
		case "number":
			n, err := strconv.Atoi(value)
			if err != nil || strconv.Itoa(n) != value {
				return Label{}, fmt.Errorf("%w: number %.20q", ErrNoLabel, value)
			}
			l.Number = n
		}
	}
	if err := l.Check(); err != nil {
		return Label{}, fmt.Errorf("%w: %w", ErrNoLabel, err)
	}
	return l, nil
}
