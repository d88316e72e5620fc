package source

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/archiver/job"
)

func TestProbeHint(t *testing.T) {
	failed := func(stderr ...string) error {
		return fmt.Errorf("look at source s: %w", &rsyncError{Args: []string{"rsync"}, Exit: 255, Stderr: append(stderr, "rsync error: unexplained error (code 255)")})
	}
	src := job.Source{Name: "s", URL: "ssh://backup@server:2222/srv", SSH: []string{"-i", "a key"}}
	for name, c := range map[string]struct {
		src  job.Source
		err  error
		want []string
	}{
		"password":    {src, failed("backup@server: Permission denied (publickey,password)."), []string{"ssh-copy-id -p 2222 backup@server", "ssh -i 'a key' -p 2222 backup@server true"}},
		"unknown key": {src, failed("Host key verification failed."), []string{"does not know the host's key", "ssh -i 'a key' -p 2222 backup@server"}},
		"new key":     {src, failed("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "Host key verification failed."), []string{"ssh-keygen -R server"}},
		"slow":        {src, fmt.Errorf("look: %w", context.DeadlineExceeded), []string{"slow or does not answer"}},
		"refused":     {src, failed("ssh: connect to host server port 2222: Connection refused"), []string{"has to work without a password", "backup@server true"}},
		"daemon":      {job.Source{URL: "rsync://server/photos"}, failed("@ERROR: Unknown module 'photos'"), []string{"rsync rsync://server/photos/"}},
		"here":        {job.Source{URL: "/srv"}, failed(), []string{"does that directory exist?"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := ProbeHint(c.src, "", c.err)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q does not say %q", got, want)
				}
			}
		})
	}
}
