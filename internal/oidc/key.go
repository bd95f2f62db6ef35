package oidc

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// The terms of a key that says nothing else.
const (
	defaultName    = "default"
	defaultPeriod  = 24 * time.Hour
	minPeriod      = time.Minute
	minPeriodRSA   = time.Hour // making one takes a tenth of a second of a processor, and whoever has keys rotated makes them for ever
	verifyPeriods  = 10        // what a key has signed counts for at most so many periods
	anyone         = "*"
	defaultSigning = string(jose.RS256)
)

// keyRow is a named key without what is secret of it.
type keyRow struct {
	Algorithm string        `json:"algorithm"`
	Period    time.Duration `json:"period"`
	Verify    time.Duration `json:"verify"` // for how long what it has signed counts after it has been replaced
	Clients   []string      `json:"clients,omitempty"`
	Due       time.Time     `json:"due"`    // when the next key takes over
	Public    []public      `json:"public"` // the one that signs, the next, and those that have signed
}

// signRow are the private halves of a named key.
type signRow struct {
	Now  pair `json:"now"`
	Next pair `json:"next"`
}

func keyKey(ns, name string) string  { return area(ns, "key") + name }
func signKey(ns, name string) string { return area(ns, "sign") + name }

// allows reports whether tokens for a client may be signed with the key.
func (k *keyRow) allows(clientID string) bool {
	return slices.Contains(k.Clients, anyone) || slices.Contains(k.Clients, clientID)
}

func (k *keyRow) item(ns, name string) schedule.Item {
	return schedule.Item{Namespace: ns, At: k.Due, Kind: kindRotate, ID: hex.EncodeToString([]byte(name)), Data: []byte(name)}
}

// KeyName names a key.
type KeyName struct {
	Name api.Name `path:"name"` // Name of the key.
}

// KeyRequest creates a key or changes one; what is absent stays as it was.
type KeyRequest struct {
	Name             api.Name      `path:"name"`                             // Name of the key.
	Algorithm        *string       `json:"algorithm" audit:"clear"`          // RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA. A change holds from the next rotation but one.
	RotationPeriod   *api.Duration `json:"rotation_period"`                  // How often another key takes over; at least a minute, and of RS256, RS384 and RS512 an hour.
	VerificationTTL  *api.Duration `json:"verification_ttl"`                 // For how long what a key has signed counts after another has taken over; at most ten periods.
	AllowedClientIDs *[]string     `json:"allowed_client_ids" audit:"clear"` // Client ids of the roles and clients that may use the key; * is all.
}

// KeyAnswer is a key as it is read.
type KeyAnswer struct {
	Algorithm        string       `json:"algorithm" audit:"clear"`
	AllowedClientIDs []string     `json:"allowed_client_ids" audit:"clear"`
	RotationPeriod   api.Duration `json:"rotation_period"`
	VerificationTTL  api.Duration `json:"verification_ttl"`
}

// apply changes the terms of a key.
func (q *KeyRequest) apply(k *keyRow) error {
	api.Set(&k.Algorithm, q.Algorithm)
	api.Set(&k.Clients, q.AllowedClientIDs)
	api.Set((*api.Duration)(&k.Period), q.RotationPeriod)
	api.Set((*api.Duration)(&k.Verify), q.VerificationTTL)
	switch {
	case !slices.Contains(algorithms[:], jose.SignatureAlgorithm(k.Algorithm)):
		return api.Errorf(api.Invalid, "algorithm: must be one of RS256, RS384, RS512, ES256, ES384, ES512 and EdDSA")
	case k.Period < minPeriod:
		return api.Errorf(api.Invalid, "rotation_period must be at least one minute")
	case k.Period < minPeriodRSA && strings.HasPrefix(k.Algorithm, "RS"):
		return &api.Error{Kind: api.Invalid, Message: "rotation_period must be at least one hour for " + k.Algorithm, Hint: "keys of ES256 and EdDSA can be rotated each minute"}
	case k.Period > maxSpan:
		return api.Errorf(api.Invalid, "rotation_period: longer than ten years")
	case k.Verify < 0:
		return api.Errorf(api.Invalid, "verification_ttl cannot be negative")
	case k.Verify > verifyPeriods*k.Period:
		return api.Errorf(api.Invalid, "verification_ttl cannot be longer than %dx rotation_period", verifyPeriods)
	}
	return checkList("allowed_client_ids", k.Clients)
}

// maxSpan bounds what is given as a duration.
const maxSpan = 10 * 365 * 24 * time.Hour

func newKey() *keyRow {
	return &keyRow{Algorithm: defaultSigning, Period: defaultPeriod, Verify: defaultPeriod}
}

// readKey shows the terms of a key.
func (s *Store) readKey(c *api.Call, q *KeyName) (*KeyAnswer, error) {
	if err := s.ensureDefault(c, string(q.Name)); err != nil {
		return nil, err
	}
	k, err := store.LoadJSON[keyRow](c, s.Store, keyKey(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, api.ErrNotFound()
	}
	return &KeyAnswer{k.Algorithm, api.Full(k.Clients), api.Duration(k.Period), api.Duration(k.Verify)}, nil
}

// hasKey tells a create from an update.
func (s *Store) hasKey(c *api.Call, q *KeyRequest) (bool, error) {
	e, err := s.Store.Get(c, keyKey(c.Namespace.ID, string(q.Name)))
	return e.Exists() || q.Name == defaultName, err
}

// writeKey creates a key, or changes its terms.
func (s *Store) writeKey(c *api.Call, q *KeyRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	if err := s.ensureDefault(c, string(q.Name)); err != nil {
		return nil, err
	}
	return nil, s.putKey(c, string(q.Name), q)
}

// putKey makes the pairs before the commit, which may be tried more than once.
func (s *Store) putKey(c *api.Call, name string, q *KeyRequest) error {
	ns := c.Namespace.ID
	was, err := store.LoadJSON[keyRow](c, s.Store, keyKey(ns, name))
	if err != nil {
		return err
	}
	fresh := &maker{}
	if was == nil {
		if err := s.room(c, ns); err != nil {
			return err
		}
	}
	return s.change(c, ns, func(tx *store.Tx) error {
		k, err := load[keyRow](tx, keyKey(ns, name))
		if err != nil {
			return err
		}
		if k == nil {
			k = newKey()
			if err := q.apply(k); err != nil {
				return err
			}
			return s.begin(tx, ns, name, k, fresh, c.Now)
		}
		schedule.Remove(tx, k.item(ns, name))
		old := k.Period
		if err := q.apply(k); err != nil {
			return err
		}
		if err := s.longest(tx, ns, name, k.Verify); err != nil {
			return err
		}
		if k.Period != old {
			k.Due = c.Now.Add(k.Period)
		}
		return s.keep(tx, ns, name, k)
	})
}

// room refuses one key more than there may be.
func (s *Store) room(c *api.Call, ns string) error {
	rows, err := s.Store.List(c, store.Range{Start: area(ns, "key"), End: store.Prefix(area(ns, "key")).End, Limit: maxKeys + 1, KeysOnly: true})
	if err == nil && len(rows) > maxKeys {
		return api.Errorf(api.Invalid, "there are %d keys, which is as many as there may be", len(rows))
	}
	return err
}

// keep writes a key and has it rotated when that is due.
func (s *Store) keep(tx *store.Tx, ns, name string, k *keyRow) error {
	if err := schedule.Add(tx, k.item(ns, name)); err != nil {
		return err
	}
	return tx.PutJSON(keyKey(ns, name), k)
}

// ensureDefault makes the key that is always there, when it is first needed.
func (s *Store) ensureDefault(c *api.Call, name string) error {
	if name != defaultName {
		return nil
	}
	e, err := s.Store.Get(c, keyKey(c.Namespace.ID, name))
	if err != nil || e.Exists() {
		return err
	}
	fresh := &maker{}
	return s.change(c, c.Namespace.ID, func(tx *store.Tx) error {
		if e, err := tx.Get(keyKey(c.Namespace.ID, name)); err != nil || e.Exists() {
			return err
		}
		k := newKey()
		k.Clients = []string{anyone}
		return s.begin(tx, c.Namespace.ID, name, k, fresh, c.Now)
	})
}

// removeKey deletes a key: what it has signed counts no more. One that a role or client uses stays.
func (s *Store) removeKey(c *api.Call, q *KeyName) (*api.None, error) {
	ns, name := c.Namespace.ID, string(q.Name)
	if name == defaultName {
		return nil, api.Errorf(api.Invalid, "deletion of key %q not allowed", defaultName)
	}
	return nil, s.change(c, ns, func(tx *store.Tx) error {
		k, err := load[keyRow](tx, keyKey(ns, name))
		if err != nil || k == nil {
			return err
		}
		users, err := s.users(tx, ns, name)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return api.Errorf(api.Invalid, "unable to delete the key because it is currently referenced by %s", strings.Join(shortened(users), ", "))
		}
		schedule.Remove(tx, k.item(ns, name))
		tx.Delete(keyKey(ns, name))
		tx.Delete(signKey(ns, name))
		return nil
	})
}

// shortened is a list as a message can hold it.
func shortened(list []string) []string {
	const most = 10
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), "and more")
}

// listKeys names the keys.
func (s *Store) listKeys(c *api.Call, _ *api.None) (*api.Keys, error) {
	return s.names(c, "key", defaultName)
}
