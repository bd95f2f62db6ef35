package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/strongroom/strongroom/internal/store"
)

// Pages of a List.
const (
	firstPage = 128     // entries, while their size is not known
	keysPage  = 5000    // entries without values
	pageBytes = 4 << 20 // about so much is asked for at once
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	return s.getAt(ctx, key, 0)
}

// getAt reads a key at a revision of etcd's; 0: now.
func (s *Store) getAt(ctx context.Context, key string, rev int64) (store.Entry, error) {
	out := store.Entry{Key: key}
	err := s.retry(ctx, func(ctx context.Context) error {
		got, err := s.client.Get(ctx, s.data+key, clientv3.WithRev(rev))
		if err == nil && len(got.Kvs) > 0 {
			out = s.entry(got.Kvs[0])
		}
		return err
	})
	return out, err
}

func (s *Store) entry(kv *mvccpb.KeyValue) store.Entry {
	return store.Entry{Key: string(kv.Key[len(s.data):]), Value: kv.Value, Rev: store.Rev(kv.ModRevision)}
}

// List implements store.Store. The first page fixes the moment for the rest. Should
// it be compacted away meanwhile, the List begins again once.
func (s *Store) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	out, err := s.listAt(ctx, r, 0)
	if errors.Is(err, store.ErrCompacted) {
		return s.listAt(ctx, r, 0)
	}
	return out, err
}

// listAt reads a range at a revision of etcd's; 0: now.
func (s *Store) listAt(ctx context.Context, r store.Range, rev int64) ([]store.Entry, error) {
	if r.End != "" && r.Start >= r.End {
		return nil, store.FeedErr(ctx, s.open.Done())
	}
	var out []store.Entry
	for size := pageSize(r, 0, 0); ; {
		page, err := s.page(ctx, r, rev, size)
		if err != nil {
			return nil, err
		}
		bytes := 0
		for _, kv := range page.Kvs {
			bytes += len(kv.Key) + len(kv.Value)
			e := s.entry(kv)
			if r.KeysOnly {
				e.Value = nil
			}
			out = append(out, e)
		}
		if !page.More || r.Limit > 0 && len(out) >= r.Limit {
			return out, nil
		}
		if rev == 0 {
			rev = page.Header.Revision // of a read at a revision, it is the newest there is
		}
		if len(page.Kvs) > 0 {
			r.Start = out[len(out)-1].Key + "\x00"
		}
		size = pageSize(r, len(page.Kvs), bytes)
		if r.Limit > 0 {
			size = min(size, r.Limit-len(out))
		}
	}
}

func (s *Store) page(ctx context.Context, r store.Range, rev int64, size int) (*clientv3.GetResponse, error) {
	end := store.PrefixEnd(s.data)
	if r.End != "" {
		end = s.data + r.End
	}
	ops := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(int64(size))}
	if r.KeysOnly {
		ops = append(ops, clientv3.WithKeysOnly())
	}
	var got *clientv3.GetResponse
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		got, err = s.client.Get(ctx, s.data+r.Start, ops...)
		return err
	})
	return got, err
}

// pageSize is how many entries to ask for after a page of n with so many bytes.
func pageSize(r store.Range, n, bytes int) int {
	size := firstPage
	switch {
	case r.KeysOnly:
		size = keysPage
	case n > 0:
		size = max(1, min(keysPage, pageBytes*n/max(1, bytes)))
	}
	if r.Limit > 0 {
		size = min(size, r.Limit)
	}
	return size
}
