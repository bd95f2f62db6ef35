package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/strongroom/strongroom/internal/store"
)

// format is the version of how the store lies in etcd.
const format = 1

// errForeign says that the prefix holds what Strongroom did not write.
var errForeign = errors.New("the key prefix holds keys of something else")

func (s *Store) formatKey() string { return s.opts.Prefix + "format" }

// claim makes the prefix ours, or finds that it is. The key that says so is the
// first that was written, so nothing of ours is older than it.
func (s *Store) claim(ctx context.Context) error {
	var got *clientv3.GetResponse
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		if got, err = s.client.Get(ctx, s.formatKey()); err != nil || len(got.Kvs) > 0 {
			return err
		}
		if err = s.mark(ctx); err != nil {
			return err
		}
		got, err = s.client.Get(ctx, s.formatKey())
		return err
	})
	if err != nil {
		return err
	}
	if len(got.Kvs) == 0 {
		return errors.New("the mark of the store's format is gone")
	}
	s.birth = store.Rev(got.Kvs[0].CreateRevision)
	return readFormat(got.Kvs[0].Value)
}

// mark writes the format, unless another node has, or the prefix is not empty.
// Writing it twice does no harm, so that it may be tried again.
func (s *Store) mark(ctx context.Context) error {
	found, err := s.client.Get(ctx, s.opts.Prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if len(found.Kvs) > 0 && string(found.Kvs[0].Key) != s.formatKey() && !s.marked(ctx) {
		return errForeign
	}
	_, err = s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(s.formatKey()), "=", 0)).
		Then(clientv3.OpPut(s.formatKey(), strconv.Itoa(format))).
		Commit()
	return err
}

// marked reports whether another node has marked the prefix meanwhile.
func (s *Store) marked(ctx context.Context) bool {
	got, err := s.client.Get(ctx, s.formatKey(), clientv3.WithCountOnly())
	return err == nil && got.Count > 0
}

func readFormat(value []byte) error {
	switch v, err := strconv.Atoi(string(value)); {
	case err != nil:
		return fmt.Errorf("%w: the mark of the store's format", store.ErrCorrupt)
	case v > format:
		return fmt.Errorf("the store has format %d, and this version of Strongroom knows up to %d", v, format)
	}
	return nil
}
