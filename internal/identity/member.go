package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of groups within groups.
const (
	maxMembers = 20_000 // that one request names
	maxNesting = 16     // groups above one another, from the lowest to the highest
	maxNested  = 2000   // groups above or below one, in all
)

// member is a member of a group as the group has it.
type member struct {
	link
	stamp string
}

// members are all of a group, also those who are in it by an alias that it no longer has.
func (s *Store) members(ctx context.Context, group key) ([]member, error) {
	r := store.Prefix(group.members())
	r.Limit = pageRows
	var out []member
	for {
		rows, err := s.Store.List(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, e := range rows {
			kind, rest, _ := strings.Cut(e.Key[len(group.members()):], "/")
			ns, id, _ := strings.Cut(rest, "/")
			out = append(out, member{link{group: group, member: key{ns, id}, kind: kind}, string(e.Value)})
		}
		if len(rows) < r.Limit {
			return out, nil
		}
		r = r.After(rows[len(rows)-1].Key)
	}
}

// roster is what is to become of a group's members.
type roster struct {
	store  *Store
	group  key
	leave  []link
	join   []link
	nested bool // groups are among them
}

// roster compares the members that a request asks for with those that there are. They
// are of the group's namespace, or one above it.
func (s *Store) roster(tx *store.Tx, group key, q *GroupRequest) (*roster, error) {
	r := &roster{store: s, group: group}
	if q.MemberEntityIDs == nil && q.MemberGroupIDs == nil {
		return r, nil
	}
	if len(q.MemberEntityIDs)+len(q.MemberGroupIDs) > maxMembers {
		return nil, api.Errorf(api.Invalid, "member_entity_ids and member_group_ids: more than %d", maxMembers)
	}
	have, err := s.members(tx.Context(), group)
	if err != nil {
		return nil, err
	}
	for _, side := range []struct {
		kind string
		want []string
	}{{ofEntity, q.MemberEntityIDs}, {ofGroup, q.MemberGroupIDs}} {
		if side.want != nil {
			if err := r.compare(tx.Context(), have, side.kind, side.want); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// compare finds who of one kind is to leave and to join.
func (r *roster) compare(ctx context.Context, have []member, kind string, want []string) error {
	missing := map[string]bool{}
	for _, id := range want {
		if id = strings.TrimSpace(id); id != "" {
			missing[id] = true
		}
	}
	for _, m := range have {
		switch {
		case m.kind != kind:
		case missing[m.member.id] && m.stamp == "":
			delete(missing, m.member.id)
		case m.stamp == "":
			r.leave = append(r.leave, m.link)
		}
	}
	above, err := r.store.Lineage(ctx, r.group.namespace)
	if err != nil {
		return err
	}
	for id := range missing {
		ns, err := r.store.home(ctx, above, kind, id)
		if err != nil {
			return err
		}
		if ns == "" {
			return api.Errorf(api.Invalid, "member_%s_ids: one of them is no %s of this namespace or one above it", kind, kind)
		}
		r.join = append(r.join, link{group: r.group, member: key{ns, id}, kind: kind})
		r.nested = r.nested || kind == ofGroup
	}
	slices.SortFunc(r.join, func(a, b link) int { return strings.Compare(a.member.id, b.member.id) })
	return nil
}

// home is the first of some namespaces that has an entity or group; empty: none has.
func (s *Store) home(ctx context.Context, namespaces []string, kind, id string) (string, error) {
	for _, ns := range namespaces {
		found, err := exists(reading(ctx, s.Store), key{ns, id}, kind)
		if err != nil || found {
			return ns, err
		}
	}
	return "", nil
}

func exists(read func(string) (store.Entry, error), k key, kind string) (bool, error) {
	if !isID(k.id) {
		return false, nil
	}
	if kind == ofGroup {
		g, err := get[Group](read, k.group())
		return g != nil, err
	}
	e, err := get[Entity](read, k.entity())
	return e != nil && e.Into == "", err
}

// next makes some of the changes in a transaction that reads or writes the group's row.
func (r *roster) next(tx *store.Tx) error {
	if r.nested {
		if err := tx.Touch(nestingKey(r.group.namespace)); err != nil {
			return err
		}
	}
	n := perCommit
	for ; n > 0 && len(r.leave) > 0; n-- {
		r.leave[0].remove(tx)
		r.leave = r.leave[1:]
	}
	for ; n > 0 && len(r.join) > 0; n-- {
		if err := r.admit(tx, r.join[0]); err != nil {
			return err
		}
		r.join = r.join[1:]
	}
	return nil
}

// finish makes the rest of the changes. They go on when the caller goes.
func (r *roster) finish(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	for len(r.leave)+len(r.join) > 0 {
		var rest roster
		_, err := store.Update(ctx, r.store.Store, func(tx *store.Tx) error {
			rest = *r
			g, err := get[Group](tx.Get, r.group.group())
			switch {
			case err != nil:
				return err
			case g == nil:
				return api.Errorf(api.Conflict, "the group has been deleted meanwhile")
			}
			return rest.next(tx)
		})
		if err != nil {
			return err
		}
		*r = rest
	}
	return nil
}

// admit makes one membership, provided that the member is there at the commit too.
func (r *roster) admit(tx *store.Tx, l link) error {
	there, err := exists(tx.Get, l.member, l.kind)
	switch {
	case err != nil:
		return err
	case !there:
		return api.Errorf(api.Invalid, "member_%s_ids: one of them is no %s of this namespace or one above it", l.kind, l.kind)
	case l.kind == ofGroup:
		if err := r.store.checkNesting(tx.Context(), l); err != nil {
			return err
		}
	default:
		if err := byHand(tx, l.member); err != nil {
			return err
		}
	}
	l.put(tx, "")
	return nil
}

// byHand notes that an operator has made something of an entity.
func byHand(tx *store.Tx, k key) error {
	e, err := entityIn(tx, k.namespace, k.id)
	if err != nil || e == nil || !e.Met {
		return err
	}
	e.Met = false
	return put(tx, k.entity(), e)
}

func nestingKey(ns string) string { return ns + "/identity/nesting" }

func errCycle() error {
	return api.Errorf(api.Invalid, "member_group_ids: cyclic relationship: the group would be in itself")
}

// checkNesting refuses a group that would come to be in itself, and towers of groups. The
// transaction holds the guard that every nesting of groups in the namespace touches; a
// group's member is of its namespace or one above, so that no cycle is in two of them.
func (s *Store) checkNesting(ctx context.Context, l link) error {
	if l.group == l.member {
		return errCycle()
	}
	up, err := s.climb(ctx, l.group, s.groupsAbove, l.member)
	if err != nil {
		return err
	}
	down, err := s.climb(ctx, l.member, s.groupsBelow, l.group)
	if err != nil {
		return err
	}
	if up+down+2 > maxNesting {
		return api.Errorf(api.Invalid, "member_group_ids: groups can be nested at most %d deep", maxNesting)
	}
	return nil
}

// climb walks from a group in one direction and answers how many steps the longest way
// has. It fails where it meets the group that must not be there.
func (s *Store) climb(ctx context.Context, from key, next func(context.Context, key) ([]key, error), never key) (int, error) {
	height := map[key]int{from: 0}
	highest := 0
	for todo := []key{from}; len(todo) > 0; todo = todo[1:] {
		ks, err := next(ctx, todo[0])
		if err != nil {
			return 0, err
		}
		for _, k := range ks {
			if k == never {
				return 0, errCycle()
			}
			h := height[todo[0]] + 1
			if old, seen := height[k]; seen && old >= h {
				continue
			}
			height[k], highest = h, max(highest, h)
			todo = append(todo, k)
			if len(height) > maxNested || highest > maxNesting {
				return 0, api.Errorf(api.Invalid, "member_group_ids: groups can be nested at most %d deep, and %d in all", maxNesting, maxNested)
			}
		}
	}
	return highest, nil
}

func (s *Store) groupsAbove(ctx context.Context, k key) ([]key, error) {
	rows, err := s.Store.List(ctx, keysOnly(k.in()))
	if s.gone(err) {
		return nil, nil
	}
	var out []key
	for _, e := range rows {
		ns, id, _ := strings.Cut(e.Key[len(k.in()):], "/")
		out = append(out, key{ns, id})
	}
	return out, err
}

func (s *Store) groupsBelow(ctx context.Context, k key) ([]key, error) {
	prefix := k.members() + ofGroup + "/"
	rows, err := s.Store.List(ctx, keysOnly(prefix))
	var out []key
	for _, e := range rows {
		ns, id, _ := strings.Cut(e.Key[len(prefix):], "/")
		out = append(out, key{ns, id})
	}
	return out, err
}

func keysOnly(prefix string) store.Range {
	r := store.Prefix(prefix)
	r.KeysOnly = true
	return r
}
