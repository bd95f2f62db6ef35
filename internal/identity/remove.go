package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// kindClear is the work of removing what an entity or group that was deleted has left.
const kindClear = "identity-clear"

// clearDelay is when what a deletion leaves is removed should who asked for it not come
// to do so.
const clearDelay = time.Minute

// Jobs are the handlers of what the store has scheduled.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindClear: s.clearLater, kindReap: s.reap, kindMount: s.mountGone}
}

// remains is what a deletion leaves behind its commit: rows that count for nothing.
type remains struct {
	Kind   string   `json:"kind"`             // entity or group
	Merged []string `json:"merged,omitempty"` // entities that had become it
}

// The kinds of member, as keys spell them.
const (
	ofEntity = "entity"
	ofGroup  = "group"
)

// removeEntity deletes an entity with its aliases. Its tokens are refused from that
// moment on; one that is not there is as good as deleted.
func (s *Store) removeEntity(c *api.Call, q *IDRequest) (*api.None, error) {
	return nil, s.dropEntity(c, c.Namespace.ID, string(q.ID), c.Now)
}

// removeEntityByName deletes the entity of a name.
func (s *Store) removeEntityByName(c *api.Call, q *NameRequest) (*api.None, error) {
	id, err := s.idOf(c, entityName(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	return nil, s.dropEntity(c, c.Namespace.ID, id, c.Now)
}

// BatchDeleteRequest names entities.
type BatchDeleteRequest struct {
	EntityIDs []string `json:"entity_ids"` // Identifiers of the entities to delete.
}

// maxBatch bounds how many entities one request deletes.
const maxBatch = 1000

// removeEntities deletes entities, one after the other.
func (s *Store) removeEntities(c *api.Call, q *BatchDeleteRequest) (*api.None, error) {
	switch {
	case len(q.EntityIDs) == 0:
		return nil, api.Errorf(api.Invalid, "entity_ids: missing entity ids to delete")
	case len(q.EntityIDs) > maxBatch:
		return nil, api.Errorf(api.Invalid, "entity_ids: more than %d", maxBatch)
	}
	for _, id := range q.EntityIDs {
		if err := s.dropEntity(c, c.Namespace.ID, id, c.Now); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (s *Store) dropEntity(ctx context.Context, nsID, id string, now time.Time) error {
	var left *remains
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) (err error) {
		left = nil
		e, err := entityIn(tx, nsID, id)
		if err != nil || e == nil {
			return err
		}
		left, err = s.drop(tx, nsID, e, now)
		return err
	})
	if err != nil || left == nil {
		return err
	}
	return s.clear(context.WithoutCancel(ctx), key{nsID, id}, left, now)
}

// drop removes an entity in a transaction.
func (s *Store) drop(tx *store.Tx, nsID string, e *Entity, now time.Time) (*remains, error) {
	k := key{nsID, e.ID}
	tx.Delete(k.entity())
	tx.Delete(k.used())
	tx.Delete(entityName(nsID, e.Name))
	for _, a := range e.Aliases {
		tx.Delete(aliasID(nsID, a.ID))
		tx.Delete(aliasKey(nsID, a.Accessor, a.Name))
	}
	left := &remains{Kind: ofEntity, Merged: e.Merged}
	return left, later(tx, k, left, now)
}

// later has the remains of something removed by whichever node is there then.
func later(tx *store.Tx, k key, left *remains, now time.Time) error {
	it, err := clearing(k, left, now)
	if err != nil {
		return err
	}
	return schedule.Add(tx, it)
}

func clearing(k key, left *remains, now time.Time) (schedule.Item, error) {
	data, err := json.Marshal(left)
	return schedule.Item{Namespace: k.namespace, At: now.Add(clearDelay), Kind: kindClear, ID: k.id, Data: data}, err
}

func (s *Store) clearLater(ctx context.Context, job *schedule.Job) error {
	var left remains
	if err := json.Unmarshal(job.Data, &left); err != nil {
		return fmt.Errorf("identity: what a deletion has left cannot be read: %w", store.ErrCorrupt)
	}
	return s.clearRows(ctx, key{job.Namespace, job.ID}, &left)
}

// clear removes the remains of something, and takes the job back that would.
func (s *Store) clear(ctx context.Context, k key, left *remains, now time.Time) error {
	err := s.clearRows(ctx, k, left)
	if errors.Is(err, store.ErrSealed) {
		return nil // the schedule does it, when the namespace is open again
	}
	if err != nil {
		return err
	}
	it, err := clearing(k, left, now)
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		schedule.Remove(tx, it)
		return nil
	})
	return err
}

// clearRows removes the memberships of something that is gone, from both sides.
func (s *Store) clearRows(ctx context.Context, k key, left *remains) error {
	err := s.eachPage(ctx, k.in(), func(rest string) (link, bool) {
		ns, id, ok := strings.Cut(rest, "/")
		return link{group: key{ns, id}, member: k, kind: left.Kind}, ok
	})
	if err == nil && left.Kind == ofEntity && s.Cleared != nil {
		err = s.Cleared(ctx, k.namespace, k.id)
	}
	if err != nil || left.Kind != ofGroup {
		return s.forget(ctx, k, left, err)
	}
	return s.eachPage(ctx, k.members(), func(rest string) (link, bool) {
		kind, rest, _ := strings.Cut(rest, "/")
		ns, id, ok := strings.Cut(rest, "/")
		return link{group: k, member: key{ns, id}, kind: kind}, ok
	})
}

// forget removes the rows that say what merged entities have become.
func (s *Store) forget(ctx context.Context, k key, left *remains, err error) error {
	if err != nil {
		return err
	}
	for _, id := range left.Merged {
		_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
			e, err := get[Entity](tx.Get, key{k.namespace, id}.entity())
			if err != nil || e == nil || e.Into == "" {
				return err
			}
			tx.Delete(key{k.namespace, id}.entity())
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// link is one membership.
type link struct {
	group, member key
	kind          string // of the member
}

// rows are the two keys that a membership has.
func (l link) rows() (inGroup, ofMember string) {
	return l.group.members() + l.kind + "/" + l.member.namespace + "/" + l.member.id, l.member.in() + l.group.namespace + "/" + l.group.id
}

func (l link) put(tx *store.Tx, stamp string) {
	a, b := l.rows()
	tx.Put(a, []byte(stamp))
	tx.Put(b, []byte(stamp))
}

func (l link) remove(tx *store.Tx) {
	a, b := l.rows()
	tx.Delete(a)
	tx.Delete(b)
}

// eachPage removes all memberships whose rows begin with a prefix.
func (s *Store) eachPage(ctx context.Context, prefix string, parse func(rest string) (link, bool)) error {
	r := store.Prefix(prefix)
	r.KeysOnly, r.Limit = true, perCommit
	for {
		rows, err := s.Store.List(ctx, r)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, e := range rows {
			l, ok := parse(e.Key[len(prefix):])
			if !ok {
				return fmt.Errorf("identity: malformed row: %w", store.ErrCorrupt)
			}
			if err := s.unlink(ctx, e.Key, l); err != nil {
				return err
			}
		}
	}
}

// unlink removes one membership, found by a key of its own. The other side's row has
// gone before where its namespace has.
func (s *Store) unlink(ctx context.Context, key string, l link) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		if err := s.inherited(tx, l); err != nil {
			return err
		}
		l.remove(tx)
		return nil
	})
	if !s.gone(err) {
		return err
	}
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		tx.Delete(key)
		return nil
	})
	return err
}
