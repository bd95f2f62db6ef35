// Package identity owns who is behind tokens: entities, the aliases by which auth
// methods know them, and groups. A person or machine that logs in through several
// methods is one entity, and what an entity or its groups have, their policies
// among it, is in force for each of its tokens at once.
package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Entity is one person or machine, of one namespace. It is shared: it must not be
// modified.
type Entity struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Policies []string          `json:"policies,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Disabled bool              `json:"disabled,omitempty"`
	Created  time.Time         `json:"created"`
}

// Person is an entity as its tokens have it.
type Person struct {
	*Entity
	// Policies are the names, by namespace identifier, that the entity and its groups
	// have there.
	Policies map[string][]string
}

// aliasRow is the value of an alias's row.
type aliasRow struct {
	ID       string            `json:"id"`
	EntityID string            `json:"entity"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

type key struct{ namespace, id string }

func (k key) String() string { return k.namespace + "/identity/entity/" + k.id }

// aliasKey is where an alias lies. Its name may hold anything, a slash too: it is
// the last part of the key.
func aliasKey(ns, accessor, name string) string {
	return ns + "/identity/alias/" + accessor + "/" + name
}

// Store keeps entities and groups. It is safe for concurrent use.
type Store struct {
	store    store.Store
	entities *store.Memo[key, *Entity]
	aliases  *store.Memo[string, *aliasRow]
	now      func() time.Time
}

// remembered bounds how many entities, and how many aliases, a node keeps in mind.
const remembered = 20_000

// New keeps identities in the encrypted store.
func New(s store.Store, cache *store.Cache, now func() time.Time) *Store {
	st := &Store{store: s, now: now}
	st.entities = store.NewMemo(cache, remembered, loadEntity)
	st.aliases = store.NewMemo(cache, remembered, loadAlias)
	return st
}

func (e *Entity) whole() bool   { return e.ID != "" }
func (a *aliasRow) whole() bool { return a.EntityID != "" }

func load[T any, P interface {
	*T
	whole() bool
}](ctx context.Context, r store.Reader, k string) (*T, error) {
	e, err := r.Get(ctx, k)
	if err != nil || !e.Exists() {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(e.Value, v); err != nil || !P(v).whole() {
		return nil, fmt.Errorf("identity: row cannot be read: %w", store.ErrCorrupt)
	}
	return v, nil
}

func loadEntity(ctx context.Context, r store.Reader, k key) (*Entity, error) {
	return load[Entity](ctx, r, k.String())
}

func loadAlias(ctx context.Context, r store.Reader, k string) (*aliasRow, error) {
	return load[aliasRow](ctx, r, k)
}

// Person is an entity as it stands, as of no earlier than the cache's last Fresh;
// nil when there is none.
func (s *Store) Person(ctx context.Context, nsID, entityID string) (*Person, error) {
	e, err := s.entities.Get(ctx, key{nsID, entityID})
	if err != nil || e == nil {
		return nil, err
	}
	names := slices.DeleteFunc(slices.Clone(e.Policies), policy.IsRoot) // however it came there
	return &Person{Entity: e, Policies: map[string][]string{nsID: names}}, nil
}

// Admit is who has logged in through the call's mount: the entity that the alias
// belongs to, or else a new one; nil for a login without an alias. Who is disabled is denied.
func (s *Store) Admit(c *api.Call, login *api.Auth) (*Person, error) {
	switch {
	case login.Alias == nil:
		return nil, nil
	case login.Alias.Name == "":
		return nil, errors.New("identity: the auth method has let somebody in without a name")
	}
	a, err := s.aliases.Get(c, aliasKey(c.Namespace.ID, c.Mount.Accessor, login.Alias.Name))
	if err != nil {
		return nil, err
	}
	if a == nil {
		if a, err = s.meet(c, login.Alias); err != nil {
			return nil, err
		}
	}
	p, err := s.Person(c, c.Namespace.ID, a.EntityID)
	switch {
	case err != nil:
		return nil, err
	case p == nil || p.Disabled:
		return nil, api.ErrDenied()
	}
	return p, nil
}

// meet makes an entity of an alias that is seen for the first time, unless another
// login has just done so.
func (s *Store) meet(c *api.Call, who *api.Alias) (*aliasRow, error) {
	k := aliasKey(c.Namespace.ID, c.Mount.Accessor, who.Name)
	var a *aliasRow
	_, err := store.Update(c, s.store, func(tx *store.Tx) error {
		row, err := tx.Get(k)
		if err != nil {
			return err
		}
		if row.Exists() {
			return json.Unmarshal(row.Value, &a)
		}
		id := api.NewUUID()
		e := &Entity{ID: id, Name: "entity_" + id[:8], Created: c.Now}
		a = &aliasRow{ID: api.NewUUID(), EntityID: id, Metadata: who.Metadata}
		return put(tx, map[string]any{k: a, key{c.Namespace.ID, id}.String(): e})
	})
	return a, err
}

func put(tx *store.Tx, rows map[string]any) error {
	for k, v := range rows {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("identity: encode row: %w", err)
		}
		tx.Put(k, b)
	}
	return nil
}
