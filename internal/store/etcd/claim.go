package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/strongroom/strongroom/internal/store"
)

// format is the version of how the store lies in etcd.
const format = 1

// What a store's keys go on with behind its prefix.
const (
	formatName = "format"
	dataName   = "d/"
)

// errForeign says that keys below the prefix are not of the store that wants it.
var errForeign = errors.New("the key prefix holds keys of something else, or lies among those of another store: set another prefix")

func (s *Store) formatKey() string { return s.opts.Prefix + formatName }

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

// mark writes the format, unless another node has. It is one transaction with what it
// rests on: the prefix is empty, and no other store keeps its data around it. Writing it
// twice does no harm, so that it may be tried again.
func (s *Store) mark(ctx context.Context) error {
	free := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.opts.Prefix), "=", 0).WithPrefix()}
	for _, around := range enclosing(s.opts.Prefix) {
		free = append(free, clientv3.Compare(clientv3.CreateRevision(around+formatName), "=", 0))
	}
	done, err := s.client.Txn(ctx).If(free...).
		Then(clientv3.OpPut(s.formatKey(), strconv.Itoa(format))).
		Else(clientv3.OpGet(s.formatKey(), clientv3.WithCountOnly())).
		Commit()
	if err != nil || done.Succeeded || done.Responses[0].GetResponseRange().Count > 0 {
		return err
	}
	return errForeign
}

// enclosing are the prefixes of stores among whose data a prefix would lie.
func enclosing(prefix string) (out []string) {
	for i := 1; i < len(prefix); i++ {
		if prefix[i-1] == '/' && strings.HasPrefix(prefix[i:], dataName) {
			out = append(out, prefix[:i])
		}
	}
	return out
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
