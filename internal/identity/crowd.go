package identity

import (
	"context"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// Who manages a namespace can put people of the namespaces above into its groups, as many
// as they like. What that costs, it costs there alone: somebody who is in more groups of a
// namespace than are read can do nothing in it, or below, and goes on elsewhere.

// Bounds of the groups of one person, those of their groups among them.
const (
	maxGroups  = 4096 // of the person's own namespace, and of all others together
	maxForeign = 1024 // of each other namespace
)

// crowd is the namespaces, but the person's own, in which they have too many groups.
type crowd struct {
	in  map[string]int // how many groups, by namespace
	all bool           // of all others together
}

func (c *crowd) has(ns string) bool { return c.all || c.in[ns] > maxForeign }

// some reports whether there is one.
func (c *crowd) some() bool {
	if c.all {
		return true
	}
	for _, n := range c.in {
		if n > maxForeign {
			return true
		}
	}
	return false
}

// Crowded reports whether the person is in more groups of a namespace than are read, so
// that it is not known what they may do there. lineage is that namespace and those above it.
func (p *Person) Crowded(lineage func() ([]string, error)) (bool, error) {
	if !p.crowd.some() {
		return false, nil
	}
	ids, err := lineage()
	if err != nil {
		return false, err
	}
	for _, ns := range ids {
		if ns == p.namespace {
			break
		}
		if p.crowd.has(ns) {
			return true, nil
		}
	}
	return false, nil
}

// walk finds the groups of one person.
type walk struct {
	store  *Store
	reader store.Reader
	home   string         // namespace of the person
	who    *Entity        // the person; nil: a group
	own    int            // groups of it
	others int            // groups of others
	found  map[string]int // groups, by namespace
	crowd  crowd
	sealed bool // there are more in a sealed namespace
}

func newWalk(s *Store, r store.Reader, home string) *walk {
	return &walk{store: s, reader: r, home: home, found: map[string]int{}, crowd: crowd{in: map[string]int{}}}
}

// groups are the groups that an entity is in, and those that they are in.
func (w *walk) groups(ctx context.Context, e *Entity) ([]membership, error) {
	w.who = e
	found, err := w.links(ctx, key{w.home, e.ID}, true)
	if err != nil {
		return nil, err
	}
	seen := map[key]bool{}
	var out []membership
	for i := 0; ; i++ {
		for _, m := range found {
			k := key{m.namespace, m.group.ID}
			if seen[k] {
				continue
			}
			if seen[k] = true; w.admits(m.namespace) {
				out = append(out, m)
			}
		}
		if w.own > maxGroups {
			return nil, fmt.Errorf("identity: an entity is in more than %d groups of its own namespace", maxGroups)
		}
		if i >= len(out) {
			break
		}
		if found, err = w.links(ctx, key{out[i].namespace, out[i].group.ID}, false); err != nil {
			return nil, err
		}
	}
	kept := out[:0]
	for _, m := range out {
		if m.namespace == w.home || !w.crowd.has(m.namespace) {
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// admits counts a group of a namespace, and reports whether it is one of those that are read.
func (w *walk) admits(ns string) bool {
	if ns == w.home {
		w.own++
		return true
	}
	w.others++
	w.found[ns]++
	w.crowd.in[ns] = max(w.crowd.in[ns], w.found[ns])
	w.crowd.all = w.crowd.all || w.others > maxGroups
	return !w.crowd.has(ns)
}

// links are the groups that have a member. Those of the person's own namespace are all
// read, of others no more than are of use.
func (w *walk) links(ctx context.Context, member key, entity bool) ([]membership, error) {
	rows, cut, err := w.list(ctx, member.in())
	if err != nil || !cut {
		return w.read(ctx, member, rows, entity, err)
	}
	w.crowd.all = true
	rows = nil
	if member.namespace == w.home {
		rows, _, err = w.list(ctx, member.in()+w.home+"/")
	}
	return w.read(ctx, member, rows, entity, err)
}

// list reads the first rows of memberships, and whether there may be more.
func (w *walk) list(ctx context.Context, prefix string) (rows []store.Entry, cut bool, err error) {
	r := store.Prefix(prefix)
	r.Limit = 2*maxGroups + 2
	rows, err = w.reader.List(ctx, r)
	return rows, len(rows) == r.Limit, w.store.passable(err, &w.sealed)
}

// read reads the groups of memberships, but of crowded namespaces.
func (w *walk) read(ctx context.Context, member key, rows []store.Entry, entity bool, err error) ([]membership, error) {
	if err != nil {
		return nil, err
	}
	there := map[string]int{}
	for _, e := range rows {
		ns, _, _ := strings.Cut(e.Key[len(member.in()):], "/")
		if there[ns]++; ns != w.home {
			w.crowd.in[ns] = max(w.crowd.in[ns], there[ns])
		}
	}
	var out []membership
	for _, e := range rows {
		ns, id, _ := strings.Cut(e.Key[len(member.in()):], "/")
		if ns != w.home && w.crowd.has(ns) {
			continue
		}
		g, err := get[Group](reading(ctx, w.reader), key{ns, id}.group())
		if err = w.store.passable(err, &w.sealed); err != nil {
			return nil, err
		}
		if by := string(e.Value); g != nil && (!entity || by == g.stamp() && w.who.known(g)) {
			out = append(out, membership{namespace: ns, group: g, direct: entity, by: by})
		}
	}
	return out, nil
}

// known reports whether somebody says of the entity that it is in a group: for an external one that is the auth method by
// whose alias it is known. An alias that was taken away says nothing more.
func (e *Entity) known(g *Group) bool {
	return g.Type != external || g.Alias != nil && e.aliasOf(g.Alias.Accessor) != nil
}
