// Package oidc owns identity tokens: signed statements (JWT, RFC 7519) about who the
// caller is, which others can check without asking, and the keys that sign them. And it
// is an OpenID provider (OpenID Connect Core 1.0), through which people and machines with a token
// of this server log in elsewhere.
//
// # What is stored
//
// In namespace N, on the whole encrypted store; names are in their one spelling:
//
//	N/oidc/config              the issuer, where it is not the server's address
//	N/oidc/key/<name>          a named key: its terms and public halves
//	N/oidc/sign/<name>         its private halves: the one that signs and the next
//	N/oidc/role/<name>         what tokens of a role say
//	N/oidc/scope/<name>        claims that clients can ask for
//	N/oidc/assignment/<name>   who may log in to a client
//	N/oidc/client/<name>       who lets people log in through this server
//	N/oidc/client-id/<id>      its name
//	N/oidc/provider/<name>     a provider
//	N/oidc/code/<hash>         a code that was handed out and not yet redeemed
//	N/oidc/access/<hash>       an access token
//	N/oidc/guard               is written by whoever changes what others refer to
//
// The guard makes changes of one namespace's settings follow one another, so that nothing
// refers to what is deleted meanwhile. Codes and access tokens are kept as hashes alone. Private keys
// are read when they sign, and never kept in memory.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of what is kept.
const (
	maxName    = 128 // a name, in bytes
	maxKeys    = 100 // named keys of a namespace, beside the default one
	maxRetired = 64  // public keys that one key keeps for what it has signed
	maxList    = 256 // entries of a list
	maxEntry   = 512 // an entry, in bytes
	remembered = 1000
)

// Config is what a Store stands on.
type Config struct {
	Store   store.Store  // the whole encrypted store
	Cache   *store.Cache // follows Store
	Now     func() time.Time
	Address string // where clients reach this server, such as https://vault.example.com:8200
	// Person is an entity of a namespace as it stands; nil when there is none.
	Person func(ctx context.Context, nsID, entityID string) (*identity.Person, error)
	// Grouped reports whether a namespace has a group.
	Grouped func(ctx context.Context, nsID, groupID string) (bool, error)
	// AuthType is the type of the auth method that a namespace has at a path, such as ldap; empty: it has none there.
	AuthType func(ctx context.Context, nsID, path string) (string, error)
	// Lineage is a namespace's identifier and those of the namespaces above it.
	Lineage func(ctx context.Context, nsID string) ([]string, error)
	// LoggedIn is when the login was that the caller's token comes from; zero: it comes from none.
	LoggedIn func(c *api.Call) (time.Time, error)
}

// Store keeps keys, roles and the provider's settings. It is safe for concurrent use.
type Store struct {
	Config
	published *store.Memo[string, *published] // by namespace
}

// New keeps them in the encrypted store.
func New(c Config) *Store {
	s := &Store{Config: c}
	s.published = store.NewMemo(c.Cache, remembered, s.loadPublished)
	return s
}

// Jobs are the handlers of what the store has scheduled.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindRotate: s.rotateDue, kindEnd: s.end}
}

func area(ns, what string) string { return ns + "/oidc/" + what + "/" }

func guardKey(ns string) string { return ns + "/oidc/guard" }

// change runs a change of settings that others may refer to, or that refers to others.
func (s *Store) change(ctx context.Context, ns string, fn func(tx *store.Tx) error) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		if _, err := tx.Get(guardKey(ns)); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		tx.Put(guardKey(ns), []byte{1})
		return nil
	})
	return err
}

// load reads a row as part of a transaction; nil when there is none.
func load[T any](tx *store.Tx, key string) (*T, error) {
	v := new(T)
	found, err := tx.LoadJSON(key, v)
	if err != nil || !found {
		return nil, err
	}
	return v, nil
}

// each visits the rows below a prefix. One that is damaged is an error.
func each[T any](ctx context.Context, r store.Reader, prefix string, visit func(name string, v *T)) error {
	damaged, err := sift(ctx, r, prefix, visit)
	if err == nil && len(damaged) > 0 {
		return fmt.Errorf("oidc: row %q cannot be read: %w", damaged[0].Key, store.ErrCorrupt)
	}
	return err
}

// sift visits the rows below a prefix, and returns those that are damaged.
func sift[T any](ctx context.Context, r store.Reader, prefix string, visit func(name string, v *T)) (damaged []store.Entry, err error) {
	return store.SiftJSON(ctx, r, store.Prefix(prefix), func(e store.Entry, v *T) { visit(strings.TrimPrefix(e.Key, prefix), v) })
}

// list is the names of what is below a prefix, with what show tells of it; what it tells nothing of is left out. Of what is damaged
// there is the name alone.
func list[T any](c *api.Call, r store.Reader, prefix string, show func(name string, v *T) any) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	damaged, err := sift(c, r, prefix, func(name string, v *T) {
		if info := show(name, v); info != nil {
			out.Keys, out.Info[name] = append(out.Keys, name), info
		}
	})
	for _, e := range damaged {
		out.Keys = append(out.Keys, strings.TrimPrefix(e.Key, prefix))
		c.Warn(fmt.Sprintf("row %q is damaged", e.Key))
	}
	slices.Sort(out.Keys)
	return out, err
}

// names lists what is below a prefix, and more that is always there.
func (s *Store) names(c *api.Call, what string, always ...string) (*api.Keys, error) {
	prefix := area(c.Namespace.ID, what)
	r := store.Prefix(prefix)
	r.KeysOnly = true
	rows, err := s.Store.List(c, r)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(rows)+len(always))
	for _, e := range rows {
		out = append(out, strings.TrimPrefix(e.Key, prefix))
	}
	return &api.Keys{Keys: merged(out, always)}, nil
}

// checkName refuses a name that would have to be written otherwise in an address: those of a provider, and so its
// issuer, are made of its name, and whoever compares them must find one spelling.
func checkName(name api.Name) error {
	switch {
	case name == "" || strings.Trim(string(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || strings.Trim(string(name), "-.") != string(name):
		return &api.Error{Kind: api.Invalid, Message: "name: is not a name", Hint: "use letters, digits, '-', '_' and '.', of which '-' and '.' neither begin nor end it"}
	case len(name) > maxName:
		return api.Errorf(api.Invalid, "name: longer than %d bytes", maxName)
	}
	return nil
}

// checkList refuses a list that is too long, or holds what nothing can be.
func checkList(field string, list []string) error {
	if len(list) > maxList {
		return api.Errorf(api.Invalid, "%s: more than %d", field, maxList)
	}
	for _, v := range list {
		if v == "" || len(v) > maxEntry || strings.TrimSpace(v) != v {
			return api.Errorf(api.Invalid, "%s: an entry is empty, begins or ends with space, or is longer than %d bytes", field, maxEntry)
		}
	}
	return nil
}

// someone is an entity of a namespace or one above it, that may still act; nil: there is none.
func (s *Store) someone(ctx context.Context, nsID, entityID string) (*identity.Person, error) {
	line, err := s.Lineage(ctx, nsID)
	if err != nil {
		return nil, err
	}
	for _, ns := range line {
		p, err := s.Person(ctx, ns, entityID)
		if errors.Is(err, store.ErrSealed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p != nil && p.ID == entityID && !p.Disabled {
			return p, nil
		}
	}
	return nil, nil
}

// caller is who asks.
func (s *Store) caller(c *api.Call) (*identity.Person, error) {
	if c.Caller.EntityID == "" {
		return nil, api.Errorf(api.Invalid, "no entity associated with the request's token")
	}
	p, err := s.Person(c, c.Caller.EntityNamespace, c.Caller.EntityID)
	if err != nil {
		return nil, err
	}
	if p == nil || p.Disabled || p.Ended(c.Caller.EntityEpoch) {
		return nil, api.ErrDenied()
	}
	return p, nil
}
