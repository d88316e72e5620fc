package manual

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// Example is a command line without the program's name, and what it is for.
type Example struct{ Line, For string }

// More is what a command's help says besides its model.
type More struct {
	Text     string // paragraphs
	Examples []Example
	Exits    []string // "3 some files failed"
}

// Program is what the pages need to know.
type Program struct {
	App *kong.Application
	// More is asked for each command that does something.
	More func(*kong.Node) More
	// About is what tapefs(1) says in its description, and Exits all exit codes.
	About string
	Exits []string
	// Environment and Files are pairs of a name and what it is for.
	Environment, Files [][2]string
	// SeeAlso are further pages: "tapefs.yaml(5)".
	SeeAlso []string
	// Literal commands have a help of their own, by name, which is shown as it is.
	Literal map[string]string
	// Unpaged are commands that have no page, by name.
	Unpaged []string
}

// Commands makes the page of the program, then one for each of its commands with all that is below it.
func Commands(program Program) []*Page {
	pages := []*Page{program.main()}
	for _, node := range program.App.Children {
		if program.paged(node) {
			pages = append(pages, program.command(node))
		}
	}
	return pages
}

func (m Program) paged(node *kong.Node) bool {
	if node.Hidden || node.Type != kong.CommandNode {
		return false
	}
	for _, name := range m.Unpaged {
		if name == node.Name {
			return false
		}
	}
	return true
}

func (m Program) main() *Page {
	name := m.App.Name
	p := newPage(name, "1", withoutStop(firstLine(m.App.Help)))
	p.section("SYNOPSIS")
	p.line(bold(name) + ` \fIcommand\fR [\fIflags\fR]`)
	p.section("DESCRIPTION")
	p.prose(m.About)
	p.section("COMMANDS")
	p.prose("Each command has a page of its own, " + name + "-COMMAND(1), and a --help.")
	group := ""
	for _, node := range m.App.Children {
		if node.Hidden || node.Type != kong.CommandNode {
			continue
		}
		if node.Group != nil && node.Group.Title != group {
			group = node.Group.Title
			p.subsection(strings.TrimSuffix(group, ":"))
		}
		p.item(node.Name, node.Help)
	}
	p.section("OPTIONS")
	p.prose("Every command takes these.")
	p.flags(m.App.Flags)
	p.section("EXIT STATUS")
	p.exits(m.Exits)
	p.pairs("ENVIRONMENT", m.Environment)
	p.pairs("FILES", m.Files)
	see := append([]string{}, m.SeeAlso...)
	for _, node := range m.App.Children {
		if m.paged(node) {
			see = append(see, name+"-"+node.Name+"(1)")
		}
	}
	p.seeAlso(see)
	return p
}

func (m Program) command(node *kong.Node) *Page {
	name := m.App.Name
	p := newPage(name+"-"+node.Name, "1", lowerFirst(withoutStop(node.Help)))
	leaves := node.Leaves(true)
	if node.Leaf() {
		leaves = []*kong.Node{node}
	}
	p.section("SYNOPSIS")
	for i, leaf := range leaves {
		if i > 0 {
			p.macro("br")
		}
		p.line(synopsis(name, leaf))
	}
	p.section("DESCRIPTION")
	p.prose(node.Help)
	if text, ok := m.Literal[node.Name]; ok {
		p.literal(strings.Split(strings.TrimRight(text, "\n"), "\n"))
	}
	if node.Leaf() {
		more := m.More(node)
		if more.Text != "" {
			p.macro("PP")
			p.prose(more.Text)
		}
		if len(node.Positional) > 0 || len(shown(node.Flags)) > 0 {
			p.section("OPTIONS")
			p.arguments(node)
		}
		p.endings(more, name, p.section)
	} else {
		p.section("COMMANDS")
		for _, leaf := range leaves {
			p.subsection(words(leaf))
			p.prose(leaf.Help)
			more := m.More(leaf)
			if more.Text != "" {
				p.macro("PP")
				p.prose(more.Text)
			}
			p.arguments(leaf)
			p.endings(more, name, nil)
		}
	}
	p.seeAlso(append([]string{name + "(1)"}, m.SeeAlso...))
	return p
}

// endings are the examples and exit codes: in sections where section is given, else in paragraphs.
func (p *Page) endings(more More, name string, section func(string)) {
	head := func(title, words string) {
		if section != nil {
			section(title)
			return
		}
		p.macro("PP")
		p.line(escape(words))
	}
	if len(more.Examples) > 0 {
		head("EXAMPLES", "Examples:")
		var lines []string
		for _, e := range more.Examples {
			if e.For != "" {
				lines = append(lines, "# "+e.For)
			}
			lines = append(lines, name+" "+e.Line)
		}
		p.literal(lines)
	}
	if len(more.Exits) > 0 {
		head("EXIT STATUS", "Exit status:")
		p.exits(more.Exits)
	}
}

func (p *Page) exits(codes []string) {
	for _, code := range codes {
		number, text, _ := strings.Cut(code, " ")
		p.item(number, text)
	}
}

func (p *Page) pairs(title string, pairs [][2]string) {
	if len(pairs) == 0 {
		return
	}
	p.section(title)
	for _, pair := range pairs {
		p.item(pair[0], pair[1])
	}
}

func (p *Page) seeAlso(pages []string) {
	p.section("SEE ALSO")
	for i, page := range pages {
		name, section, _ := strings.Cut(strings.TrimSuffix(page, ")"), "(")
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		p.text.WriteString(`.BR ` + escape(name) + ` (` + section + `)` + end + "\n")
	}
}

// arguments are the words and flags that a command itself takes.
func (p *Page) arguments(node *kong.Node) {
	for _, arg := range node.Positional {
		p.item(arg.Summary(), arg.Help)
	}
	p.flags(node.Flags)
}

func (p *Page) flags(flags []*kong.Flag) {
	for _, flag := range shown(flags) {
		p.macro("TP")
		p.line(flagHead(flag))
		p.meaning(flag.Help)
	}
}

func shown(flags []*kong.Flag) []*kong.Flag {
	var list []*kong.Flag
	for _, flag := range flags {
		if !flag.Hidden {
			list = append(list, flag)
		}
	}
	return list
}

// flagHead is "-v, --verbose" or "--to=PLACE".
func flagHead(flag *kong.Flag) string {
	head := `\fB\-\-` + strings.ReplaceAll(flag.Name, "-", `\-`) + `\fR`
	if flag.Short != 0 {
		head = `\fB\-` + string(flag.Short) + `\fR, ` + head
	}
	if !flag.IsBool() && !flag.IsCounter() {
		head += `=\fI` + escape(flag.FormatPlaceHolder()) + `\fR`
	}
	return head
}

func synopsis(program string, leaf *kong.Node) string {
	line := bold(program + " " + words(leaf))
	for _, arg := range leaf.Positional {
		line += " " + escape(arg.Summary())
	}
	if len(shown(leaf.Flags)) > 0 {
		line += ` [\fIflags\fR]`
	}
	return line
}

// words are a command's words without the program's: "tape format".
func words(node *kong.Node) string {
	var list []string
	for ; node != nil && node.Type == kong.CommandNode; node = node.Parent {
		list = append([]string{node.Name}, list...)
	}
	return strings.Join(list, " ")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func withoutStop(text string) string { return strings.TrimSuffix(strings.TrimSpace(text), ".") }

// lowerFirst makes a sentence the second half of a whatis line.
func lowerFirst(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(r)) + text[n:]
}
