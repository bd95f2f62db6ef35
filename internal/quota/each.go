package quota

import (
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// A bound of each identity's counts in one row for each that has any: a number, which the commit
// changes that makes or removes something of theirs. There are as many rows as identities with something,
// and a bound that is changed changes none of them. What is nobody's has room, as under any bound.

// each reports whether the bound is each identity's.
func (q *Count) each() bool { return q.GroupBy == byEntityThenNone }

func (q *Count) group() string {
	if q.GroupBy == "" {
		return byNone
	}
	return q.GroupBy
}

// own is the row that counts an identity's; false when there is none for it alone.
func (q *Count) own(entity string) (key string, own bool) {
	return eachPrefix + q.ID + "/" + entity, q.each() && entity != ""
}

// left is how many more an identity may have; negative when it has too many.
func (s *Store) left(ctx context.Context, q *Count, entity string) (int64, error) {
	key, own := q.own(entity)
	if !own {
		left, _, err := room(ctx, s.Store, q.ID)
		return left, err
	}
	e, err := s.Store.Get(ctx, key)
	if err != nil || !e.Exists() {
		return q.Max, err
	}
	n, err := number(e)
	return q.Max - n, err
}

// add counts one more in a row, beyond the most that may be only where anyhow says so. It reports false when
// it does not.
func add(tx *store.Tx, key string, most int64, anyhow bool) (bool, error) {
	n, _, err := get(tx, key)
	if err != nil || n >= most && !anyhow {
		return false, err
	}
	set(tx, key, n+1)
	return true, nil
}

// release counts so many with a mark as gone.
func release(tx *store.Tx, mark string, many int64) error {
	id, entity, own := strings.Cut(mark, "/")
	if !own {
		return leave(tx, id, many)
	}
	key := eachPrefix + id + "/" + entity
	n, there, err := get(tx, key)
	switch {
	case err != nil || !there:
	case n > many:
		set(tx, key, n-many)
	default:
		tx.Delete(key)
	}
	return err
}

// sweep removes what counted for bounds that are no more, or are not each identity's any more: now that everything
// has been counted anew by a plan, nothing bears their marks. Should the plan have changed since, it fails.
func (s *Store) sweep(ctx context.Context, p *Plan) error {
	live := p.grouped()
	r := store.Prefix(eachPrefix)
	r.Limit, r.KeysOnly = 64, true
	for {
		es, err := s.Store.List(ctx, r)
		if err != nil {
			return err
		}
		var gone []store.Write
		for _, e := range es {
			if id, _, _ := strings.Cut(strings.TrimPrefix(e.Key, eachPrefix), "/"); !live[id] {
				gone = append(gone, store.Write{Key: e.Key, Delete: true})
			}
		}
		if len(gone) > 0 {
			if _, err := s.Store.Commit(ctx, []store.Check{{Key: guardKey, Rev: p.rev}}, gone); err != nil {
				return err
			}
		}
		if len(es) < r.Limit {
			return nil
		}
		r = r.After(es[len(es)-1].Key)
	}
}

// grouped are the bounds of each identity's.
func (p *Plan) grouped() map[string]bool {
	out := map[string]bool{}
	p.counts.all(func(q *Count) {
		if q.each() {
			out[q.ID] = true
		}
	})
	return out
}

// all visits every quota of a kind.
func (x *index[Q]) all(visit func(*Q)) {
	for _, q := range x.namespaces {
		visit(q)
	}
	for _, m := range x.mounts {
		m.all(visit)
	}
}

func (m *within[Q]) all(visit func(*Q)) {
	if m.whole != nil {
		visit(m.whole)
	}
	for _, some := range []map[string]*Q{m.exact, m.roles} {
		for _, q := range some {
			visit(q)
		}
	}
	for _, g := range m.globs {
		visit(g.quota)
	}
}
