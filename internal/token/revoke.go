package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// grace is how long the schedule leaves a revocation to the request that began
// it. When the request lives longer both work on it, which does no harm.
const grace = 30 * time.Second

// page is how many children a revocation handles in one commit: three removals
// and one check each, and what it takes to count them, within store.MaxWrites.
const page = 24

// work is what a revocation has left to do once its token is dead. It is the
// data of the due-time that stands until everything is done.
type work struct {
	Parent          string `json:"parent,omitempty"`
	ParentNamespace string `json:"parent_ns,omitempty"`
	Orphan          bool   `json:"orphan,omitempty"` // leave the children as orphans
}

// Revoke kills a service token, named by its storage identity, and everything
// below it, and returns when all of it is dead. For a token that is dead already
// it does nothing. After an error the token is dead or was not touched; what
// remains of a dead one is finished by the schedule.
func (s *Store) Revoke(ctx context.Context, nsID, id string) error {
	return s.revoke(ctx, rowKey{nsID, id}, false)
}

func (s *Store) revoke(ctx context.Context, k rowKey, orphan bool) error {
	var job schedule.Item
	var w work
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		t, err := read(tx, k)
		if err != nil {
			return err
		}
		if t == nil {
			return errDead
		}
		job, w, err = s.condemn(tx, t, orphan)
		return err
	})
	if errors.Is(err, errDead) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.settle(ctx, k, w); err != nil {
		return err
	}
	return s.finish(ctx, k, w, func(tx *store.Tx) { schedule.Remove(tx, job) })
}

// errDead says that there is no such token any more.
var errDead = errors.New("token: dead already")

// condemn makes a token dead and records what is left to do about it. The link
// from its parent stays until that is done, so that who revokes the parent
// meanwhile does not answer before; an orphaning cuts it at once, so that
// the parent's fate is no longer the children's.
func (s *Store) condemn(tx *store.Tx, t *Token, orphan bool) (schedule.Item, work, error) {
	if err := s.end(tx, t); err != nil {
		return schedule.Item{}, work{}, err
	}
	w := work{Parent: t.ParentID, ParentNamespace: t.ParentNamespace, Orphan: orphan}
	if orphan && !t.Orphan() {
		tx.Delete(t.key().link(t.parent()))
	}
	data, err := json.Marshal(w)
	if err != nil {
		return schedule.Item{}, work{}, fmt.Errorf("token: encode revocation: %w", err)
	}
	job := schedule.Item{Namespace: t.NamespaceID, At: s.Now().Add(grace), Kind: kindRevoke, ID: t.ID, Data: data}
	return job, w, schedule.Add(tx, job)
}

// end removes a token's rows, all but the link from its parent, and counts it as gone.
func (s *Store) end(tx *store.Tx, t *Token) error {
	if err := s.credit(tx, t.Quota); err != nil {
		return err
	}
	return s.kill(tx, t)
}

// kill removes a token's rows, all but the link from its parent.
func (s *Store) kill(tx *store.Tx, t *Token) error {
	hash, err := s.Keys.TokenHash(tx.Context(), t.NamespaceID, t.Accessor)
	if err != nil {
		return fmt.Errorf("token: hash: %w", err)
	}
	tx.Delete(t.key().String())
	tx.Delete(accessorKey(t.NamespaceID, hash))
	if err := s.forget(tx, t); err != nil {
		return err
	}
	return setDue(tx, t, time.Time{})
}

// settle does what is left to do about a dead token. It may be run by several
// at once and again after a crash.
func (s *Store) settle(ctx context.Context, k rowKey, w work) error {
	do := s.bury
	if w.Orphan {
		do = s.release
	}
	if err := do(ctx, k); err != nil {
		return err
	}
	return s.revoked(ctx, k)
}

// finish ends a revocation: the link from the parent goes, and end is called to
// remove the due-time.
func (s *Store) finish(ctx context.Context, k rowKey, w work, end func(*store.Tx)) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		if w.Parent != "" && !w.Orphan {
			tx.Delete(k.link(rowKey{w.ParentNamespace, w.Parent}))
		}
		end(tx)
		return nil
	})
	return err
}

func (s *Store) revoked(ctx context.Context, k rowKey) error {
	for _, hook := range s.OnRevoke {
		if err := hook(ctx, k.namespace, k.id); err != nil {
			return fmt.Errorf("token: after revocation: %w", err)
		}
	}
	return nil
}

// bury kills everything below a dead token. It keeps no tree in memory: a dead
// child's children become the dead token's own, until there are none. Since the
// links in the store are the list of what is left, it can be cut short anywhere.
func (s *Store) bury(ctx context.Context, k rowKey) error {
	for {
		links, err := s.links(ctx, k)
		if err != nil || len(links) == 0 {
			return err
		}
		dead, err := s.killAll(ctx, links)
		if err != nil {
			return err
		}
		for i, child := range links {
			if err := s.empty(ctx, child, k, dead[i]); err != nil {
				return err
			}
			if err := s.revoked(ctx, child); err != nil {
				return err
			}
		}
		if err := s.unlink(ctx, k, links); err != nil {
			return err
		}
	}
}

// links is a page of the children of a token, dead ones too.
func (s *Store) links(ctx context.Context, k rowKey) ([]rowKey, error) {
	r := store.Prefix(k.children())
	r.Limit, r.KeysOnly = page, true
	es, err := s.Store.List(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("token: list children: %w", err)
	}
	out := make([]rowKey, len(es))
	for i, e := range es {
		if out[i], err = linked(e.Key, k.children()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// killAll kills a page of tokens, in one commit where that holds them all. It reports
// which of them were dead before.
func (s *Store) killAll(ctx context.Context, ks []rowKey) (before []bool, err error) {
	before, err = s.killTogether(ctx, ks)
	if !errors.Is(err, store.ErrTooLarge) || len(ks) < 2 {
		return before, err
	}
	before, err = s.killAll(ctx, ks[:len(ks)/2])
	if err != nil {
		return nil, err
	}
	more, err := s.killAll(ctx, ks[len(ks)/2:])
	return append(before, more...), err
}

// killTogether is killAll in one commit.
func (s *Store) killTogether(ctx context.Context, ks []rowKey) (before []bool, err error) {
	before = make([]bool, len(ks))
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		marks := make([]string, 0, len(ks))
		for i, k := range ks {
			t, err := read(tx, k)
			if errors.Is(err, store.ErrCorrupt) { // nobody can use it any more; the others must die all the same
				before[i] = false
				tx.Delete(k.String())
				continue
			}
			if err != nil {
				return err
			}
			if before[i] = t == nil; t == nil {
				continue
			}
			if err := s.kill(tx, t); err != nil {
				return err
			}
			marks = append(marks, t.Quota)
		}
		return s.credit(tx, marks...)
	})
	return before, err
}

// empty deals with the children of a dead child: they become the ancestor's
// own. Those of a child that had been dead before are killed in place, since
// another revocation may be at work on them and must not find them gone before
// they are dead.
func (s *Store) empty(ctx context.Context, child, ancestor rowKey, deadBefore bool) error {
	if deadBefore {
		return s.bury(ctx, child)
	}
	for {
		links, err := s.links(ctx, child)
		if err != nil || len(links) == 0 {
			return err
		}
		_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
			for _, k := range links {
				tx.Delete(k.link(child))
				tx.Put(k.link(ancestor), []byte{})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// release makes orphans of the children of a dead token.
func (s *Store) release(ctx context.Context, k rowKey) error {
	for {
		links, err := s.links(ctx, k)
		if err != nil || len(links) == 0 {
			return err
		}
		_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
			for _, child := range links {
				if err := orphan(tx, child, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// orphan cuts a child loose from its parent. A child that is being revoked
// itself has no row; its own revocation goes on.
func orphan(tx *store.Tx, child, parent rowKey) error {
	tx.Delete(child.link(parent))
	t, err := read(tx, child)
	if err != nil || t == nil {
		return err
	}
	t.ParentID, t.ParentNamespace = "", ""
	return write(tx, t)
}

func (s *Store) unlink(ctx context.Context, parent rowKey, children []rowKey) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		for _, k := range children {
			tx.Delete(k.link(parent))
		}
		return nil
	})
	return err
}

// Jobs are the handlers of the due-times that tokens have.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindExpire: s.expire, kindRevoke: s.resume, kindTidy: s.tidy, kindMount: s.endMount, kindEntities: s.endEntities}
}

// expire revokes a token whose time has come, or whose last use is over.
func (s *Store) expire(ctx context.Context, job *schedule.Job) error {
	k := rowKey{job.Namespace, job.ID}
	e, err := s.Store.Get(ctx, k.String())
	if err != nil || !e.Exists() {
		return err
	}
	t, err := decodeToken(k, e.Value)
	if err != nil {
		return err
	}
	if t.Alive(s.Now()) {
		return nil
	}
	return s.revoke(ctx, k, false)
}

// resume finishes a revocation that was cut short.
func (s *Store) resume(ctx context.Context, job *schedule.Job) error {
	var w work
	if err := json.Unmarshal(job.Data, &w); err != nil {
		return fmt.Errorf("token: revocation cannot be read: %w", store.ErrCorrupt)
	}
	k := rowKey{job.Namespace, job.ID}
	if err := s.settle(ctx, k, w); err != nil {
		return err
	}
	return s.finish(ctx, k, w, job.Done)
}
