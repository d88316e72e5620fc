package ui

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable shows a name on a terminal: as it is where that is harmless, else quoted with escapes.
func Printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// PrintableText is a sentence on one line: what a terminal would take for a command is escaped, all else stays.
func PrintableText(text string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(text, "\n", "; ") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// PrintableWriter is what every command writes to. Names, messages of servers and what a tape says are other people's bytes:
// control characters, which a terminal would obey, are written as escapes, and so are those that turn the direction of writing, with which
// a name shows another one, and what is no UTF-8. Newlines and tabs pass. The escapes of DEL and of what lies above U+007F are those
// of JSON as well, which leaves these as they are.
// Not safe for concurrent use; ended by flush.
type PrintableWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character whose end is not written yet
}

// NewPrintableWriter returns a writer that escapes what goes to w.
func NewPrintableWriter(w io.Writer) *PrintableWriter { return &PrintableWriter{w: w} }

func (p *PrintableWriter) Write(b []byte) (int, error) {
	text := b
	if len(p.rest) > 0 {
		text = append(p.rest, b...)
	}
	whole := len(text) - unfinished(text)
	out := EscapeControls(text[:whole])
	p.rest = append([]byte(nil), text[whole:]...)
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush writes what is left, which is no UTF-8.
func (p *PrintableWriter) Flush() error {
	rest := p.rest
	p.rest = nil
	if len(rest) == 0 {
		return nil
	}
	_, err := p.w.Write(EscapeControls(rest))
	return err
}

// RawOutput is what lies below: for programs that get exact names, and for what is meant for a terminal.
func RawOutput(w io.Writer) io.Writer {
	if p, ok := w.(*PrintableWriter); ok {
		return p.w
	}
	return w
}

// unfinished is how many bytes at the end of b may be the beginning of a character.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if at := b[len(b)-n:]; utf8.RuneStart(at[0]) {
			if utf8.FullRune(at) {
				return 0
			}
			return n
		}
	}
	return 0
}

// misleading reports whether a character changes how those around it are shown: marks of direction, line and paragraph separators.
func misleading(r rune) bool {
	return unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// EscapeControls escapes control characters but newline and tab, misleading ones, and bytes that are no UTF-8. It returns b itself when
// there are none.
func EscapeControls(b []byte) []byte {
	harmless := func(r rune, size int) bool {
		return r == '\n' || r == '\t' || !unicode.IsControl(r) && !misleading(r) && (r != utf8.RuneError || size > 1)
	}
	at := 0
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		if !harmless(r, size) {
			break
		}
		at += size
	}
	if at == len(b) {
		return b
	}
	out := append(make([]byte, 0, len(b)+16), b[:at]...)
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		switch {
		case harmless(r, size):
			out = append(out, b[at:at+size]...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == utf8.RuneError || r < ' ':
			out = fmt.Appendf(out, `\x%02x`, b[at])
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		at += size
	}
	return out
}
