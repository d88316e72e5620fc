package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/web"
	"github.com/tapefs/tapefs/fs/recall"
)

// pageContents gets bytes from the process that owns the cache: the mount, be it this process or another.
type pageContents struct{ conf *settings }

// Content opens a range of a version.
func (p pageContents) Content(ctx context.Context, id catalog.ID, from, size int64) (io.ReadCloser, error) {
	owner, err := recall.AskOwner(p.conf.SocketPath())
	if errors.Is(err, recall.ErrNoOwner) {
		return nil, web.ErrNoMount
	}
	if err != nil {
		return nil, err
	}
	body, err := owner.Content(ctx, id, from, size)
	switch {
	case errors.Is(err, recall.ErrOffline):
		err = fmt.Errorf("%w: %w", web.ErrAway, err)
	case errors.Is(err, recall.ErrNoBytes), errors.Is(err, recall.ErrDamaged):
		err = fmt.Errorf("%w: %w", web.ErrUnreadable, err)
	}
	if err != nil {
		owner.Close()
		return nil, err
	}
	return ownedContent{body, owner}, nil
}

// ownedContent gives its connection up when it is closed.
type ownedContent struct {
	io.ReadCloser
	owner *recall.Owner
}

func (c ownedContent) Close() error {
	err := c.ReadCloser.Close()
	c.owner.Close()
	return err
}
