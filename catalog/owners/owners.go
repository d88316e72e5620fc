// Package owners maps the names of users and groups to this machine's numbers and back. A static binary reads
// /etc/passwd and /etc/group by itself and knows nothing of the name service switch, so whoever comes from LDAP, Active
// Directory or systemd-userdb is asked for by getent(1), where that is installed. It imports nothing of ours.
package owners

import (
	"context"
	"errors"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind says whether a name or number is a user's or a group's.
type Kind int

const (
	User Kind = iota
	Group
)

const (
	keepKnown   = time.Hour        // how long an answer is believed
	keepUnknown = 10 * time.Minute // and one that there is none
	getentLimit = 5 * time.Second  // a directory server that does not answer must not hold up a reader
	getentPause = time.Minute      // after that limit, until getent is asked again
)

// Names answers from a cache, for as long as a mount lives. It is safe for concurrent use; the zero value is not.
type Names struct {
	getent string // the program; "" asks nobody

	mu      sync.Mutex // protects all below; held while getent runs, so that one question is asked once
	numbers map[named]answer[uint32]
	names   map[numbered]answer[string]
	silent  time.Time // getent is not asked before
}

type named struct {
	kind Kind
	name string
}

type numbered struct {
	kind Kind
	id   uint32
}

type answer[T any] struct {
	value T
	known bool
	until time.Time
}

// New finds getent in PATH.
func New() *Names {
	program, err := exec.LookPath("getent")
	if err != nil {
		program = ""
	}
	return &Names{getent: program, numbers: map[named]answer[uint32]{}, names: map[numbered]answer[string]{}}
}

// Number returns the number of a user or group, false where this machine does not know the name.
func (n *Names) Number(k Kind, name string) (uint32, bool) {
	if name == "" {
		return 0, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := named{k, name}
	if a, ok := n.numbers[key]; ok && time.Now().Before(a.until) {
		return a.value, a.known
	}
	id, known, sure := n.lookUp(k, name)
	if sure {
		n.numbers[key] = remember(id, known)
	}
	return id, known
}

// Name returns the name of a user or group, false where this machine does not know the number.
func (n *Names) Name(k Kind, id uint32) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := numbered{k, id}
	if a, ok := n.names[key]; ok && time.Now().Before(a.until) {
		return a.value, a.known
	}
	name, known, sure := n.lookUpID(k, id)
	if sure {
		n.names[key] = remember(name, known)
	}
	return name, known
}

func remember[T any](value T, known bool) answer[T] {
	keep := keepUnknown
	if known {
		keep = keepKnown
	}
	return answer[T]{value, known, time.Now().Add(keep)}
}

// lookUp asks the files of this machine, then getent. It is not sure while getent does not answer.
func (n *Names) lookUp(k Kind, name string) (id uint32, known, sure bool) {
	var text string
	switch k {
	case User:
		if u, err := user.Lookup(name); err == nil {
			text = u.Uid
		}
	case Group:
		if g, err := user.LookupGroup(name); err == nil {
			text = g.Gid
		}
	}
	if id, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(id), true, true
	}
	if _, err := strconv.ParseInt(name, 10, 64); err == nil || strings.ContainsAny(name, ":\n\x00") {
		return 0, false, true // getent would take it for a number
	}
	entry, sure := n.ask(k, name)
	if len(entry) < 3 || entry[0] != name {
		return 0, false, sure
	}
	number, err := strconv.ParseUint(entry[2], 10, 32)
	return uint32(number), err == nil, sure
}

func (n *Names) lookUpID(k Kind, id uint32) (name string, known, sure bool) {
	text := strconv.FormatUint(uint64(id), 10)
	switch k {
	case User:
		if u, err := user.LookupId(text); err == nil {
			return u.Username, true, true
		}
	case Group:
		if g, err := user.LookupGroupId(text); err == nil {
			return g.Name, true, true
		}
	}
	entry, sure := n.ask(k, text)
	if len(entry) < 3 || entry[0] == "" || entry[2] != text {
		return "", false, sure
	}
	return entry[0], true, sure
}

// ask runs getent and returns the fields of its line, none when there is no such entry. It is not sure when getent did not
// answer in time, and is not asked again for a while. The lock is held.
func (n *Names) ask(k Kind, key string) (fields []string, sure bool) {
	if n.getent == "" {
		return nil, true
	}
	if time.Now().Before(n.silent) {
		return nil, false
	}
	database := "passwd"
	if k == Group {
		database = "group"
	}
	ctx, cancel := context.WithTimeout(context.Background(), getentLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.getent, database, "--", key)
	cmd.WaitDelay = time.Second
	var out lineWriter
	cmd.Stdout = &out
	err := cmd.Run()
	if ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay) {
		n.silent = time.Now().Add(getentPause)
		return nil, false
	}
	if err != nil {
		return nil, true // exit code 2: no such entry
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.Split(line, ":"), true
}

// lineWriter keeps the beginning of what is written to it, which is more than a line of getent can be.
type lineWriter []byte

func (w *lineWriter) Write(p []byte) (int, error) {
	*w = append(*w, p[:min(len(p), 64<<10-len(*w))]...)
	return len(p), nil
}
