package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// mask takes names out of a report: those that the configuration has, and whatever looks like a path or a login.
type mask struct {
	names   map[string]string // what is replaced as it is, and by what
	words   map[string]string // the same where it stands as a word
	sources map[string]string // names of sources to those in the report
	pools   map[string]string
}

var (
	ltfsLine  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`LTFS\d{5}[EWID]`) })
	login     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[\w.+-]+@[\w.:-]+`) })
	anyPath   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(^|[\s"'=(,:>]|\$[A-Z]+)(/[^\s"',;:()]+)`) })
	plainText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9][0-9.]* ?[A-Za-z%]{0,5}$`) }) // a number, a size, a duration
	urlParts  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:([a-z]+)://)?(?:([^@/:]+)@)?([^/:]+)?`) })
)

// tellingPaths begin paths that say something about a machine and nothing about a person.
var tellingPaths = []string{"/dev/", "/proc/", "/sys/", "/usr/", "/bin/", "/sbin/", "/opt/", "/lib/", "/etc/tapefs"}

// newMask learns the names of a configuration; conf may be nil.
func newMask(conf *settings) *mask {
	m := &mask{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}}
	if host, err := os.Hostname(); err == nil {
		m.word(host, "(this host)")
	}
	if u, err := user.Current(); err == nil && u.Username != "root" {
		m.word(u.Username, "(user)")
	}
	if conf == nil {
		return m
	}
	for name, dir := range map[string]string{"STATE": conf.State, "KEYS": conf.Keys.Dir, "SPOOL": conf.Spool.Dir, "CACHE": conf.Cache.Dir, "CONFIG": filepath.Dir(conf.File())} {
		if len(dir) > 1 {
			m.names[dir] = "$" + name
		}
	}
	for i, name := range sortedKeys(conf.Sources) {
		alias := fmt.Sprintf("source-%d", i+1)
		m.sources[name] = alias
		m.word(name, alias)
		url := conf.Sources[name].URL
		m.names[url] = "(address of " + alias + ")"
		if p := urlParts().FindStringSubmatch(url); p != nil && !strings.HasPrefix(url, "/") {
			m.word(p[2], "(user)")
			m.word(p[3], "(host of "+alias+")")
		}
	}
	for _, s := range conf.ArchiverSources() {
		m.phrases(s.SSH, s.Include, s.Exclude)
	}
	m.phrases(conf.KeyCommand, conf.Notify)
	for i, name := range sortedKeys(conf.Pools) {
		m.pools[name] = fmt.Sprintf("pool-%d", i+1)
		m.word(name, m.pools[name])
	}
	return m
}

// phrases hides what people wrote into lists of the configuration: options of ssh, patterns, commands.
func (m *mask) phrases(lists ...[]string) {
	const tooShort = 4 // such as -i, which is nobody's name
	for _, list := range lists {
		for _, text := range list {
			if len(text) >= tooShort {
				m.names[text] = "(set)"
			}
		}
	}
}

func (m *mask) word(text, instead string) {
	if text != "" {
		m.words[text] = instead
	}
}

// hide replaces names in text, the longest first.
func (m *mask) hide(text string) string {
	for _, name := range longestFirst(m.names) {
		text = strings.ReplaceAll(text, name, m.names[name])
	}
	text = anyPath().ReplaceAllStringFunc(login().ReplaceAllString(text, "(login)"), hidePath)
	for _, name := range longestFirst(m.words) {
		text = regexp.MustCompile(`(^|[^\w-])`+regexp.QuoteMeta(name)+`($|[^\w-])`).ReplaceAllString(text, "${1}"+strings.ReplaceAll(m.words[name], "$", "$$")+"${2}")
	}
	return text
}

// hidePath replaces what anyPath found, unless the path says something about the machine alone.
func hidePath(found string) string {
	i := strings.Index(found, "/")
	before, path := found[:i], found[i:]
	if slices.ContainsFunc(tellingPaths, func(p string) bool { return strings.HasPrefix(path, p) }) {
		return found
	}
	if i := strings.Index(path, "/dev/"); i > 0 { // a virtual library's
		return before + "(path)" + path[i:]
	}
	return before + "(path)"
}

func longestFirst(of map[string]string) []string {
	keys := sortedKeys(of)
	slices.SortStableFunc(keys, func(a, b string) int { return len(b) - len(a) })
	return keys
}

// keptText are keys whose values are shown as they are; all others are shown to be set, and numbers, sizes and times as they are.
var keptText = []string{"changer", "serial", "device", "tape", "node", "date", "flavor", "ltfs_options", "mtx", "mt", "mkltfs", "ltfs", "ltfsck", "lsscsi",
	"sg_read_attr", "sg_logs", "owners", "rsync", "every"}

// config shows a configuration without names and secrets.
func (m *mask) config(text []byte) ([]byte, error) {
	var all yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(text, &all, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: line and column are in what doctor says")
	}
	return yaml.Marshal(m.value(nil, all))
}

// value masks a value of the configuration; at are the keys that lead to it.
func (m *mask) value(at []string, v any) any {
	switch v := v.(type) {
	case yaml.MapSlice:
		out := yaml.MapSlice{}
		for _, item := range v {
			key := fmt.Sprint(item.Key)
			shown := key
			if len(at) == 1 && at[0] == "sources" {
				shown = m.sources[key]
			} else if len(at) == 1 && at[0] == "pools" {
				shown = m.pools[key]
			}
			out = append(out, yaml.MapItem{Key: shown, Value: m.value(append(slices.Clone(at), key), item.Value)})
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = m.value(at, v[i])
		}
		return out
	case string:
		return m.text(at, v)
	case nil, bool, int, int64, uint64, float64:
		return v
	}
	return "(set)"
}

func (m *mask) text(at []string, v string) string {
	key := ""
	if len(at) > 0 {
		key = at[len(at)-1]
	}
	switch {
	case key == "url":
		if scheme, _, ok := strings.Cut(v, "://"); ok {
			return scheme + "://(set)"
		}
		if strings.HasPrefix(v, "/") {
			return "(a local path)"
		}
		return "(host):(path)"
	case key == "copies":
		if alias, ok := m.pools[v]; ok {
			return alias
		}
	case at[0] == "pools" && (key == "include" || key == "exclude"), slices.Contains(keptText, key), plainText().MatchString(v):
		return m.hide(v)
	}
	return "(set)"
}
