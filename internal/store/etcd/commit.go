package etcd

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/strongroom/strongroom/internal/store"
)

// Commit implements store.Store. It is sent once: the client sends a transaction
// again only when it was never on its way (no connection), and nor do we.
func (s *Store) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if err := store.Validate(checks, writes); err != nil {
		return 0, err
	}
	if len(checks) == 0 && len(writes) == 0 {
		return s.Sync(ctx)
	}
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return 0, err
	}
	bounded, cancel := s.call(ctx)
	defer cancel()
	before := s.newest()
	then, otherwise := s.ops(writes)
	resp, err := s.client.Txn(bounded).If(s.compares(checks)...).Then(then...).Else(otherwise...).Commit()
	switch {
	case is(err, rpctypes.ErrGRPCNoSpace):
		return 0, s.full(ctx, before, writes)
	case err != nil:
		return 0, s.doubt(ctx, err)
	}
	rev, err := s.observe(before, resp.Header)
	switch {
	case err != nil && resp.Succeeded:
		return 0, store.Unknown(err)
	case err != nil:
		return 0, err
	case !resp.Succeeded:
		return 0, store.ErrConflict
	}
	return rev, nil
}

// doubt is the error of a transaction that was not answered, or was answered with an error. It may have been made, unless
// etcd says that it refuses it.
func (s *Store) doubt(ctx context.Context, err error) error {
	told := s.translate(ctx, err)
	switch code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated:
		return told
	}
	return store.Unknown(told)
}

func (s *Store) compares(checks []store.Check) []clientv3.Cmp {
	out := make([]clientv3.Cmp, 0, len(checks))
	for _, c := range checks {
		rev := int64(min(c.Rev, math.MaxInt64))
		out = append(out, clientv3.Compare(clientv3.ModRevision(s.data+c.Key), "=", rev))
	}
	return out
}

// ops is what to do when the checks hold, and when they do not. A transaction that
// does nothing would be judged by a member alone, however far it is behind: so one
// without writes reads something, which makes it linearizable.
func (s *Store) ops(writes []store.Write) (then, otherwise []clientv3.Op) {
	if len(writes) == 0 {
		read := []clientv3.Op{clientv3.OpGet(s.formatKey(), clientv3.WithCountOnly())}
		return read, read
	}
	out := make([]clientv3.Op, 0, len(writes))
	for _, w := range writes {
		if w.Delete {
			out = append(out, clientv3.OpDelete(s.data+w.Key))
			continue
		}
		out = append(out, clientv3.OpPut(s.data+w.Key, string(w.Value)))
	}
	return out, nil
}

// full finds out what etcd's "no space" means. It is said by a cluster that
// writes nothing more, and also in answer to the very transaction that crossed the
// quota, which has been written. Only the first is ErrFull.
func (s *Store) full(ctx context.Context, before store.Rev, writes []store.Write) error {
	for _, w := range writes {
		if w.Delete {
			continue
		}
		var got *clientv3.GetResponse
		err := s.retry(ctx, func(ctx context.Context) (err error) {
			got, err = s.client.Get(ctx, s.data+w.Key)
			return err
		})
		if err != nil {
			return store.Unknown(err)
		}
		if untouched(got, before, w.Value) {
			return store.ErrFull
		}
		if _, err := s.observe(before, got.Header); err != nil {
			return store.Unknown(err) // else the next refusal is judged from here on
		}
		return store.Unknown(fmt.Errorf("etcd: the quota was reached: %w", rpctypes.ErrNoSpace))
	}
	return store.ErrFull // etcd refuses what only removes before it does anything
}

// untouched reports whether a key shows for certain that a commit which set it has
// not happened since a revision: it has not been written, or nothing has been.
func untouched(got *clientv3.GetResponse, before store.Rev, value []byte) bool {
	if store.Rev(got.Header.Revision) <= before {
		return true
	}
	return len(got.Kvs) > 0 && store.Rev(got.Kvs[0].ModRevision) <= before && !bytes.Equal(got.Kvs[0].Value, value)
}
