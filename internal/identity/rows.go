package identity

import (
	"context"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Entity is one person or machine, of one namespace. It is shared: it must not be
// modified.
type Entity struct {
	ID       string            `json:"id,omitempty"`
	Name     string            `json:"name,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Disabled bool              `json:"disabled,omitempty"`
	Created  time.Time         `json:"created,omitzero"`
	Updated  time.Time         `json:"updated,omitzero"`
	Aliases  []AliasRef        `json:"aliases,omitempty"` // at most one of each mount
	Merged   []string          `json:"merged,omitempty"`  // identifiers of entities that have become this one
	Hops     int               `json:"hops,omitempty"`    // longest way from one of those
	// Met says that a login made the entity, and that nobody has changed it by hand.
	Met bool `json:"met,omitempty"`
	// Revocations grows whenever all its tokens are revoked: by one at least, and to the time, in seconds since 1970. Those made before the last
	// time count no more. Of one that has become another, it is that less what the other's was by then, so that the sum of both goes on from
	// what it was.
	Revocations int `json:"revocations,omitempty"`
	// Into is the entity that this one has become; the rest, but Revocations, is then empty.
	Into string `json:"into,omitempty"`
}

// AliasRef is an alias as its entity has it.
type AliasRef struct {
	ID       string `json:"id"`
	Accessor string `json:"accessor"`
	Name     string `json:"name"`
}

func (e *Entity) whole() bool { return e.ID != "" || e.Into != "" }

// aliasOf is the entity's alias of a mount; nil: it has none.
func (e *Entity) aliasOf(accessor string) *AliasRef {
	for i := range e.Aliases {
		if e.Aliases[i].Accessor == accessor {
			return &e.Aliases[i]
		}
	}
	return nil
}

// by reports whether the entity is known at a mount by a name.
func (e *Entity) by(accessor, name string) bool {
	a := e.aliasOf(accessor)
	return a != nil && a.Name == name
}

// aliasRow is the value of an alias's row.
type aliasRow struct {
	ID       string            `json:"id"`
	EntityID string            `json:"entity"`
	Accessor string            `json:"accessor"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata,omitempty"` // that the auth method gives
	Custom   map[string]string `json:"custom,omitempty"`   // that operators give
	Created  time.Time         `json:"created,omitzero"`
	Updated  time.Time         `json:"updated,omitzero"`
	From     []string          `json:"from,omitempty"` // entities that it came from in merges
	Met      bool              `json:"met,omitempty"`  // as Entity.Met
}

func (a *aliasRow) whole() bool { return a.EntityID != "" && a.ID != "" }

func (a *aliasRow) key(ns string) string { return aliasKey(ns, a.Accessor, a.Name) }

func (a *aliasRow) ref() AliasRef { return AliasRef{a.ID, a.Accessor, a.Name} }

// nameRow is the value of a name's row.
type nameRow struct {
	ID   string `json:"id"`
	Name string `json:"name"` // as it is spelled
}

func (n *nameRow) whole() bool { return n.ID != "" }

// placeRow is the value of a row that tells where an alias lies.
type placeRow struct {
	Accessor string `json:"accessor"`
	Name     string `json:"name"`
}

func (p *placeRow) whole() bool { return p.Accessor != "" }

func loadAlias(ctx context.Context, r store.Reader, k string) (*aliasRow, error) {
	return get[aliasRow](reading(ctx, r), k)
}

// maxHops bounds how many merges after one another a token is followed through.
const maxHops = 64

// follow is the entity with an identifier or what it has become; nil when there is none. since is the sum of what
// those before it have as Revocations.
func follow(read func(string) (store.Entry, error), k key) (e *Entity, since int, err error) {
	for range maxHops + 1 {
		e, err := get[Entity](read, k.entity())
		if err != nil || e == nil || e.Into == "" {
			return e, since, err
		}
		k.id, since = e.Into, since+e.Revocations
	}
	return nil, 0, nil
}

// checkName refuses a name that no entity or group can have.
func checkName(field, name string, most int) error {
	switch {
	case len(name) > most:
		return api.Errorf(api.Invalid, "%s: longer than %d bytes", field, most)
	case strings.TrimSpace(name) != name:
		return api.Errorf(api.Invalid, "%s: begins or ends with space", field)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return api.Errorf(api.Invalid, "%s: holds a character that does not print", field)
	}
	return nil
}

func checkMetadata(field string, m map[string]string) error {
	if len(m) > maxMetadata {
		return api.Errorf(api.Invalid, "%s: more than %d keys", field, maxMetadata)
	}
	for k, v := range m {
		if k == "" || len(k) > maxPair || len(v) > maxPair {
			return api.Errorf(api.Invalid, "%s: a key is empty, or a key or value longer than %d bytes", field, maxPair)
		}
	}
	return nil
}

// checkPolicies gives policies their one spelling. None of them may be root, nor what
// tokens that grant nothing hold.
func checkPolicies(names []string) ([]string, error) {
	if len(names) > maxPolicies {
		return nil, api.Errorf(api.Invalid, "policies: more than %d", maxPolicies)
	}
	var out []string
	for _, n := range names {
		if strings.TrimSpace(n) == "" {
			continue
		}
		c, err := policy.CanonicalName(n)
		switch {
		case policy.IsRoot(n), err == nil && policy.IsRoot(c):
			return nil, api.Errorf(api.Invalid, "policies cannot contain root")
		case err != nil:
			return nil, api.Errorf(api.Invalid, "policies: a name is malformed")
		case c == "response-wrapping":
			return nil, api.Errorf(api.Invalid, "policies: response-wrapping is not to be attached")
		}
		out = append(out, c)
	}
	return sorted(out), nil
}
