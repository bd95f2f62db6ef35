package mfa

import (
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// line is what one entity has waiting of a kind: a row each, under a hash, until it is used or
// its time has come. There is room for a few; the oldest gives way.
type line struct {
	ns, entity string
	name       string // of the row that has them all, beneath the entity's
	kind       string // of the scheduled work that forgets one
	most       int
	row        func(ns, hash string) string
}

// logins are those of an entity that wait for second factors.
func logins(ns, entity string) line {
	return line{ns, entity, "waiting", kindWaiting, maxWaiting, waitingKey}
}

// rights are those to register second factors of an entity.
func rights(ns, entity string) line {
	return line{ns, entity, "rights", kindRight, maxRights, rightKey}
}

// queue is the row that has all that waits in a line, the oldest first.
type queue struct {
	Logins []queued `json:"logins"`
}

// queued is one of them.
type queued struct {
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

func (l line) key() string { return entityArea(l.ns, l.entity) + l.name }

func (l line) item(e queued) schedule.Item {
	return schedule.Item{Namespace: l.ns, At: e.Expires, Kind: l.kind, ID: e.Hash}
}

// read is the line without those whose time has come: their rows go by the schedule.
func (l line) read(tx *store.Tx, now time.Time) (*queue, error) {
	q := &queue{}
	if _, err := tx.LoadJSON(l.key(), q); err != nil {
		return nil, err
	}
	q.Logins = slices.DeleteFunc(q.Logins, func(e queued) bool { return !e.Expires.After(now) })
	return q, nil
}

// add queues what has its row written by the caller.
func (l line) add(tx *store.Tx, e queued, now time.Time) error {
	q, err := l.read(tx, now)
	if err != nil {
		return err
	}
	for ; len(q.Logins) >= l.most; q.Logins = q.Logins[1:] {
		tx.Delete(l.row(l.ns, q.Logins[0].Hash))
		schedule.Remove(tx, l.item(q.Logins[0]))
	}
	q.Logins = append(q.Logins, e)
	if err := tx.PutJSON(l.key(), q); err != nil {
		return err
	}
	return schedule.Add(tx, l.item(e))
}

// remove forgets one, with its row.
func (l line) remove(tx *store.Tx, e queued, now time.Time) error {
	tx.Delete(l.row(l.ns, e.Hash))
	schedule.Remove(tx, l.item(e))
	q, err := l.read(tx, now)
	if err != nil {
		return err
	}
	q.Logins = slices.DeleteFunc(q.Logins, func(o queued) bool { return o.Hash == e.Hash })
	if len(q.Logins) == 0 {
		tx.Delete(l.key())
		return nil
	}
	return tx.PutJSON(l.key(), q)
}

// clear forgets all that waits in the line.
func (l line) clear(tx *store.Tx, now time.Time) error {
	q, err := l.read(tx, now)
	if err != nil {
		return err
	}
	for _, e := range q.Logins {
		tx.Delete(l.row(l.ns, e.Hash))
		schedule.Remove(tx, l.item(e))
	}
	tx.Delete(l.key())
	return nil
}
