package store

import (
	"context"
	"strings"
)

// Sub is the view of s's keys under prefix, with the prefix left out: a Store
// of its own for a part of the key space. Its Watch reports the commits that
// touch the prefix, and all others as marks of progress. Closing a view does
// nothing.
func Sub(s Store, prefix string) Store {
	if v, ok := s.(*view); ok {
		return &view{v.Store, v.prefix + prefix}
	}
	return &view{s, prefix}
}

type view struct {
	Store
	prefix string
}

func (v *view) Get(ctx context.Context, key string) (Entry, error) {
	e, err := v.Store.Get(ctx, v.prefix+key)
	e.Key = key
	return e, err
}

func (v *view) List(ctx context.Context, r Range) ([]Entry, error) {
	end := PrefixEnd(v.prefix)
	if r.End != "" {
		end = v.prefix + r.End
	}
	r.Start, r.End = v.prefix+r.Start, end
	es, err := v.Store.List(ctx, r)
	for i := range es {
		es[i].Key = es[i].Key[len(v.prefix):]
	}
	return es, err
}

func (v *view) Commit(ctx context.Context, checks []Check, writes []Write) (Rev, error) {
	// The prefix would hide from the engine what it refuses.
	if err := Validate(checks, writes); err != nil {
		return 0, err
	}
	cs := make([]Check, len(checks))
	for i, c := range checks {
		cs[i] = Check{Key: v.prefix + c.Key, Rev: c.Rev}
	}
	ws := make([]Write, len(writes))
	for i, w := range writes {
		w.Key = v.prefix + w.Key
		ws[i] = w
	}
	return v.Store.Commit(ctx, cs, ws)
}

func (v *view) Watch(ctx context.Context, after Rev) (Feed, error) {
	f, err := v.Store.Watch(ctx, after)
	if err != nil {
		return nil, err
	}
	return &viewFeed{f, v.prefix}, nil
}

func (v *view) Close() error { return nil }

type viewFeed struct {
	Feed
	prefix string
}

func (f *viewFeed) Next(ctx context.Context) (Change, error) {
	c, err := f.Feed.Next(ctx)
	if err != nil {
		return Change{}, err
	}
	var keys []string
	for _, k := range c.Keys {
		if strings.HasPrefix(k, f.prefix) {
			keys = append(keys, k[len(f.prefix):])
		}
	}
	return Change{Rev: c.Rev, Keys: keys}, nil
}
