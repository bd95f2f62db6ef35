package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/internal/store"
)

// Waits between attempts to read.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// code is the gRPC code of an error of etcd's client, whatever its form.
func code(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// is reports whether err is one of etcd's, whether it came over a connection or
// from a member in this process.
func is(err, target error) bool {
	return err != nil && (errors.Is(err, target) || errors.Is(rpctypes.Error(err), rpctypes.Error(target)))
}

// passing reports whether an error of a read may be gone at the next attempt:
// there is no leader just now, or no connection.
func passing(err error) bool {
	switch code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled, codes.Aborted:
		return true
	default:
		return errors.Is(err, context.DeadlineExceeded)
	}
}

// translate makes of etcd's error the contract's. ctx is the caller's own.
func (s *Store) translate(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case s.open.Err() != nil:
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case is(err, rpctypes.ErrGRPCCompacted):
		return store.ErrCompacted
	case is(err, rpctypes.ErrGRPCRequestTooLarge), is(err, rpctypes.ErrGRPCTooManyOps):
		return fmt.Errorf("%w: etcd is set to take less than Strongroom needs", store.ErrTooLarge)
	case passing(err):
		return fmt.Errorf("%w: etcd: %w", store.ErrUnreachable, err)
	}
	return fmt.Errorf("etcd: %w", err)
}

// retry makes attempts at a read until one is answered, the caller's context ends
// or the store's timeout has passed.
func (s *Store) retry(ctx context.Context, attempt func(context.Context) error) error {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return err
	}
	bounded, cancel := s.call(ctx)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := attempt(bounded)
		if err == nil || !passing(err) || wait(bounded, pause) != nil {
			return s.translate(ctx, err)
		}
	}
}

// wait waits, and returns the context's error when it ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
