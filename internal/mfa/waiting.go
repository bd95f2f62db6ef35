package mfa

import (
	"context"
	"fmt"
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
	kindRight   = "mfa-right"   // a right to register a passkey that was not used is forgotten
)

// waiting is a login that waits.
type waiting struct {
	Login   heldAuth      `json:"login"`
	Enters  *api.Entrance `json:"enters"`
	Expires time.Time     `json:"expires"`
	// Challenges are those that were handed out for passkeys and are not answered yet, by the method's
	// identifier.
	Challenges map[string]string `json:"challenges,omitempty"`
}

// heldAuth is a login's answer as it is stored: it has no token yet.
type heldAuth struct {
	api.Auth
	ClientToken *struct{} `json:",omitempty"` // covers Auth's, which is not to be stored
}

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
		if err := tx.PutJSON(waitingKey(ns, hash), w); err != nil {
			return err
		}
		return logins(ns, n.entity).add(tx, queued{hash, w.Expires}, c.Now)
	})
	if err != nil {
		return nil, err
	}
	return n.requirement(id), nil
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
	hash, err := s.hashOf(c, q.RequestID)
	if err != nil {
		return nil, err
	}
	w, need, err := s.again(c, hash)
	if err != nil {
		return nil, err
	}
	if need != nil {
		if err := s.satisfy(c, need, shown, hash); err != nil {
			return nil, err
		}
	}
	if err := s.once(c, ns, hash); err != nil {
		return nil, err
	}
	login := w.Login.Auth
	login.Entrance = w.Enters
	return &login, nil
}

// hashOf is the hash of the identifier of a login that waits.
func (s *Store) hashOf(c *api.Call, id api.Secret) (string, error) {
	hash, err := s.Hash(c, c.Namespace.ID, strings.ToLower(strings.TrimSpace(id.Reveal())))
	if err != nil {
		return "", fmt.Errorf("mfa: hash: %w", err)
	}
	return hash, nil
}

// again looks at a login that waits as it stands now: what it needs; nil: nothing any more.
func (s *Store) again(c *api.Call, hash string) (*waiting, *Need, error) {
	w, err := store.LoadJSON[waiting](c, s.Store, waitingKey(c.Namespace.ID, hash))
	switch {
	case err != nil:
		return nil, nil, err
	case w == nil || w.Enters == nil || !w.Expires.After(c.Now):
		return nil, nil, denied("no such login waits")
	case !api.Within(c.Remote, w.Login.BoundCIDRs):
		return nil, nil, denied("the login is bound to other addresses")
	}
	who, err := s.Identity.Still(c, w.Enters, w.Login.Alias)
	if err != nil {
		return nil, nil, err
	}
	need, err := s.Required(c, Login{Accessor: w.Enters.Accessor, Type: w.Enters.Type, Who: who})
	return w, need, err
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
		return logins(ns, w.Enters.EntityID).remove(tx, queued{hash, w.Expires}, c.Now)
	})
	return err
}

// Jobs are the handlers of what the store has scheduled.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindWaiting: s.waitedTooLong, kindMethod: s.methodGone, kindRight: s.rightUnused}
}

// waitedTooLong forgets a login.
func (s *Store) waitedTooLong(ctx context.Context, job *schedule.Job) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		w := &waiting{}
		found, err := tx.LoadJSON(waitingKey(job.Namespace, job.ID), w)
		if err != nil || !found || w.Enters == nil {
			return err
		}
		return logins(job.Namespace, w.Enters.EntityID).remove(tx, queued{job.ID, w.Expires}, job.At)
	})
	return err
}

// pageRows is how many rows are read, and how many removed, at once.
const pageRows = 50

// methodGone removes the secrets of a namespace's entities for a method.
func (s *Store) methodGone(ctx context.Context, job *schedule.Job) error {
	return s.removeRows(ctx, area(job.Namespace, "of"), func(key string) bool {
		return strings.HasSuffix(key, "/"+typeTOTP+"/"+job.ID) || strings.HasSuffix(key, "/"+typeWebAuthn+"/"+job.ID)
	})
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
