package manual

import (
	"regexp"
	"strings"
	"sync"
)

// Page is a manual page that is being written.
type Page struct {
	Name    string // "tapefs-archive"
	Section string // "1"

	text strings.Builder
}

// newPage begins a page. What says what it is about, in a few words, for whatis. No date stands in it: two builds of
// one state are to give the same bytes.
func newPage(name, section, what string) *Page {
	p := &Page{Name: name, Section: section}
	p.macro("TH", strings.ToUpper(name), section, "", "tapefs", "tapefs manual")
	p.macro("nh") // no hyphens that somebody would copy into a command
	p.section("NAME")
	p.line(escape(name) + ` \- ` + escape(what))
	return p
}

// File is the name under which man finds the page: "tapefs-archive.1".
func (p *Page) File() string { return p.Name + "." + p.Section }

// String is the page as man reads it.
func (p *Page) String() string { return p.text.String() }

// macro writes a request with its arguments.
func (p *Page) macro(name string, args ...string) {
	p.text.WriteString("." + name)
	for _, arg := range args {
		p.text.WriteString(` "` + escape(arg) + `"`)
	}
	p.text.WriteString("\n")
}

func (p *Page) section(title string)    { p.macro("SH", title) }
func (p *Page) subsection(title string) { p.macro("SS", title) }

// line writes text that is escaped already.
func (p *Page) line(text string) {
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, `\(aq`) {
		text = `\&` + text
	}
	p.text.WriteString(text + "\n")
}

// prose writes paragraphs, which empty lines separate. Lines that begin with four spaces are shown as they are.
func (p *Page) prose(text string) { p.paragraphs(text, "PP") }

func (p *Page) paragraphs(text, separator string) {
	for i, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			p.macro(separator)
		}
		if strings.HasPrefix(paragraph, "    ") {
			p.literal(strings.Split(paragraph, "\n"))
			continue
		}
		p.line(marked(strings.Join(strings.Fields(paragraph), " ")))
	}
}

// literal shows lines as they are, indented.
func (p *Page) literal(lines []string) {
	p.macro("RS", "4")
	p.macro("nf")
	for _, line := range lines {
		p.line(escape(strings.TrimPrefix(line, "    ")))
	}
	p.macro("fi")
	p.macro("RE")
}

// item is an entry of a list: bold words, then what they mean.
func (p *Page) item(head, text string) {
	p.macro("TP")
	p.line(bold(head))
	p.meaning(text)
}

// meaning is the text of an item whose head was written.
func (p *Page) meaning(text string) {
	if text == "" {
		p.line(`\&`)
		return
	}
	p.paragraphs(text, "IP")
}

func bold(text string) string { return `\fB` + escape(text) + `\fR` }

// marked escapes prose in which words between backquotes are to be typed as they are.
func marked(text string) string {
	var b strings.Builder
	for i, piece := range strings.Split(text, "`") {
		if i%2 == 1 {
			b.WriteString(bold(piece))
		} else {
			b.WriteString(escape(piece))
		}
	}
	return b.String()
}

var (
	special = strings.NewReplacer(`\`, `\e`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `"`, `\(dq`)
	// option finds words whose hyphens must stay what the shell knows; between letters of prose they are hyphens.
	option = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(^|[\s(\["'/=])(--?[A-Za-z0-9][A-Za-z0-9-]*)`) })
)

// escape keeps text from being read as requests, and its characters what they are when somebody copies them.
func escape(text string) string {
	text = special.Replace(text)
	return option().ReplaceAllStringFunc(text, func(word string) string { return strings.ReplaceAll(word, "-", `\-`) })
}

// Section is a part of a page that a caller puts together: paragraphs, then a list of words and what they mean.
type Section struct {
	Title, Text string
	Items       [][2]string
}

// NewPage makes a page of sections.
func NewPage(name, section, what string, parts []Section, seeAlso []string) *Page {
	p := newPage(name, section, what)
	for _, part := range parts {
		p.section(part.Title)
		if part.Text != "" {
			p.prose(part.Text)
		}
		for _, item := range part.Items {
			p.item(item[0], item[1])
		}
	}
	p.seeAlso(seeAlso)
	return p
}
