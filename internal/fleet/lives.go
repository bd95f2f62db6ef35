package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// patience is how long a life of a node may say nothing before another life at its place
// counts as its successor: a beat, and half of one for a busy machine.
const patience = beatEvery * 3 / 2

// Node is a node as people know it: a place, a machine's name and an address, with the
// process that is there now and those that were there before it.
type Node struct {
	Member
	Earlier []Member // its earlier lives that have left no word, the newest first
}

// Nodes are all nodes that were heard of within a day, this one included, in the order of
// their names. A process that was killed and started again is one node.
func (f *Fleet) Nodes(ctx context.Context) ([]Node, error) {
	members, err := f.Members(ctx)
	if err != nil {
		return nil, err
	}
	members = slices.DeleteFunc(members, func(m Member) bool { return m.Ended && m.ID != f.ID })
	var out []Node
	earlier := map[string][]Member{}
	for i := range members {
		if next := f.successor(&members[i], members); next != nil {
			earlier[next.ID] = append(earlier[next.ID], members[i])
			continue
		}
		out = append(out, Node{Member: members[i]})
	}
	for i := range out {
		out[i].Earlier = earlier[out[i].ID]
		slices.SortFunc(out[i].Earlier, func(a, b Member) int { return b.Seen.Compare(a.Seen) })
	}
	return out, nil
}

// successor is the life that has taken the place of one that has ended, or nil. Two nodes
// that live are never taken for one, whatever they call themselves: what counts is that the
// one was silent since the other began, and for longer than a living one is. Both times are
// of one machine's clock.
func (f *Fleet) successor(m *Member, all []Member) *Member {
	var newest *Member
	for i := range all {
		n := &all[i]
		if n.ID != m.ID && f.follows(n, m) && (newest == nil || n.Started.After(newest.Started)) {
			newest = n
		}
	}
	return newest
}

// follows reports whether a life n has begun at the place of m after m had ended.
func (f *Fleet) follows(n, m *Member) bool {
	if f.Alone { // nobody else can have the store open
		return n.ID == f.ID
	}
	return m.Name != "" && m.Name == n.Name && m.Address == n.Address && m.Seen.Before(n.Started) && n.Seen.Sub(m.Seen) > patience
}

// sighting is when this node first saw a node's row at a revision. A living node writes its row anew within a beat, whatever is
// there and whatever its clock says.
type sighting struct {
	rev     store.Rev
	since   time.Time
	watched bool // the row was another a moment before, so that it was written at about that time
}

// rightClock is how far apart two clocks may seem to be that are right.
const rightClock = 3 * beatEvery

// clock is how far the clock of the node whose row it is was ahead when the row was written.
func (s *sighting) clock(m *Member) time.Duration {
	if off := m.Seen.Sub(s.since).Round(beatEvery); s.watched && off.Abs() >= rightClock {
		return off
	}
	return 0
}

// rows reads the nodes' rows. Of those that are damaged it returns the keys, and notes how
// long they have been so.
func (f *Fleet) rows(ctx context.Context) (members []Member, es, damaged []store.Entry, err error) {
	all, err := f.Store.List(ctx, store.Prefix(nodePrefix))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, e := range all {
		m, err := parseMember(e)
		if err != nil {
			damaged = append(damaged, e)
			continue
		}
		members, es = append(members, m), append(es, e)
	}
	news := f.note(all)
	for i := range members {
		members[i].Clock = f.sighting(es[i]).clock(&members[i])
	}
	for _, e := range damaged {
		if slices.Contains(news, e.Key) {
			f.Log.Warn("a node's row cannot be read; a living node writes it anew within ten seconds", slog.String("key", e.Key))
		}
	}
	return members, es, damaged, nil
}

// note remembers since when rows are as they are. It returns the keys of those that were not so before.
func (f *Fleet) note(all []store.Entry) (news []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, before := f.Now(), f.sightings
	awake := now.Sub(f.looked) <= patience
	f.looked, f.sightings = now, make(map[string]sighting, len(all))
	for _, e := range all {
		was, ok := before[e.Key]
		if ok && was.rev == e.Rev {
			f.sightings[e.Key] = was
			continue
		}
		f.sightings[e.Key] = sighting{e.Rev, now, ok && awake}
		news = append(news, e.Key)
	}
	return news
}

// sighting is since when a row is known to be as it is: since now, where it is not.
func (f *Fleet) sighting(e store.Entry) *sighting {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, ok := f.sightings[e.Key]
	if !ok || was.rev != e.Rev {
		return &sighting{rev: e.Rev, since: f.Now()}
	}
	return &was
}

// silentFor is for how long a row is known to have been left as it is.
func (f *Fleet) silentFor(e store.Entry) time.Duration { return f.Now().Sub(f.sighting(e).since) }

// dead reports whether a node was not heard of for long enough by its own clock, which may be wrong, and by this node's watch too.
func (f *Fleet) dead(m *Member, e store.Entry) bool {
	return m.Lost(f.Now()) && f.silentFor(e) > lostAfter
}

// living are the members for a decision that rests on every living one. A damaged row may be of a living node, until it has been left alone
// for as long as that of a dead one.
func (f *Fleet) living(ctx context.Context) ([]Member, error) {
	members, es, damaged, err := f.rows(ctx)
	if err != nil {
		return nil, err
	}
	var out []Member
	for i := range members {
		if !f.dead(&members[i], es[i]) {
			out = append(out, members[i])
		}
	}
	var keys []string
	for _, e := range damaged {
		if f.silentFor(e) <= lostAfter && e.Key != nodePrefix+f.ID {
			keys = append(keys, e.Key)
		}
	}
	if len(keys) > 0 {
		return nil, fmt.Errorf("%w: %s, which may be of a living node: it counts no more once it was left alone for %v", store.ErrCorrupt, strings.Join(keys, ", "), lostAfter)
	}
	return out, nil
}
