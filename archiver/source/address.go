package source

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/tapefs/tapefs/archiver/job"
)

// SourceName is what a source may be called: it becomes a directory of the mount,
// the first component of every member name on tape, and part of spool directory names.
var SourceName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`) })

type transport int

const (
	overSSH transport = iota
	overDaemon
	InPlace
)

// Address is a source's URL, taken apart.
type Address struct {
	Transport transport
	user      string // "" the default
	Host      string // IPv6 addresses without brackets
	port      int    // 0 the default
	module    string // of a daemon
	Path      string // clean; in place: absolute; ssh: absolute or below the home directory; daemon: below the module; "" is its top
}

// ParseAddress reads user@host:path, ssh://user@host:port/path, host::module/path,
// rsync://host:port/module/path, file:///path, and local paths that begin with / or a dot.
// Nothing is percent-decoded: names are taken as they are.
func ParseAddress(raw string) (Address, error) {
	a, err := splitURL(raw)
	if err != nil {
		return Address{}, fmt.Errorf("source URL %q: %w", raw, err)
	}
	return a, nil
}

func splitURL(raw string) (Address, error) {
	switch {
	case raw == "":
		return Address{}, errors.New("it is empty")
	case strings.IndexByte(raw, 0) >= 0:
		return Address{}, errors.New("it holds a NUL byte")
	}
	if rest, ok := strings.CutPrefix(raw, "file://"); ok {
		if !strings.HasPrefix(rest, "/") {
			return Address{}, errors.New("a file URL has three slashes: file:///path")
		}
		return Address{Transport: InPlace, Path: path.Clean(rest)}, nil
	}
	if rest, ok := strings.CutPrefix(raw, "ssh://"); ok {
		return splitSSH(rest)
	}
	if rest, ok := strings.CutPrefix(raw, "rsync://"); ok {
		return splitDaemon(rest)
	}
	if raw == "." || raw == ".." || strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		abs, err := filepath.Abs(raw)
		return Address{Transport: InPlace, Path: abs}, err
	}
	if scheme, _, ok := strings.Cut(raw, "://"); ok && !strings.ContainsAny(scheme, "/:@") {
		return Address{}, fmt.Errorf("%s:// is not a way to reach files; ssh://, rsync:// and file:// are", scheme)
	}
	host, rest, ok := cutHost(raw)
	if !ok {
		return Address{}, errors.New("neither host:path nor a path that begins with / or ./")
	}
	var a Address
	if err := a.setHost(host); err != nil {
		return Address{}, err
	}
	if module, ok := strings.CutPrefix(rest, ":"); ok {
		return a, a.setModule(module)
	}
	a.Transport = overSSH
	return a, a.setSSHPath(rest)
}

// cutHost cuts at the first colon that no slash precedes and that is outside of brackets.
func cutHost(raw string) (host, rest string, ok bool) {
	bracket := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		case c == '/':
			return "", "", false
		case c == ':' && !bracket:
			return raw[:i], raw[i+1:], true
		}
	}
	return "", "", false
}

func splitSSH(rest string) (Address, error) {
	host, p, ok := strings.Cut(rest, "/")
	if !ok {
		return Address{}, errors.New("no path: ssh://user@host/path")
	}
	a := Address{Transport: overSSH}
	if err := a.setHostPort(host); err != nil {
		return Address{}, err
	}
	if p == "~" || strings.HasPrefix(p, "~/") {
		return a, a.setSSHPath(p)
	}
	return a, a.setSSHPath("/" + p)
}

func splitDaemon(rest string) (Address, error) {
	host, p, _ := strings.Cut(rest, "/")
	var a Address
	if err := a.setHostPort(host); err != nil {
		return Address{}, err
	}
	return a, a.setModule(p)
}

func (a *Address) setHostPort(s string) error {
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.ContainsRune(s[i:], ']') {
		port, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("%q is not a port", s[i+1:])
		}
		a.port, host = int(port), s[:i]
	}
	return a.setHost(host)
}

// setHost refuses what ssh or rsync would take for an option or split.
func (a *Address) setHost(s string) error {
	user, host := "", s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, host = s[:i], s[i+1:]
		if user == "" {
			return errors.New("nobody stands before the @")
		}
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.ContainsAny(host, ":[]") {
		return fmt.Errorf("%q is not a host (IPv6 addresses stand in brackets)", host)
	}
	if host == "" {
		return errors.New("it names no host")
	}
	for _, s := range []string{user, host} {
		if strings.HasPrefix(s, "-") {
			return fmt.Errorf("%q begins with a dash", s)
		}
		for i := 0; i < len(s); i++ {
			if s[i] <= ' ' || s[i] == 0x7f || strings.IndexByte(`"'\/`+"`$;&|<>()", s[i]) >= 0 {
				return fmt.Errorf("%q is not a name of a user or host", s)
			}
		}
	}
	a.user, a.Host = user, host
	return nil
}

func (a *Address) setModule(s string) error {
	module, p, _ := strings.Cut(s, "/")
	if module == "" {
		return errors.New("it names no module of the rsync daemon")
	}
	a.Transport, a.module = overDaemon, module
	a.Path = strings.TrimPrefix(path.Clean("/"+p), "/")
	return nil
}

func (a *Address) setSSHPath(p string) error {
	if strings.HasPrefix(p, "~") {
		if p != "~" && !strings.HasPrefix(p, "~/") {
			return errors.New("of another user's home directory write the whole path")
		}
		p = strings.TrimLeft(p[1:], "/")
	}
	if p = path.Clean(p); p == "." {
		p = ""
	}
	a.Path = p
	return nil
}

// Listed is the operand that names the source's top directory, and fetched the one
// that files are fetched from, with the prefix their names then need. A daemon is
// asked for its module's top: daemons without chroot (rsync 3.5) do not find files
// that --files-from names below a path.
func (a Address) Listed() string {
	switch a.Transport {
	case InPlace:
		return strings.TrimSuffix(a.Path, "/") + "/"
	case overDaemon:
		return a.daemon() + strings.TrimPrefix(a.Path+"/", "/")
	}
	p := a.Path
	if !strings.HasPrefix(p, "/") {
		p = "./" + p // neither an option nor a further colon
	}
	return a.machine() + ":" + strings.TrimSuffix(p, "/") + "/"
}

func (a Address) Fetched() (operand, prefix string) {
	if a.Transport != overDaemon || a.Path == "" {
		return a.Listed(), ""
	}
	return a.daemon(), a.Path + "/./"
}

func (a Address) machine() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.user != "" {
		host = a.user + "@" + host
	}
	return host
}

func (a Address) daemon() string {
	s := "rsync://" + a.machine()
	if a.port != 0 {
		s += ":" + strconv.Itoa(a.port)
	}
	return s + "/" + a.module + "/"
}

// plainPath holds what no shell and no glob reads as anything else.
var plainPath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_/.,+@%=:-]*$`) })

// odd says whether the far side's shell must be kept from seeing the path.
func (a Address) odd() bool {
	return a.Transport != InPlace && !plainPath().MatchString(a.module+a.Path)
}

// relative is a path that the far side's messages name, as one below the source's
// top; false when it is not below it. Daemons name paths from their module's top, some
// without a slash, or from the source's.
func (a Address) relative(p string) (string, bool) {
	top := strings.Trim(a.Path, "/") // of every path below it a slash follows
	if top != "" {
		top += "/"
	}
	switch {
	case a.Transport == overDaemon:
		rel, ok := strings.CutPrefix(strings.TrimPrefix(p, "/"), top)
		return rel, ok || !strings.HasPrefix(p, "/")
	case strings.HasPrefix(a.Path, "/"):
		if rel, ok := strings.CutPrefix(p, "/"+top); ok {
			return rel, true
		}
	case top != "": // below a home directory: the messages name the whole path
		if _, rel, ok := strings.Cut(p, "/"+top); ok {
			return rel, true
		}
	}
	return "", false
}

// RemoteOptions are the arguments of rsync that say how to reach a source.
func (a Address) RemoteOptions(src job.Source, ssh string, secluded bool) []string {
	args := []string{stallOption(src)}
	switch a.Transport {
	case overSSH:
		if ssh == "" {
			ssh = "ssh"
		}
		argv := append([]string{ssh}, src.SSH...)
		if a.port != 0 {
			argv = append(argv, "-p", strconv.Itoa(a.port))
		}
		// What the configuration says comes first: ssh takes the first value it sees.
		argv = append(argv, "-o", "BatchMode=yes", "-o", "ServerAliveInterval=60")
		args = append(args, "-e", quoteShell(argv))
		if src.RsyncPath != "" {
			args = append(args, "--rsync-path="+src.RsyncPath)
		}
	case overDaemon:
		args = append(args, "--no-motd")
	}
	if secluded {
		args = append(args, "--secluded-args")
	}
	return args
}

// quoteShell writes argv as rsync's -e reads it: words are split at spaces only;
// quotes of both kinds hold words together, and a doubled one inside stands for itself.
func quoteShell(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		if w == "" || strings.ContainsAny(w, ` '"`) {
			w = "'" + strings.ReplaceAll(w, "'", "''") + "'"
		}
		words[i] = w
	}
	return strings.Join(words, " ")
}
