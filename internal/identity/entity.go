package identity

import (
	"context"
	"errors"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// EntityFields are what an entity is written with; what is absent stays as it was.
type EntityFields struct {
	Metadata map[string]string `json:"metadata"`               // Free key-value pairs, which templates in policies can name; replaces what there was.
	Policies []string          `json:"policies" audit:"clear"` // Policies in force for each token of the entity; replaces those before. Never root.
	Disabled *bool             `json:"disabled"`               // Refuse every token of the entity, and every login as it.
}

// EntityRequest creates an entity or changes one.
type EntityRequest struct {
	ID   string `json:"id"`                 // Identifier of the entity to change; empty: the name says which.
	Name string `json:"name" audit:"clear"` // Name of the entity; made up when a new one has none.
	EntityFields
}

// EntityByNameRequest creates an entity or changes one, by its name.
type EntityByNameRequest struct {
	Name api.Name `path:"name"` // Name of the entity.
	ID   string   `json:"id"`   // Identifier of an entity that is to have the name; empty: the one that has it.
	EntityFields
}

// EntityByIDRequest changes an entity.
type EntityByIDRequest struct {
	ID   api.Name `path:"id"`                 // Identifier of the entity.
	Name string   `json:"name" audit:"clear"` // Its new name; empty: as before.
	EntityFields
}

// Made tells of an entity or group that was written.
type Made struct {
	Aliases []string `json:"aliases"`
	ID      string   `json:"id" audit:"clear"`
	Name    string   `json:"name" audit:"clear"`
}

// writeEntity creates an entity, or changes the one that the identifier or the name says.
func (s *Store) writeEntity(c *api.Call, q *EntityRequest) (*Made, error) {
	return s.changeEntity(c, q, false)
}

// writeEntityByName creates an entity of a name, or changes the one that has it.
func (s *Store) writeEntityByName(c *api.Call, q *EntityByNameRequest) (*Made, error) {
	return s.changeEntity(c, &EntityRequest{ID: q.ID, Name: string(q.Name), EntityFields: q.EntityFields}, true)
}

// writeEntityByID changes an entity.
func (s *Store) writeEntityByID(c *api.Call, q *EntityByIDRequest) (*Made, error) {
	return s.changeEntity(c, &EntityRequest{ID: string(q.ID), Name: q.Name, EntityFields: q.EntityFields}, false)
}

// warnUnmet tells whoever disables somebody by a name that nobody had that nobody is disabled: people who log in have entities
// whose names the server has made up.
func warnUnmet(c *api.Call, q *EntityRequest, made *Made) {
	if made == nil || q.Name == "" || q.Disabled == nil || !*q.Disabled {
		return
	}
	c.Warn("no entity had the name: a new one was made and disabled, and nobody who logs in is disabled by it. The entity of who logs in is found with " +
		"identity/lookup/entity alias_name=NAME alias_mount_accessor=ACCESSOR; disable that by its id, and delete the new one (" + made.ID + ")")
}

// changeEntity writes an entity. folded says that the name has lost its case, so that
// an entity which has it in another is meant. It answers what was created; nil for a change.
func (s *Store) changeEntity(c *api.Call, q *EntityRequest, folded bool) (*Made, error) {
	names, err := q.check()
	if err != nil {
		return nil, err
	}
	var made *Made
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		made = nil
		e, err := s.meant(tx, c.Namespace.ID, q, folded)
		if err != nil {
			return err
		}
		if e.Created.IsZero() {
			made = &Made{ID: e.ID, Name: e.Name}
			e.Created = c.Now.UTC()
		}
		q.apply(e, names)
		e.Updated, e.Met = c.Now.UTC(), false
		return put(tx, key{c.Namespace.ID, e.ID}.entity(), e)
	})
	if err == nil {
		warnUnmet(c, q, made)
	}
	return made, err
}

// check judges a request, and answers its policies in their one spelling.
func (q *EntityRequest) check() ([]string, error) {
	if err := checkName("name", q.Name, maxName); err != nil {
		return nil, err
	}
	if err := checkMetadata("metadata", q.Metadata); err != nil {
		return nil, err
	}
	return checkPolicies(q.Policies)
}

func (q *EntityFields) apply(e *Entity, names []string) {
	if q.Metadata != nil {
		e.Metadata = q.Metadata
	}
	if q.Policies != nil {
		e.Policies = names
	}
	if q.Disabled != nil {
		e.Disabled = *q.Disabled
	}
}

// meant is the entity that a request is about, under the name that it asks for; a new
// one has no time of creation.
func (s *Store) meant(tx *store.Tx, nsID string, q *EntityRequest, folded bool) (*Entity, error) {
	var e *Entity
	var err error
	if q.ID != "" {
		if e, err = entityIn(tx, nsID, q.ID); err != nil {
			return nil, err
		}
		if e == nil {
			return nil, &api.Error{Kind: api.Invalid, Message: "id: invalid entity id", Hint: "find it with identity/lookup/entity, or list identity/entity/id; without an id a new entity is made"}
		}
	}
	if q.Name == "" {
		if e == nil {
			e = &Entity{ID: api.NewUUID()}
			return e, s.nameAnew(tx, nsID, e)
		}
		return e, nil
	}
	named, err := get[nameRow](tx.Get, entityName(nsID, q.Name))
	if err != nil {
		return nil, err
	}
	return s.named(tx, nsID, e, named, q.Name, folded)
}

// named gives an entity a name, which may be another's; without an entity, it is the
// one that has the name, or a new one.
func (s *Store) named(tx *store.Tx, nsID string, e *Entity, has *nameRow, name string, folded bool) (*Entity, error) {
	switch {
	case has == nil && e == nil:
		e = &Entity{ID: api.NewUUID()}
	case has == nil:
		tx.Delete(entityName(nsID, e.Name))
	case e == nil && has.Name != name && !folded:
		return nil, &api.Error{Kind: api.Invalid, Message: "name: an entity whose name differs by case alone exists", Hint: "use its spelling, or change it by its id"}
	case e == nil:
		return entityIn(tx, nsID, has.ID)
	case e.ID != has.ID:
		return nil, &api.Error{Kind: api.Invalid, Message: "name: entity name is already in use", Hint: "see identity/entity/name/NAME: delete the entity that has it or give it another name, or merge the two with identity/entity/merge"}
	case folded:
		return e, nil
	}
	e.Name = name
	return e, put(tx, entityName(nsID, name), nameRow{e.ID, name})
}

// entityIn is an entity of a namespace as part of a transaction; nil where there is
// none, or it has become another.
func entityIn(tx *store.Tx, nsID, id string) (*Entity, error) {
	if !isID(id) {
		return nil, nil
	}
	e, err := get[Entity](tx.Get, key{nsID, id}.entity())
	if err != nil || e == nil || e.Into != "" {
		return nil, err
	}
	return e, nil
}

// Named reads an entity's name as part of a transaction, which so fails should the entity
// be gone at its commit; false: there is none, or it has become another.
func (s *Store) Named(tx *store.Tx, nsID, id string) (name string, found bool, err error) {
	e, err := entityIn(tx, nsID, id)
	if err != nil || e == nil {
		return "", false, err
	}
	return e.Name, true, byHand(tx, key{nsID, id})
}

// Grouped reports whether a namespace has a group.
func (s *Store) Grouped(ctx context.Context, nsID, id string) (bool, error) {
	return exists(reading(ctx, s.Store), key{nsID, id}, ofGroup)
}

// IDRequest names an entity, a group or an alias.
type IDRequest struct {
	ID api.Name `path:"id"` // Identifier.
}

// NameRequest names an entity or a group.
type NameRequest struct {
	Name api.Name `path:"name"` // Name.
}

// EntityAnswer is an entity as it is read.
type EntityAnswer struct {
	Aliases           []*AliasAnswer    `json:"aliases"`
	CreationTime      api.Time          `json:"creation_time"`
	DirectGroupIDs    []string          `json:"direct_group_ids" audit:"clear"`
	Disabled          bool              `json:"disabled"`
	GroupIDs          []string          `json:"group_ids" audit:"clear"`
	ID                string            `json:"id" audit:"clear"`
	InheritedGroupIDs []string          `json:"inherited_group_ids" audit:"clear"`
	LastUpdateTime    api.Time          `json:"last_update_time"`
	MergedEntityIDs   []string          `json:"merged_entity_ids" audit:"clear"`
	Metadata          map[string]string `json:"metadata"`
	MFASecrets        map[string]Factor `json:"mfa_secrets"` // By the method's identifier.
	Name              string            `json:"name" audit:"clear"`
	NamespaceID       string            `json:"namespace_id" audit:"clear"`
	Policies          []string          `json:"policies" audit:"clear"`
}

// Factor is a second factor that an entity has: not what proves it, but that it is there.
type Factor struct {
	Type       string `json:"type" audit:"clear"`        // Of the method: totp or webauthn.
	MethodName string `json:"method_name" audit:"clear"` // Of the method; empty: it has none.
}

// readEntity describes an entity.
func (s *Store) readEntity(c *api.Call, q *IDRequest) (*EntityAnswer, error) {
	return s.showEntity(c, string(q.ID))
}

// readEntityByName describes the entity of a name.
func (s *Store) readEntityByName(c *api.Call, q *NameRequest) (*EntityAnswer, error) {
	id, err := s.idOf(c, entityName(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	return s.showEntity(c, id)
}

// idOf is what a name's row names; empty: there is none.
func (s *Store) idOf(c *api.Call, nameKey string) (string, error) {
	n, err := get[nameRow](reading(c, s.Store), nameKey)
	if err != nil || n == nil {
		return "", err
	}
	return n.ID, nil
}

func (s *Store) showEntity(c *api.Call, id string) (*EntityAnswer, error) {
	if !isID(id) {
		return nil, api.ErrNotFound()
	}
	p, err := s.loadPerson(c, s.Store, key{c.Namespace.ID, id})
	var part *partial
	if errors.As(err, &part) {
		p, err = part.person, nil
	}
	switch {
	case err != nil:
		return nil, err
	case p == nil || p.ID != id: // it has become another
		return nil, api.ErrNotFound()
	}
	a := &EntityAnswer{CreationTime: at(p.Created), Disabled: p.Disabled, ID: p.ID, LastUpdateTime: at(p.Updated), MergedEntityIDs: p.Merged,
		Metadata: p.Metadata, MFASecrets: map[string]Factor{}, Name: p.Name, NamespaceID: c.Namespace.ID, Policies: api.Full(p.Entity.Policies),
		Aliases: []*AliasAnswer{}, DirectGroupIDs: []string{}, InheritedGroupIDs: []string{}, GroupIDs: []string{}}
	for _, m := range p.groups {
		a.GroupIDs = append(a.GroupIDs, m.group.ID)
		if m.direct {
			a.DirectGroupIDs = append(a.DirectGroupIDs, m.group.ID)
		} else {
			a.InheritedGroupIDs = append(a.InheritedGroupIDs, m.group.ID)
		}
	}
	for _, ref := range p.Aliases {
		if row := p.aliases[ref.Accessor]; row != nil {
			shown, err := s.showAlias(c, row)
			if err != nil {
				return nil, err
			}
			a.Aliases = append(a.Aliases, shown)
		}
	}
	if s.Factors != nil {
		a.MFASecrets, err = s.Factors(c, c.Namespace.ID, id)
	}
	return a, err
}

func at(t time.Time) api.Time { return api.Time{Time: t} }
