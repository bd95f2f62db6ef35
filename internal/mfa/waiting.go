package mfa

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// patience is for how long a login waits for its second factors.
const patience = 5 * time.Minute

// The kinds of scheduled work.
const (
	kindWaiting = "mfa-waiting" // a login that has waited too long is forgotten
	kindMethod  = "mfa-method"  // the secrets for a method that is gone are removed
)

// waiting is a login that waits.
type waiting struct {
	Login   heldAuth      `json:"login"`
	Enters  *api.Entrance `json:"enters"`
	Expires time.Time     `json:"expires"`
}

// heldAuth is a login's answer as it is stored: it has no token yet.
type heldAuth struct {
	api.Auth
	ClientToken *struct{} `json:",omitempty"` // covers Auth's, which is not to be stored
}

// queue is the logins of an entity that wait, the oldest first.
type queue struct {
	Logins []queued `json:"logins"`
}

type queued struct {
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

func (w *waiting) item(ns, hash string) schedule.Item {
	return schedule.Item{Namespace: ns, At: w.Expires, Kind: kindWaiting, ID: hash}
}

func queueKey(ns, entity string) string { return entityArea(ns, entity) + "waiting" }

// Hold keeps a login until its second factors are shown, and answers what its client is
// told. Of one entity so many wait; the oldest gives way.
func (s *Store) Hold(c *api.Call, n *Need, login *api.Auth, in *api.Entrance) (*api.MFARequirement, error) {
	id, ns := api.NewUUID(), c.Namespace.ID
	hash, err := s.Hash(c, ns, id)
	if err != nil {
		return nil, fmt.Errorf("mfa: hash: %w", err)
	}
	w := &waiting{Login: heldAuth{Auth: *login}, Enters: in, Expires: c.Now.Add(patience).UTC()}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		q, err := s.queue(tx, ns, n.entity, c.Now)
		if err != nil {
			return err
		}
		for ; len(q.Logins) >= maxWaiting; q.Logins = q.Logins[1:] {
			old := q.Logins[0]
			tx.Delete(waitingKey(ns, old.Hash))
			schedule.Remove(tx, schedule.Item{Namespace: ns, At: old.Expires, Kind: kindWaiting, ID: old.Hash})
		}
		q.Logins = append(q.Logins, queued{hash, w.Expires})
		if err := tx.PutJSON(queueKey(ns, n.entity), q); err != nil {
			return err
		}
		if err := tx.PutJSON(waitingKey(ns, hash), w); err != nil {
			return err
		}
		return schedule.Add(tx, w.item(ns, hash))
	})
	if err != nil {
		return nil, err
	}
	return n.requirement(id), nil
}

// queue is an entity's, without those that have waited too long: their rows go by
// the schedule.
func (s *Store) queue(tx *store.Tx, ns, entity string, now time.Time) (*queue, error) {
	q := &queue{}
	if _, err := tx.LoadJSON(queueKey(ns, entity), q); err != nil {
		return nil, err
	}
	q.Logins = slices.DeleteFunc(q.Logins, func(e queued) bool { return !e.Expires.After(now) })
	return q, nil
}

// drop forgets a login that waits, in a transaction.
func (s *Store) drop(tx *store.Tx, ns, hash string, w *waiting, now time.Time) error {
	tx.Delete(waitingKey(ns, hash))
	q, err := s.queue(tx, ns, w.Enters.EntityID, now)
	if err != nil {
		return err
	}
	q.Logins = slices.DeleteFunc(q.Logins, func(e queued) bool { return e.Hash == hash })
	if len(q.Logins) == 0 {
		tx.Delete(queueKey(ns, w.Enters.EntityID))
		return nil
	}
	return tx.PutJSON(queueKey(ns, w.Enters.EntityID), q)
}

// ValidateRequest shows the second factors of a login that waits.
type ValidateRequest struct {
	RequestID api.Secret `json:"mfa_request_id"` // What the login was answered in mfa_requirement.
	Payload   api.Object `json:"mfa_payload"`    // For each method's identifier, a list with a passcode.
}

// validate completes a login that waits for its second factors, and answers its token. It needs
// no token. A login is completed once, within five minutes; what is wrong can be shown again until then, as
// often as the method allows.
func (s *Store) validate(c *api.Call, q *ValidateRequest) (*api.Auth, error) {
	if q.RequestID.Empty() {
		return nil, api.Errorf(api.Invalid, "mfa_request_id: missing")
	}
	shown, err := parsePayload(q.Payload)
	if err != nil {
		return nil, err
	}
	ns := c.Namespace.ID
	hash, err := s.Hash(c, ns, strings.ToLower(strings.TrimSpace(q.RequestID.Reveal())))
	if err != nil {
		return nil, fmt.Errorf("mfa: hash: %w", err)
	}
	w, err := store.LoadJSON[waiting](c, s.Store, waitingKey(ns, hash))
	if err != nil {
		return nil, err
	}
	if w == nil || w.Enters == nil || !w.Expires.After(c.Now) {
		return nil, denied("no such login waits")
	}
	if err := s.again(c, w, shown); err != nil {
		return nil, err
	}
	if err := s.once(c, ns, hash); err != nil {
		return nil, err
	}
	login := w.Login.Auth
	login.Entrance = w.Enters
	return &login, nil
}

// again looks at a login as it stands now, and judges what is shown for it.
func (s *Store) again(c *api.Call, w *waiting, shown Shown) error {
	if !api.Within(c.Remote, w.Login.BoundCIDRs) {
		return denied("the login is bound to other addresses")
	}
	who, err := s.Identity.Person(c, c.Namespace.ID, w.Enters.EntityID)
	switch {
	case err != nil:
		return err
	case who == nil || who.Disabled:
		return denied("who logs in is gone or disabled")
	}
	need, err := s.Required(c, Login{Accessor: w.Enters.Accessor, Type: w.Enters.Type, Who: who})
	if err != nil || need == nil {
		return err
	}
	return s.Satisfy(c, need, shown)
}

// once uses a login that waits up: whoever comes second is refused.
func (s *Store) once(c *api.Call, ns, hash string) error {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		w := &waiting{}
		found, err := tx.LoadJSON(waitingKey(ns, hash), w)
		switch {
		case err != nil:
			return err
		case !found || w.Enters == nil:
			return denied("the login has been completed")
		}
		schedule.Remove(tx, w.item(ns, hash))
		return s.drop(tx, ns, hash, w, c.Now)
	})
	return err
}

// Jobs are the handlers of what the store has scheduled.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindWaiting: s.waitedTooLong, kindMethod: s.methodGone}
}

// waitedTooLong forgets a login.
func (s *Store) waitedTooLong(ctx context.Context, job *schedule.Job) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		w := &waiting{}
		found, err := tx.LoadJSON(waitingKey(job.Namespace, job.ID), w)
		if err != nil || !found || w.Enters == nil {
			return err
		}
		return s.drop(tx, job.Namespace, job.ID, w, job.At)
	})
	return err
}

// pageRows is how many rows are read, and how many removed, at once.
const pageRows = 50

// methodGone removes the secrets of a namespace's entities for a method.
func (s *Store) methodGone(ctx context.Context, job *schedule.Job) error {
	return s.removeRows(ctx, area(job.Namespace, "of"), func(key string) bool { return strings.HasSuffix(key, "/totp/"+job.ID) })
}

// Forget removes all that is kept of an entity that is gone or has become another. Its
// logins that wait are refused from then on.
func (s *Store) Forget(ctx context.Context, ns, entity string) error {
	return s.removeRows(ctx, entityArea(ns, entity), func(string) bool { return true })
}

func (s *Store) removeRows(ctx context.Context, prefix string, which func(key string) bool) error {
	r := store.Prefix(prefix)
	r.KeysOnly, r.Limit = true, pageRows
	for {
		rows, err := s.Store.List(ctx, r)
		if err != nil || len(rows) == 0 {
			return err
		}
		_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
			for _, row := range rows {
				if which(row.Key) {
					tx.Delete(row.Key)
				}
			}
			return nil
		})
		if err != nil || len(rows) < pageRows {
			return err
		}
		r = r.After(rows[len(rows)-1].Key)
	}
}
