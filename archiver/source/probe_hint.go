package source

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/tapefs/tapefs/archiver/job"
)

// ProbeHint says what a person does about a source that Probe could not look at: the reason where ssh gives one, and the
// command by which to try it.
func ProbeHint(src job.Source, ssh string, err error) string {
	at, perr := ParseAddress(src.URL)
	switch {
	case perr != nil:
		return ""
	case at.Transport == overDaemon:
		return "is the server up, and its module called so? try: rsync " + quoteShell([]string{at.Listed()})
	case at.Transport == InPlace:
		return "does that directory exist?"
	}
	if ssh == "" {
		ssh = "ssh"
	}
	login := append([]string{ssh}, src.SSH...)
	install := []string{"ssh-copy-id"}
	if at.port != 0 {
		login = append(login, "-p", strconv.Itoa(at.port))
		install = append(install, "-p", strconv.Itoa(at.port))
	}
	host := at.Host
	if at.user != "" {
		host = at.user + "@" + host
	}
	try := quoteShell(append(login, host))
	text := err.Error()
	var failed *rsyncError
	if errors.As(err, &failed) {
		text = strings.Join(failed.Stderr, "\n")
	}
	switch {
	case strings.Contains(text, "IDENTIFICATION HAS CHANGED"):
		return "the host shows another key than before: find out why; then ssh-keygen -R " + at.Host + ", and connect once as this user: " + try
	case strings.Contains(text, "Host key verification failed"):
		return "this user does not know the host's key: connect once, and compare it: " + try
	case strings.Contains(text, "Permission denied ("):
		return "the host wants a password or another key, and nobody is there to type one: " + quoteShell(append(install, host)) + ", then try: " + try + " true"
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "no answer"):
		return "the host is slow or does not answer; try: " + try + " true"
	}
	return "it has to work without a password, as this user; try: " + try + " true"
}
