// Package policies owns the named policies of each namespace: their rows, their
// endpoints, and the compiled sets that requests are judged by. The language
// itself is package policy's.
package policies

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

const (
	rootName     = "root"
	defaultName  = "default"
	wrappingName = "response-wrapping" // of tokens that grant nothing: nobody may give it a meaning

	maxPolicyBytes = 256 << 10 // of one policy's text
	maxSets        = 8192      // compiled sets that are remembered
	maxFilled      = 4096      // compiled sets, filled in for one person, that are
)

// row is the stored form of a policy.
type row struct {
	Name     string    `json:"name"`
	Text     string    `json:"policy"`
	Modified time.Time `json:"modified"`
	Version  int       `json:"version"`

	CASRequired bool      `json:"cas_required,omitempty"` // every change must name the version it replaces
	Expires     time.Time `json:"expires,omitzero"`       // from then on there is no such policy; zero: never
}

// expired reports whether there is no longer such a policy at a moment.
func (r *row) expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// Store keeps the policies of all namespaces.
type Store struct {
	// Accessor reports whether an auth method of a namespace has an accessor; nil: nobody knows.
	Accessor func(ctx context.Context, nsID, accessor string) (bool, error)

	store store.Store
	sets  *store.Memo[set, *compiled]
	fills *fills
	root  *policy.ACL
	now   func() time.Time
}

// New keeps policies in the encrypted store.
func New(s store.Store, cache *store.Cache, now func() time.Time) *Store {
	p := &Store{store: s, root: policy.Root(), fills: newFills(maxFilled), now: now}
	p.sets = store.NewMemo(cache, maxSets, p.compile)
	return p
}

func prefix(nsID string) string       { return nsID + "/policy/acl/" }
func rowKey(nsID, name string) string { return prefix(nsID) + name }

// A policy that expires has a row there too, with that moment, so that a list of
// names reads no policy; and a due-time, at which both go.
func expiryPrefix(nsID string) string    { return nsID + "/policy/expires/" }
func expiryKey(nsID, name string) string { return expiryPrefix(nsID) + name }

// Furnish writes the default policy of a namespace that is about to exist; it
// can be repeated.
func (s *Store) Furnish(ctx context.Context, nsID string) error {
	_, err := store.Update(ctx, s.store, func(tx *store.Tx) error {
		e, err := tx.Get(rowKey(nsID, defaultName))
		if errors.Is(err, store.ErrCorrupt) {
			return nil // it grants nothing until it is written anew; everything else is served
		}
		if err != nil || e.Exists() {
			return err
		}
		return put(tx, nsID, &row{Name: defaultName, Text: defaultText, Modified: s.now().UTC(), Version: 1})
	})
	return err
}

func put(tx *store.Tx, nsID string, r *row) error {
	b, err := json.Marshal(r)
	tx.Put(rowKey(nsID, r.Name), b)
	if r.Expires.IsZero() {
		tx.Delete(expiryKey(nsID, r.Name))
		return err
	}
	tx.Put(expiryKey(nsID, r.Name), []byte(r.Expires.UTC().Format(time.RFC3339Nano)))
	return errors.Join(err, schedule.Add(tx, due(nsID, r)))
}

// load is a policy's row, also of one that has expired, or nil.
func load(ctx context.Context, s store.Reader, nsID, name string) (*row, error) {
	e, err := s.Get(ctx, rowKey(nsID, name))
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[row](e)
}

// parse is a stored policy, or nil when there is none of that name.
func parse(ctx context.Context, r store.Reader, nsID, name string) (*policy.Policy, error) {
	stored, err := load(ctx, r, nsID, name)
	if err != nil || stored == nil {
		return nil, err
	}
	p, err := policy.Parse(stored.Name, stored.Text)
	if err != nil {
		return nil, fmt.Errorf("stored policy %s: %w", rowKey(nsID, name), err)
	}
	for _, r := range p.Rules {
		r.EndBy(stored.Expires)
	}
	return p, nil
}

// plain undoes base64, which clients may send a policy in.
func plain(text string) string {
	if b, err := base64.StdEncoding.DecodeString(text); err == nil {
		return string(b)
	}
	return text
}

// rows are the policies of a namespace in name order.
func (s *Store) rows(ctx context.Context, nsID string, keysOnly bool) ([]store.Entry, error) {
	r := store.Prefix(prefix(nsID))
	r.KeysOnly = keysOnly
	return s.store.List(ctx, r)
}

// Names are the names of a namespace's policies, in order. The root namespace
// also names root.
func (s *Store) Names(ctx context.Context, nsID string) ([]string, error) {
	es, err := s.rows(ctx, nsID, true)
	if err != nil {
		return nil, err
	}
	ended, err := s.ended(ctx, nsID)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(es)+1)
	for _, e := range es {
		if name := strings.TrimPrefix(e.Key, prefix(nsID)); !ended[name] {
			out = append(out, name)
		}
	}
	if nsID == rootName {
		out = append(out, rootName)
		slices.Sort(out)
	}
	return out, nil
}

// ended are the names of a namespace's policies that have expired.
func (s *Store) ended(ctx context.Context, nsID string) (map[string]bool, error) {
	es, _, err := store.Sift(ctx, s.store, store.Prefix(expiryPrefix(nsID))) // whose moment cannot be read stays in the list
	if err != nil || len(es) == 0 {
		return nil, err
	}
	out, now := map[string]bool{}, s.now()
	for _, e := range es {
		at, err := time.Parse(time.RFC3339Nano, string(e.Value))
		if err == nil && !now.Before(at) {
			out[strings.TrimPrefix(e.Key, expiryPrefix(nsID))] = true
		}
	}
	return out, nil
}

// read is a policy's row; root has an empty text.
func (s *Store) read(ctx context.Context, nsID, name string) (*row, error) {
	if name == rootName && nsID == rootName {
		return &row{Name: rootName}, nil
	}
	r, err := load(ctx, s.store, nsID, name)
	if err == nil && (r == nil || r.expired(s.now())) {
		return nil, api.ErrNotFound()
	}
	return r, err
}

// defaultText is what every token may do unless it was made without the
// policy default.
const defaultText = `# What every token may do for itself. Change it to fit; it cannot be deleted.

# Look itself up, renew itself, revoke itself.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Ask what it may do.
path "sys/capabilities-self"        { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }

# Look up and renew its leases, by their identifiers.
path "sys/renew"         { capabilities = ["update"] }
path "sys/leases/renew"  { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Be told of to applications that log people in through this server; the provider decides which.
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }

# Keep things in its own cubbyhole.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Wrap answers, and unwrap what it was handed.
path "sys/wrapping/wrap"   { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }

# Hash and draw random bytes.
path "sys/tools/hash"     { capabilities = ["update"] }
path "sys/tools/hash/*"   { capabilities = ["update"] }
path "sys/tools/random"   { capabilities = ["update"] }
path "sys/tools/random/*" { capabilities = ["update"] }
`
