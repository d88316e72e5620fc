package web

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

// Listen opens an address: host:port, or unix:/path for a socket that the owner and the group of its file may use. Local reports whether
// only this machine can reach it.
func Listen(address string) (l net.Listener, local bool, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		l, err = listenUnix(path)
		return l, true, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false, fmt.Errorf("listen on %q: it is neither host:port, such as 127.0.0.1:9180, nor unix:/path: %w", address, err)
	}
	l, err = net.Listen("tcp", address)
	if err != nil {
		return nil, false, fmt.Errorf("listen for browsers: %w", err)
	}
	bound, ok := l.Addr().(*net.TCPAddr)
	return l, host != "" && ok && bound.IP.IsLoopback(), nil
}

// socketPatience bounds how long a socket that lies there is given to answer.
const socketPatience = time.Second

// listenUnix makes a socket. One that lies there and that nobody answers on is of a process that died, and goes.
func listenUnix(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("listen on %s: it is there, and no socket", path)
	case err == nil:
		if c, err := net.DialTimeout("unix", path, socketPatience); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen on %s: another process listens there", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of an earlier process: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for browsers: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
