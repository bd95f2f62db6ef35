// Package identity owns who is behind tokens: entities, the aliases by which auth
// methods know them, and groups. A person or machine that logs in through several
// methods is one entity, and what an entity or its groups have, their policies
// among it, is in force for each of its tokens at once.
//
// # What is stored
//
// In namespace N, on the whole encrypted store; ids are UUIDs, and names are the last
// part of a key, folded, so that they may hold anything:
//
//	N/identity/entity/<id>                      an entity, or where one that was merged has gone
//	N/identity/entity-name/<name>               its name
//	N/identity/alias/<accessor>/<name>          an alias of one, by mount
//	N/identity/alias-id/<id>                    where that lies
//	N/identity/group/<id>                       a group
//	N/identity/group-name/<name>                its name
//	N/identity/group-alias/<accessor>/<name>    the name that an auth method has for it
//	N/identity/group-alias-id/<id>              where that lies
//	N/identity/member/<group>/<kind>/<N2>/<id>  a member of it, of namespace N2
//	N2/identity/in/<member>/<N>/<group>         the same, from the member's side
//	N/identity/used/<id>                        until when an entity counts as used
//	N/identity/reaping                          unused ones are looked for here
//
// A set, such as the members of a group, is rows and never one row that grows. What
// must hold for a set has a row that all who change it read or touch: a name's row, an
// entity's row for its aliases, and N/identity/nesting for groups within groups.
package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of what is kept, so that no request costs more than it should.
const (
	maxName     = 512       // a name of an entity or group, in bytes
	maxAlias    = 1 << 10   // a name of an alias, in bytes
	maxMetadata = 64        // keys of metadata
	maxPair     = 512       // a key or value of metadata, in bytes
	maxPolicies = 256       // policies of an entity or group
	maxAliases  = 40        // of one entity: one for each mount
	remembered  = 20_000    // persons, and aliases, that a node keeps in mind
	perCommit   = 20        // memberships that one commit changes
	pageRows    = 1000      // rows that a list reads at once
	maxRow      = 200 << 10 // an entity's or group's stored form, in bytes
)

// Mount is what there is to know of a mount that aliases are of.
type Mount struct {
	Path, Type string
	// Spell is the canonical spelling of the name of an alias; nil: as it is.
	Spell func(ctx context.Context, name string) (string, error)
}

// Config is what a Store stands on. Fields marked optional may be nil or zero.
type Config struct {
	Store store.Store  // the whole encrypted store
	Cache *store.Cache // follows Store
	Now   func() time.Time
	// Mount is the mount of a namespace that has an accessor; false: there is none.
	Mount func(ctx context.Context, nsID, accessor string) (Mount, bool, error)
	// Lineage is a namespace's identifier and those of the namespaces above it.
	Lineage func(ctx context.Context, nsID string) ([]string, error)
	// Unused is for how long nobody uses an entity that is then reaped; 0: DefaultUnused.
	Unused time.Duration
	// Failed is told of what failed and is tried again later; optional.
	Failed func(error)
	// Cleared removes what others keep of an entity that is gone or has become another; optional.
	Cleared func(ctx context.Context, nsID, entityID string) error
	// Revoked is told, in the commit from which on all tokens of an entity of a namespace count no more, to have
	// them removed; optional.
	Revoked func(tx *store.Tx, nsID string) error
	// Factors are an entity's second factors, by the identifiers of their methods; optional.
	Factors func(ctx context.Context, nsID, entityID string) (map[string]Factor, error)
	// Gone reports whether reading failed because the namespace is no more; optional.
	Gone func(error) bool
}

// Store keeps entities and groups. It is safe for concurrent use.
type Store struct {
	Config
	persons *store.Memo[key, *Person]
	uses    *store.Memo[key, *usedRow]
	aliases *store.Memo[string, *aliasRow]
	outside *store.Memo[outsideKey, *Group] // external groups, by their aliases
}

// New keeps identities in the encrypted store.
func New(c Config) *Store {
	s := &Store{Config: c}
	if s.Unused == 0 {
		s.Unused = DefaultUnused
	}
	s.uses = store.NewMemo(c.Cache, remembered, loadUsed)
	s.persons = store.NewMemo(c.Cache, remembered, s.loadPerson)
	s.aliases = store.NewMemo(c.Cache, remembered, loadAlias)
	s.outside = store.NewMemo(c.Cache, remembered, loadOutside)
	return s
}

func (s *Store) gone(err error) bool { return err != nil && s.Gone != nil && s.Gone(err) }

// key names an entity or group.
type key struct{ namespace, id string }

func area(ns, what string) string { return ns + "/identity/" + what + "/" }

func (k key) entity() string  { return area(k.namespace, "entity") + k.id }
func (k key) group() string   { return area(k.namespace, "group") + k.id }
func (k key) used() string    { return area(k.namespace, "used") + k.id }
func (k key) in() string      { return area(k.namespace, "in") + k.id + "/" }
func (k key) members() string { return area(k.namespace, "member") + k.id + "/" }

func entityName(ns, name string) string { return area(ns, "entity-name") + spell(name) }
func groupName(ns, name string) string  { return area(ns, "group-name") + spell(name) }
func aliasID(ns, id string) string      { return area(ns, "alias-id") + id }

// aliasKey is where an alias lies. Its name may hold anything, a slash too: it is
// the last part of the key.
func aliasKey(ns, accessor, name string) string {
	return area(ns, "alias") + accessor + "/" + spell(name)
}

// spell is what all spellings of a name share that could be taken for one another.
func spell(name string) string { return policy.Fold(strings.TrimSpace(name)) }

// isID reports whether a text has the form of our identifiers. Anything else names
// nothing, and never becomes part of a key.
func isID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// put writes rows of JSON.
func put(tx *store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	switch {
	case err != nil:
		return fmt.Errorf("identity: encode row: %w", err)
	case len(b) > maxRow:
		return api.Errorf(api.TooLarge, "metadata and policies: more than one entry can hold")
	}
	tx.Put(key, b)
	return nil
}

// get reads a row as part of a transaction, or with any other Reader; nil when
// there is none.
func get[T any, P interface {
	*T
	whole() bool
}](read func(string) (store.Entry, error), key string) (*T, error) {
	e, err := read(key)
	if err != nil || !e.Exists() {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(e.Value, v); err != nil || !P(v).whole() {
		return nil, fmt.Errorf("identity: row %q cannot be read: %w", key, store.ErrCorrupt)
	}
	return v, nil
}

// reading is a Reader's Get within a context.
func reading(ctx context.Context, r store.Reader) func(string) (store.Entry, error) {
	return func(key string) (store.Entry, error) { return r.Get(ctx, key) }
}

// fresh makes what this node remembers as new as what the request has written itself.
func (s *Store) fresh(ctx context.Context) error {
	_, err := s.Cache.Fresh(ctx)
	return err
}
