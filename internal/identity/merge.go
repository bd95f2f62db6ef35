package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// MergeRequest makes one entity of several.
type MergeRequest struct {
	FromEntityIDs []string `json:"from_entity_ids"`               // Identifiers of the entities that become the other one.
	ToEntityID    string   `json:"to_entity_id"`                  // Identifier of the entity that stays.
	Force         bool     `json:"force"`                         // Kept for compatibility.
	Keep          []string `json:"conflicting_alias_ids_to_keep"` // Of two aliases of one mount, the one that stays; the other is deleted. Then one entity only is merged.
}

// Bounds of merges.
const (
	maxMerge  = 50  // entities that one request merges
	maxMerged = 100 // entities that one has become of
)

// mergeEntities makes one entity of several. Aliases and memberships of groups come along;
// policies and metadata do not. Tokens of those that are merged are the other's from then on.
func (s *Store) mergeEntities(c *api.Call, q *MergeRequest) (*api.None, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	m := &merge{store: s, ns: c.Namespace.ID, to: q.ToEntityID, keep: q.Keep, alone: len(q.FromEntityIDs) == 1, now: c.Now.UTC()}
	if err := m.judge(c, q.FromEntityIDs); err != nil {
		return nil, err
	}
	for _, from := range q.FromEntityIDs {
		if err := m.one(c, from); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (q *MergeRequest) check() error {
	slices.Sort(q.FromEntityIDs)
	q.FromEntityIDs = slices.Compact(q.FromEntityIDs)
	switch {
	case q.ToEntityID == "":
		return api.Errorf(api.Invalid, "to_entity_id: missing entity id to merge to")
	case len(q.FromEntityIDs) == 0:
		return api.Errorf(api.Invalid, "from_entity_ids: missing entity ids to merge from")
	case len(q.FromEntityIDs) > maxMerge:
		return api.Errorf(api.Invalid, "from_entity_ids: more than %d", maxMerge)
	case slices.Contains(q.FromEntityIDs, q.ToEntityID):
		return api.Errorf(api.Invalid, "to_entity_id: should not be present in from_entity_ids")
	}
	return nil
}

// merge is a merge on its way.
type merge struct {
	store *Store
	ns    string
	to    string
	keep  []string // identifiers of aliases
	alone bool     // one entity is merged
	now   time.Time
}

// judge refuses a merge before anything of it is done.
func (m *merge) judge(ctx context.Context, from []string) error {
	to, err := m.entity(reading(ctx, m.store.Store), m.to, "to_entity_id: entity id to merge to is invalid")
	if err != nil {
		return err
	}
	all := Entity{Aliases: slices.Clone(to.Aliases), Merged: to.Merged, Hops: to.Hops}
	for _, id := range from {
		e, err := m.entity(reading(ctx, m.store.Store), id, "from_entity_ids: entity id to merge from is invalid")
		if err != nil {
			return err
		}
		if _, err := m.join(&all, e); err != nil {
			return err
		}
	}
	return nil
}

func (m *merge) entity(read func(string) (store.Entry, error), id, refusal string) (*Entity, error) {
	if !isID(id) {
		return nil, api.Errorf(api.Invalid, "%s", refusal)
	}
	e, err := get[Entity](read, key{m.ns, id}.entity())
	if err == nil && (e == nil || e.Into != "") {
		err = api.Errorf(api.Invalid, "%s", refusal)
	}
	return e, err
}

// join gives an entity what another has: aliases, and what has become of it. It answers
// which aliases are given up.
func (m *merge) join(to, from *Entity) (dropped []AliasRef, err error) {
	if from.Disabled {
		return nil, &api.Error{Kind: api.Invalid, Message: "from_entity_ids: an entity is disabled, and merging it would let its tokens be used", Hint: "delete it, or enable it first"}
	}
	for _, a := range from.Aliases {
		clash := to.aliasOf(a.Accessor)
		if clash == nil {
			to.Aliases = append(to.Aliases, a)
			continue
		}
		keepOld, keepNew := slices.Contains(m.keep, clash.ID), slices.Contains(m.keep, a.ID)
		switch {
		case !m.alone:
			return nil, &api.Error{Kind: api.Invalid, Message: "from_entity_ids: some of the entities have aliases of the same mount", Hint: "merge them one by one, with conflicting_alias_ids_to_keep"}
		case keepOld == keepNew:
			return nil, api.Errorf(api.Invalid, "conflicting_alias_ids_to_keep: both entities have an alias of the mount %s: name the one of the two that is to stay", a.Accessor)
		case keepOld:
			dropped = append(dropped, a)
		default:
			dropped = append(dropped, *clash)
			*clash = a
		}
	}
	to.Merged = append(append(slices.Clip(to.Merged), from.ID), from.Merged...)
	to.Hops = max(to.Hops, from.Hops+1)
	switch {
	case len(to.Aliases) > maxAliases:
		return nil, api.Errorf(api.Invalid, "to_entity_id: the entity would have more than %d aliases", maxAliases)
	case len(to.Merged) > maxMerged, to.Hops > maxHops:
		return nil, api.Errorf(api.Invalid, "to_entity_id: more than %d entities would have become this one", maxMerged)
	}
	return dropped, nil
}

// one merges one entity. The memberships come first, so that there is no moment at which
// a group's policies, what they deny among it, are not in force. What it is put into meanwhile
// follows as its rows are cleared away.
func (m *merge) one(c *api.Call, id string) error {
	from, ctx := key{m.ns, id}, context.WithoutCancel(c)
	if err := m.bring(ctx, from); err != nil {
		return err
	}
	left := &remains{Kind: ofEntity}
	var replaced []AliasRef // of the entity that stays
	_, err := store.Update(ctx, m.store.Store, func(tx *store.Tx) error {
		to, err := m.entity(tx.Get, m.to, "to_entity_id: entity id to merge to is invalid")
		if err != nil {
			return err
		}
		e, err := m.entity(tx.Get, id, "from_entity_ids: entity id to merge from is invalid")
		if err != nil {
			return err
		}
		dropped, err := m.join(to, e)
		if err == nil {
			err = m.write(tx, to, e, dropped)
		}
		if err != nil {
			return err
		}
		replaced = slices.DeleteFunc(dropped, func(a AliasRef) bool { return slices.Contains(e.Aliases, a) })
		return later(tx, from, left, m.now)
	})
	if err != nil {
		return err
	}
	for _, a := range replaced {
		if err := m.store.quit(ctx, key{m.ns, m.to}, a.Accessor, from.in()); err != nil {
			return err
		}
	}
	return m.store.clear(ctx, from, left, m.now)
}

// write writes what join has decided.
func (m *merge) write(tx *store.Tx, to, from *Entity, dropped []AliasRef) error {
	for _, a := range dropped {
		tx.Delete(aliasID(m.ns, a.ID))
		tx.Delete(aliasKey(m.ns, a.Accessor, a.Name))
	}
	for _, ref := range from.Aliases {
		if slices.Contains(dropped, ref) {
			continue
		}
		a, err := get[aliasRow](tx.Get, aliasKey(m.ns, ref.Accessor, ref.Name))
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		a.From, a.EntityID, a.Updated, a.Met = append(a.From, from.ID), to.ID, m.now, false
		if err := put(tx, a.key(m.ns), a); err != nil {
			return err
		}
	}
	tx.Delete(entityName(m.ns, from.Name))
	tx.Delete(key{m.ns, from.ID}.used())
	if err := put(tx, key{m.ns, from.ID}.entity(), &Entity{Into: to.ID, Revocations: from.Revocations - to.Revocations}); err != nil {
		return err
	}
	to.Updated, to.Met = m.now, false
	return put(tx, key{m.ns, to.ID}.entity(), to)
}

// perBequest is how many memberships one commit gives to another entity: with each it writes the group's row.
const perBequest = 3

// bring makes the entity that stays a member of the groups of one that is merged.
func (m *merge) bring(ctx context.Context, from key) error {
	rows, err := m.store.Store.List(ctx, keysOnly(from.in()))
	if err != nil {
		return err
	}
	for part := range slices.Chunk(rows, perBequest) {
		_, err := store.Update(ctx, m.store.Store, func(tx *store.Tx) error {
			to, err := m.entity(tx.Get, m.to, "to_entity_id: entity id to merge to is invalid")
			if err != nil {
				return err
			}
			e, err := m.entity(tx.Get, from.id, "from_entity_ids: entity id to merge from is invalid")
			if err != nil {
				return err
			}
			comes := func(accessor string) bool {
				a, clash := e.aliasOf(accessor), to.aliasOf(accessor)
				return a != nil && (clash == nil || slices.Contains(m.keep, a.ID))
			}
			for _, row := range part {
				if err := m.store.bequeath(tx, linkAt(from, row.Key), key{m.ns, m.to}, comes); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// linkAt is the membership of an entity whose row, on the entity's side, has a key.
func linkAt(member key, at string) link {
	ns, id, _ := strings.Cut(at[len(member.in()):], "/")
	return link{group: key{ns, id}, member: member, kind: ofEntity}
}

// bequeath gives another entity a membership that is there and counts. One by an auth method's word it gives only
// where the alias of that mount comes along. The group's row is written, so that who changes the members of
// a group at the same moment sees this one.
func (s *Store) bequeath(tx *store.Tx, l link, heir key, comes func(accessor string) bool) error {
	_, at := l.rows()
	row, err := tx.Get(at)
	if err != nil || !row.Exists() {
		return err
	}
	g, err := get[Group](tx.Get, l.group.group())
	switch {
	case s.gone(err):
		return nil
	case err != nil || g == nil || string(row.Value) != g.stamp():
		return err
	case g.Type == external && (g.Alias == nil || !comes(g.Alias.Accessor)):
		return nil
	}
	mine := link{group: l.group, member: heir, kind: ofEntity}
	_, at = mine.rows()
	have, err := tx.Get(at)
	if err != nil || have.Exists() && string(have.Value) == g.stamp() {
		return err
	}
	mine.put(tx, g.stamp())
	return put(tx, l.group.group(), g)
}

// inherited gives a membership that an entity came to while it was merged to the one that it has become.
func (s *Store) inherited(tx *store.Tx, l link) error {
	if l.kind != ofEntity {
		return nil
	}
	was, err := get[Entity](tx.Get, l.member.entity())
	if err != nil || was == nil || was.Into == "" {
		return err
	}
	e, _, err := follow(tx.Get, l.member)
	if err != nil || e == nil {
		return err
	}
	var failed error
	err = s.bequeath(tx, l, key{l.member.namespace, e.ID}, func(accessor string) bool {
		ref := e.aliasOf(accessor)
		if ref == nil {
			return false
		}
		a, err := get[aliasRow](tx.Get, aliasKey(l.member.namespace, ref.Accessor, ref.Name))
		failed = err
		return err == nil && a != nil && slices.Contains(a.From, l.member.id)
	})
	return errors.Join(err, failed)
}
