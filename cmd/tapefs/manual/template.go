package manual

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Template is what a commented configuration says of its keys.
type Template struct {
	Preamble string // the first comment
	Entries  []Entry
}

// Entry is one key, or several that share a comment.
type Entry struct {
	Keys []Key
	Text string // paragraphs
}

// Key is a key and what stands behind it in the template: its default, or an example.
type Key struct {
	Path  []string // with NAME for names that people choose, and without the numbers of lists
	Value string
	Unset bool // it stands there in a comment
}

func (k Key) String() string { return strings.Join(k.Path, ".") }

var (
	keyLine    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^( *)(# )?(- )?([a-z_]+):( .*)?$`) })
	example    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^( *)#(  .*)$`) })
	afterValue = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(.*?)\s{2,}# (\S.*)$`) })
)

// templateReader keeps where in the template it is.
type templateReader struct {
	known  func(path []string) bool
	named  func(path []string) bool
	into   *Template
	prose  []string // comment lines since the last key
	levels []level
}

// level is a key that has others below it.
type level struct {
	indent int
	name   string
}

// ParseTemplate reads a configuration whose comments explain its keys, as text that YAML reads. A line "# key: value" is the
// key when known says that there is one of that name at that place, else it is prose. Named says whether the keys below a
// path are names that people choose. Lines that begin with "#" and two spaces are an example of a section that is empty.
func ParseTemplate(text string, known, named func(path []string) bool) Template {
	var t Template
	r := templateReader{known: known, named: named, into: &t}
	for line := range strings.Lines(text) {
		r.line(strings.TrimRight(line, "\n"))
	}
	r.pause()
	return t
}

func (r *templateReader) line(line string) {
	if m := example().FindStringSubmatch(line); m != nil {
		line = m[1] + m[2]
	}
	if strings.TrimSpace(line) == "" {
		r.pause()
		return
	}
	if m := keyLine().FindStringSubmatch(line); m != nil {
		indent := len(m[1]) + len(m[3])
		if path, ok := r.path(indent, m[4]); ok {
			r.key(path, indent, strings.TrimSpace(m[5]), m[2] != "")
			return
		}
	}
	if comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#"); ok {
		r.prose = append(r.prose, strings.TrimPrefix(comment, " "))
	}
}

// path is the whole path of a key at an indent, if there is one.
func (r *templateReader) path(indent int, name string) ([]string, bool) {
	var path []string
	for _, l := range r.levels {
		if l.indent < indent {
			path = append(path, l.name)
		}
	}
	if r.named(path) {
		name = "NAME"
	}
	path = append(path, name)
	return path, r.known(path)
}

func (r *templateReader) key(path []string, indent int, value string, unset bool) {
	for len(r.levels) > 0 && r.levels[len(r.levels)-1].indent >= indent {
		r.levels = r.levels[:len(r.levels)-1]
	}
	r.levels = append(r.levels, level{indent, path[len(path)-1]})
	if m := afterValue().FindStringSubmatch(value); m != nil {
		value = m[1]
		r.prose = append(r.prose, "", strings.ToUpper(m[2][:1])+m[2][1:]+".")
	}
	if value == "" && len(r.prose) == 0 {
		return // only a section
	}
	k := Key{Path: path, Value: value, Unset: unset}
	list := &r.into.Entries
	if n := len(*list); len(r.prose) == 0 && n > 0 && slices.Equal(parent((*list)[n-1].Keys[0].Path), parent(path)) {
		(*list)[n-1].Keys = append((*list)[n-1].Keys, k)
		return
	}
	*list = append(*list, Entry{Keys: []Key{k}, Text: paragraphs(r.prose)})
	r.prose = nil
}

// pause ends a block of lines. A comment that no key followed belongs to the key before it; one before all keys is the preamble.
func (r *templateReader) pause() {
	if len(r.prose) == 0 {
		return
	}
	text := paragraphs(r.prose)
	r.prose = nil
	if n := len(r.into.Entries); n > 0 {
		r.into.Entries[n-1].Text = strings.TrimSpace(r.into.Entries[n-1].Text + "\n\n" + text)
		return
	}
	r.into.Preamble = strings.TrimSpace(r.into.Preamble + "\n\n" + text)
}

func parent(path []string) []string { return path[:len(path)-1] }

// paragraphs joins the lines of comments; an empty one separates paragraphs.
func paragraphs(lines []string) string {
	text := strings.Join(lines, "\n")
	parts := strings.Split(text, "\n\n")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "\n", " ")
	}
	return strings.TrimSpace(strings.Join(parts, "\n\n"))
}

// Page is a manual page of section 5 that explains the keys. Files are where the configuration is looked for.
func (t Template) Page(name, what string, files [][2]string, seeAlso []string) *Page {
	p := newPage(name, "5", what)
	p.section("DESCRIPTION")
	p.prose(t.Preamble)
	p.macro("PP")
	p.prose("NAME stands for a name that you choose.")
	top := ""
	for _, e := range t.Entries {
		if e.Keys[0].Path[0] != top {
			top = e.Keys[0].Path[0]
			p.section(strings.ToUpper(top))
		}
		for i, k := range e.Keys {
			if i == 0 {
				p.macro("TP")
			} else {
				p.macro("TQ")
			}
			head := bold(k.String())
			if k.Value != "" {
				head += ": " + escape(k.Value)
			}
			p.line(head)
		}
		p.meaning(e.Text)
	}
	p.pairs("FILES", files)
	p.seeAlso(seeAlso)
	return p
}

// Markdown is the same as Page for readers of the repository.
func (t Template) Markdown(title, before string) string {
	var b strings.Builder
	b.WriteString("# " + title + "\n\n" + before + "\n\n" + t.Preamble + "\n\nNAME stands for a name that you choose.\n")
	top := ""
	for _, e := range t.Entries {
		if e.Keys[0].Path[0] != top {
			top = e.Keys[0].Path[0]
			b.WriteString("\n## " + top + "\n")
		}
		b.WriteString("\n")
		for _, k := range e.Keys {
			b.WriteString("- `" + k.String())
			if k.Value != "" {
				b.WriteString(": " + k.Value)
			}
			b.WriteString("`\n")
		}
		for paragraph := range strings.SplitSeq(e.Text, "\n\n") {
			if paragraph != "" {
				b.WriteString("\n  " + markdownText(paragraph) + "\n")
			}
		}
	}
	return b.String()
}

var code = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("`[^`]*`") })

// markdownText keeps characters of prose from being read as Markdown; what stands between backquotes is code already.
func markdownText(text string) string {
	var b strings.Builder
	at := 0
	escape := strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`, "]", `\]`)
	for _, m := range code().FindAllStringIndex(text, -1) {
		b.WriteString(escape.Replace(text[at:m[0]]) + text[m[0]:m[1]])
		at = m[1]
	}
	return b.String() + escape.Replace(text[at:])
}
