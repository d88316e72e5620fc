package recall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// Owner asks the process that owns the cache. Safe for concurrent use; closed by Close.
type Owner struct {
	client http.Client
}

var (
	// ErrNoOwner says that no process answers for the cache.
	ErrNoOwner = errors.New("no process owns the cache")
	// ErrOtherVersion says that the owner speaks another protocol.
	ErrOtherVersion = errors.New("the process that owns the cache is of another version of tapefs")
)

// askTimeout bounds a question that is answered at once.
const askTimeout = 5 * time.Second

// AskOwner connects to the socket. ErrNoOwner: nobody listens there.
func AskOwner(path string) (*Owner, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		dir, short, err := dirPath(path)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		var d net.Dialer
		return d.DialContext(ctx, "unix", short)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	c, err := dial(ctx, "", "")
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return nil, ErrNoOwner
	case err != nil:
		return nil, fmt.Errorf("ask the owner of the cache: %w", err)
	}
	c.Close()
	return &Owner{http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// Close ends the connections.
func (o *Owner) Close() { o.client.CloseIdleConnections() }

// do sends one request. The caller closes the answer's body.
func (o *Owner) do(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://tapefs"+path, &text)
	if err != nil {
		return nil, err
	}
	answer, err := o.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the owner of the cache: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return nil, ErrOtherVersion
	}
	why, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	return nil, &statusError{answer.StatusCode, strings.TrimSpace(string(why))}
}

// ask sends a request that is answered at once.
func (o *Owner) ask(ctx context.Context, method, path string, body, into any) error {
	answer, err := o.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(into); err != nil {
		return fmt.Errorf("read the answer of the owner of the cache: %w", err)
	}
	return nil
}

// Live asks what the queue is about.
func (o *Owner) Live(ctx context.Context) (l Live, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = o.ask(ctx, http.MethodGet, "/v1/live", nil, &l)
	return l, err
}

// File asks what is cached of a version.
func (o *Owner) File(ctx context.Context, id catalog.ID) (u cache.FileUse, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = o.ask(ctx, http.MethodGet, fmt.Sprintf("/v1/file?id=%d", id), nil, &u)
	return u, err
}

// Unpin is Queue.Unpin in the owner.
func (o *Owner) Unpin(ctx context.Context, ids []catalog.ID) (int, error) {
	var n unpinned
	err := o.ask(ctx, http.MethodPost, "/v1/unpin", PrefetchRequest{IDs: ids}, &n)
	return n.Versions, err
}

// prefetchLine is any line of the answer.
type prefetchLine struct {
	PrefetchEvent
	prefetchEnd
}

// Prefetch is Queue.Prefetch in the owner. It ends with ctx.
func (o *Owner) Prefetch(ctx context.Context, r PrefetchRequest, report func(PrefetchEvent)) (PrefetchResult, error) {
	answer, err := o.do(ctx, http.MethodPost, "/v1/prefetch", r)
	if err != nil {
		return PrefetchResult{}, err
	}
	defer answer.Close()
	lines := json.NewDecoder(answer)
	for {
		var line prefetchLine
		switch err := lines.Decode(&line); {
		case ctx.Err() != nil:
			return PrefetchResult{}, ctx.Err()
		case err != nil:
			return PrefetchResult{}, fmt.Errorf("the owner of the cache went away: %w", err)
		case line.Result == nil:
			report(line.PrefetchEvent)
		case line.Error == "":
			return *line.Result, nil
		case line.Pinned:
			return *line.Result, fmt.Errorf("%w%s", cache.ErrPinned, strings.TrimPrefix(line.Error, cache.ErrPinned.Error()))
		default:
			return *line.Result, errors.New(line.Error)
		}
	}
}
