package identity

import (
	"context"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// AliasRequest creates an alias or changes the one of that name.
type AliasRequest struct {
	ID             string            `json:"id"`                                 // Identifier of the alias to change; empty: the name and the mount say which.
	Name           string            `json:"name" audit:"clear"`                 // Name by which the auth method knows the entity.
	MountAccessor  string            `json:"mount_accessor" audit:"clear"`       // Accessor of the auth method's mount.
	CanonicalID    string            `json:"canonical_id"`                       // The entity; empty: as before, or a new one.
	EntityID       string            `json:"entity_id" api:"alias=canonical_id"` // Older name of canonical_id.
	CustomMetadata map[string]string `json:"custom_metadata"`                    // Free key-value pairs; replaces what there was.
}

// AliasByIDRequest changes an alias.
type AliasByIDRequest struct {
	ID             api.Name          `path:"id"`                                 // Identifier of the alias.
	Name           string            `json:"name" audit:"clear"`                 // Its new name; empty: as before.
	MountAccessor  string            `json:"mount_accessor" audit:"clear"`       // Accessor of its new mount; empty: as before.
	CanonicalID    string            `json:"canonical_id"`                       // The entity that it shall belong to; empty: as before.
	EntityID       string            `json:"entity_id" api:"alias=canonical_id"` // Older name of canonical_id.
	CustomMetadata map[string]string `json:"custom_metadata"`                    // Free key-value pairs; replaces what there was.
}

// AliasMade tells of an alias that was written.
type AliasMade struct {
	CanonicalID string `json:"canonical_id" audit:"clear"`
	ID          string `json:"id" audit:"clear"`
}

// AliasAnswer is an alias as it is read.
type AliasAnswer struct {
	CanonicalID    string            `json:"canonical_id" audit:"clear"`
	CreationTime   api.Time          `json:"creation_time"`
	CustomMetadata map[string]string `json:"custom_metadata"`
	ID             string            `json:"id" audit:"clear"`
	LastUpdateTime api.Time          `json:"last_update_time"`
	Local          bool              `json:"local"`
	MergedFrom     []string          `json:"merged_from_canonical_ids" audit:"clear"`
	Metadata       map[string]string `json:"metadata"`
	MountAccessor  string            `json:"mount_accessor" audit:"clear"`
	MountPath      string            `json:"mount_path" audit:"clear"`
	MountType      string            `json:"mount_type" audit:"clear"`
	Name           string            `json:"name" audit:"clear"`
	NamespaceID    string            `json:"namespace_id" audit:"clear"`
}

func (s *Store) showAlias(c *api.Call, a *aliasRow) (*AliasAnswer, error) {
	m, _, err := s.Mount(c, c.Namespace.ID, a.Accessor)
	return &AliasAnswer{CanonicalID: a.EntityID, CreationTime: at(a.Created), CustomMetadata: a.Custom, ID: a.ID, LastUpdateTime: at(a.Updated),
		MergedFrom: a.From, Metadata: a.Metadata, MountAccessor: a.Accessor, MountPath: m.Path, MountType: m.Type, Name: a.Name, NamespaceID: c.Namespace.ID}, err
}

// readAlias describes an alias.
func (s *Store) readAlias(c *api.Call, q *IDRequest) (*AliasAnswer, error) {
	a, err := aliasBy(reading(c, s.Store), c.Namespace.ID, string(q.ID))
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return nil, api.ErrNotFound()
	}
	return s.showAlias(c, a)
}

// aliasBy is the alias with an identifier; nil where there is none.
func aliasBy(read func(string) (store.Entry, error), nsID, id string) (*aliasRow, error) {
	if !isID(id) {
		return nil, nil
	}
	place, err := get[placeRow](read, aliasID(nsID, id))
	if err != nil || place == nil {
		return nil, err
	}
	return get[aliasRow](read, aliasKey(nsID, place.Accessor, place.Name))
}

// writeAlias creates an alias of an entity, or changes it.
func (s *Store) writeAlias(c *api.Call, q *AliasRequest) (*AliasMade, error) {
	if q.ID == "" && q.Name == "" {
		return nil, api.Errorf(api.Invalid, "name: missing alias name")
	}
	if q.ID == "" && q.MountAccessor == "" {
		return nil, api.Errorf(api.Invalid, "mount_accessor: missing mount_accessor")
	}
	return s.changeAlias(c, q)
}

// writeAliasByID changes an alias.
func (s *Store) writeAliasByID(c *api.Call, q *AliasByIDRequest) (*AliasMade, error) {
	return s.changeAlias(c, &AliasRequest{ID: string(q.ID), Name: q.Name, MountAccessor: q.MountAccessor, CanonicalID: q.CanonicalID, CustomMetadata: q.CustomMetadata})
}

func (s *Store) changeAlias(c *api.Call, q *AliasRequest) (*AliasMade, error) {
	if err := q.check(s, c); err != nil {
		return nil, err
	}
	var made *AliasMade
	var left *Entity
	var was aliasRow // where the entity that had it has it no more
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		a, err := s.aliasMeant(tx, c.Namespace.ID, q)
		if err != nil {
			return err
		}
		ch := &aliasChange{tx: tx, call: c, store: s, was: *a, is: *a, to: q.CanonicalID}
		ch.is.Name, ch.is.Accessor = or(q.Name, a.Name), or(q.MountAccessor, a.Accessor)
		if q.Name != "" || q.MountAccessor != "" {
			if ch.is.Name, err = s.aliasName(c, ch.is.Accessor, ch.is.Name); err != nil {
				return err
			}
		}
		if q.CustomMetadata != nil {
			ch.is.Custom = q.CustomMetadata
		}
		if err := ch.run(); err != nil {
			return err
		}
		made, left, was = &AliasMade{CanonicalID: ch.is.EntityID, ID: ch.is.ID}, ch.left, aliasRow{}
		if ch.is.EntityID != ch.was.EntityID || ch.is.Accessor != ch.was.Accessor {
			was = ch.was
		}
		return nil
	})
	if err == nil && left != nil {
		warnLeft(c, left)
	}
	if err == nil && was.ID != "" {
		err = s.quit(context.WithoutCancel(c), key{c.Namespace.ID, was.EntityID}, was.Accessor, "")
	}
	return made, err
}

// warnLeft tells from whom an alias was taken, and what did not come along.
func warnLeft(c *api.Call, e *Entity) {
	stays := "its policies, internal groups and second factors stay with it"
	if len(e.Aliases) == 0 {
		stays += ", and nobody logs in as it any more"
	}
	c.Warn("the alias was taken from the entity " + e.ID + ": " + stays + ". To bring memberships of groups along, give the alias back and merge the entities with identity/entity/merge")
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// check judges a request, and gives the name its canonical spelling where the mount is
// known.
func (q *AliasRequest) check(s *Store, c *api.Call) error {
	err := checkMetadata("custom_metadata", q.CustomMetadata)
	if err == nil && q.ID == "" {
		q.Name, err = s.aliasName(c, q.MountAccessor, q.Name)
	}
	return err
}

// aliasName judges the name of an alias of a mount, and answers its canonical spelling.
func (s *Store) aliasName(c *api.Call, accessor, name string) (string, error) {
	if err := checkName("name", name, maxAlias); err != nil {
		return name, err
	}
	m, ok, err := s.Mount(c, c.Namespace.ID, accessor)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "", api.Errorf(api.Invalid, "mount_accessor: invalid mount accessor: no auth method of this namespace has it")
	case m.Spell != nil && name != "":
		return m.Spell(c, name)
	}
	return name, nil
}

// aliasMeant is the alias that a request is about; a new one has no identifier.
func (s *Store) aliasMeant(tx *store.Tx, nsID string, q *AliasRequest) (*aliasRow, error) {
	if q.ID != "" {
		a, err := aliasBy(tx.Get, nsID, q.ID)
		if err == nil && a == nil {
			err = api.Errorf(api.Invalid, "id: invalid alias ID")
		}
		return a, err
	}
	a, err := get[aliasRow](tx.Get, aliasKey(nsID, q.MountAccessor, q.Name))
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return &aliasRow{}, nil
	case !a.is(q.Name):
		return nil, api.Errorf(api.Invalid, "name: an alias of this mount exists whose name differs by case alone")
	}
	return a, nil
}

// aliasChange is the change of one alias within a transaction.
type aliasChange struct {
	tx      *store.Tx
	call    *api.Call
	store   *Store
	was, is aliasRow
	to      string  // entity that it shall belong to; empty: as before, or a new one
	left    *Entity // that it belonged to before, without it; nil: it belongs to no other than before
}

func (ch *aliasChange) ns() string { return ch.call.Namespace.ID }

func (ch *aliasChange) run() error {
	now := ch.call.Now.UTC()
	ch.is.Updated, ch.is.Met = now, false
	if ch.was.ID == "" {
		ch.is.ID, ch.is.Created = api.NewUUID(), now
	}
	if err := ch.vacate(); err != nil {
		return err
	}
	if ch.was.ID == "" && ch.to == "" {
		if err := ch.store.found(ch.tx, ch.ns(), &ch.is); err != nil {
			return err
		}
		return ch.byHand(ch.is.EntityID)
	}
	ch.is.EntityID = or(ch.to, ch.was.EntityID)
	if ch.was.ID != "" && ch.is.EntityID != ch.was.EntityID {
		if err := ch.leave(); err != nil {
			return err
		}
	}
	if err := ch.join(); err != nil {
		return err
	}
	return putAlias(ch.tx, ch.ns(), &ch.is)
}

// byHand notes that an operator has made the entity.
func (ch *aliasChange) byHand(id string) error {
	e, err := entityIn(ch.tx, ch.ns(), id)
	if err != nil || e == nil {
		return err
	}
	e.Met = false
	return put(ch.tx, key{ch.ns(), id}.entity(), e)
}

// vacate frees the place of the alias when it moves to another, which must be free: no
// alias takes another's place (CVE-2021-41802).
func (ch *aliasChange) vacate() error {
	from, to := ch.was.key(ch.ns()), ch.is.key(ch.ns())
	if ch.was.ID == "" || from == to {
		return nil
	}
	other, err := ch.tx.Get(to)
	if err != nil {
		return err
	}
	if other.Exists() {
		return api.Errorf(api.Invalid, "name: another alias of this mount has it")
	}
	ch.tx.Delete(from)
	return nil
}

// leave takes the alias away from the entity that it belonged to.
func (ch *aliasChange) leave() error {
	e, err := entityIn(ch.tx, ch.ns(), ch.was.EntityID)
	if err != nil || e == nil {
		return err
	}
	e.Aliases = slices.DeleteFunc(e.Aliases, func(r AliasRef) bool { return r.ID == ch.was.ID })
	e.Updated, e.Met, ch.left = ch.is.Updated, e.Met && ch.is.Met, e
	return put(ch.tx, key{ch.ns(), e.ID}.entity(), e)
}

// join gives the alias to its entity, which has at most one of each mount
// (CVE-2021-43998).
func (ch *aliasChange) join() error {
	e, err := entityIn(ch.tx, ch.ns(), ch.is.EntityID)
	switch {
	case err != nil:
		return err
	case e == nil:
		return api.Errorf(api.Invalid, "canonical_id: invalid canonical ID: no entity of this namespace has it")
	}
	e.Aliases = slices.DeleteFunc(e.Aliases, func(r AliasRef) bool { return r.ID == ch.is.ID })
	switch {
	case e.aliasOf(ch.is.Accessor) != nil:
		return &api.Error{Kind: api.Invalid, Message: "mount_accessor: the entity already has an alias of this mount", Hint: "change that alias, or merge the entities"}
	case len(e.Aliases) >= maxAliases:
		return api.Errorf(api.Invalid, "canonical_id: the entity has %d aliases, which is the most", maxAliases)
	}
	e.Aliases = append(e.Aliases, ch.is.ref())
	e.Updated, e.Met = ch.is.Updated, false
	return put(ch.tx, key{ch.ns(), e.ID}.entity(), e)
}

// removeAlias deletes an alias; one that is not there is as good as deleted. Who logs in
// by its name from then on is somebody new, and its entity is out of the external groups that it was in by it.
func (s *Store) removeAlias(c *api.Call, q *IDRequest) (*api.None, error) {
	a, err := s.dropAlias(c, string(q.ID), false)
	if err == nil && a != nil {
		err = s.quit(context.WithoutCancel(c), key{c.Namespace.ID, a.EntityID}, a.Accessor, "")
	}
	return nil, err
}

// dropAlias deletes an alias, and answers what it was; nil: there was none. met leaves an entity that a login has made as
// it is otherwise, so that it is reaped in its time.
func (s *Store) dropAlias(c *api.Call, id string, met bool) (a *aliasRow, err error) {
	_, err = store.Update(c, s.Store, func(tx *store.Tx) (err error) {
		a, err = aliasBy(tx.Get, c.Namespace.ID, id)
		if err != nil || a == nil {
			return err
		}
		tx.Delete(aliasID(c.Namespace.ID, a.ID))
		tx.Delete(a.key(c.Namespace.ID))
		ch := &aliasChange{tx: tx, call: c, store: s, was: *a, is: aliasRow{Updated: c.Now.UTC(), Met: met}}
		return ch.leave()
	})
	return a, err
}

// aliasInfo is what a list of entities or aliases shows of an alias.
type aliasInfo struct {
	CanonicalID   string `json:"canonical_id,omitempty"`
	ID            string `json:"id,omitempty"`
	MountAccessor string `json:"mount_accessor"`
	MountPath     string `json:"mount_path,omitempty"`
	MountType     string `json:"mount_type,omitempty"`
	Name          string `json:"name"`
}

func (s *Store) info(c *api.Call, accessor, name string) (*aliasInfo, error) {
	m, _, err := s.Mount(c, c.Namespace.ID, accessor)
	if err != nil {
		return nil, fmt.Errorf("identity: mount of an alias: %w", err)
	}
	return &aliasInfo{MountAccessor: accessor, MountPath: m.Path, MountType: m.Type, Name: name}, nil
}
