package lease

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// BrowseRequest asks for the first parts of lease ids.
type BrowseRequest struct {
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// BelowRequest asks for the parts of lease ids behind a path.
type BelowRequest struct {
	Prefix string `path:"prefix"` // Path of the leases.
	After  string `json:"after"`  // Only names that sort behind this one.
	Limit  int    `json:"limit"`  // At most so many names; 0: all.
}

// Browse names the mounts that have leases.
func (s *Store) Browse(c *api.Call, q *BrowseRequest) (*api.Keys, error) {
	return s.BrowseBelow(c, &BelowRequest{After: q.After, Limit: q.Limit})
}

// BrowseBelow names the leases directly below a path, tokens too, and the paths
// that have further ones.
func (s *Store) BrowseBelow(c *api.Call, q *BelowRequest) (*api.Keys, error) {
	dir := strings.TrimSuffix(q.Prefix, "/")
	if dir != "" {
		dir += "/"
	}
	names, err := store.Children(c, s.Store, rowKey(c.Namespace.ID, dir), q.After, q.Limit)
	if err != nil {
		return nil, err
	}
	more, err := s.tokenNames(c, c.Namespace.ID, dir, c.Now)
	if err != nil {
		return nil, err
	}
	for _, name := range more {
		if name > q.After {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if q.Limit > 0 && len(names) > q.Limit {
		names = names[:q.Limit]
	}
	return &api.Keys{Keys: names}, nil
}

// shown reports whether a token appears among the leases. A wrapping token stands
// for an answer, not for a caller.
func shown(t *token.Token) bool { return !t.Wrapping() && strings.HasPrefix(t.Path, "auth/") }

// tokenNames are the names that a directory of leases has for tokens.
func (s *Store) tokenNames(ctx context.Context, nsID, dir string, now time.Time) ([]string, error) {
	const auth = "auth/"
	if dir != "" && !strings.HasPrefix(dir, auth) {
		return nil, nil
	}
	found := map[string]bool{}
	err := s.Tokens.Each(ctx, nsID, func(t *token.Token) error {
		if !shown(t) || !t.Alive(now) {
			return nil
		}
		rest, below := strings.CutPrefix(t.Path+"/h"+t.ID+suffix(nsID), dir)
		if below {
			name, _, deeper := strings.Cut(rest, "/")
			if deeper {
				name += "/"
			}
			found[name] = true
		}
		if dir == "" {
			return errEnough // the one name that tokens have there
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	return names, nil
}

// tokenLease is the token that a lease id names; nil when it names none that is
// alive.
func (s *Store) tokenLease(ctx context.Context, nsID, id string, now time.Time) (*token.Token, error) {
	path, tail := cut(id)
	tail, ours := strings.CutSuffix(tail, suffix(nsID))
	tail, isToken := strings.CutPrefix(tail, "h")
	if !ours || !isToken || tail == "" || !strings.HasPrefix(path, "auth/") {
		return nil, nil
	}
	t, err := s.Tokens.ByID(ctx, nsID, tail)
	if err != nil || t == nil || t.Path != path || !shown(t) || !t.Alive(now) {
		return nil, err
	}
	return t, nil
}

// StuckRequest asks for irrevocable leases.
type StuckRequest struct {
	Type     string `json:"type" default:"irrevocable"` // Kind of leases; only irrevocable is known.
	Children bool   `json:"include_child_namespaces"`   // Those of namespaces below this one too.
	Limit    string `json:"limit" default:"10000"`      // At most so many; none: all.
}

// CountRequest asks how many irrevocable leases there are.
type CountRequest struct {
	Type     string `json:"type" default:"irrevocable"` // Kind of leases; only irrevocable is known.
	Children bool   `json:"include_child_namespaces"`   // Those of namespaces below this one too.
}

// Stuck is a lease that could not be taken back.
type Stuck struct {
	LeaseID string `json:"lease_id"`
	MountID string `json:"mount_id"` // accessor of the mount
	Error   string `json:"error"`    // why
}

// StuckAnswer lists leases that could not be taken back.
type StuckAnswer struct {
	LeaseCount int      `json:"lease_count"` // of all, also beyond the limit
	Leases     []*Stuck `json:"leases"`
}

// CountAnswer counts leases that could not be taken back.
type CountAnswer struct {
	Counts     map[string]int `json:"counts"` // by accessor of the mount
	LeaseCount int            `json:"lease_count"`
}

// ListIrrevocable lists the leases that have ended and that their engines do not
// take back. They are tried on.
func (s *Store) ListIrrevocable(c *api.Call, q *StuckRequest) (*StuckAnswer, error) {
	limit, err := strconv.Atoi(q.Limit)
	if q.Limit != "none" && (err != nil || limit <= 0) {
		return nil, api.Errorf(api.Invalid, "limit: must be a whole number above 0, or none")
	}
	a := &StuckAnswer{Leases: []*Stuck{}}
	err = s.eachStuck(c, q.Type, q.Children, func(l *Stuck) {
		if a.LeaseCount++; q.Limit == "none" || len(a.Leases) < limit {
			a.Leases = append(a.Leases, l)
		}
	})
	if err == nil && len(a.Leases) < a.LeaseCount {
		c.Warn("There are more irrevocable leases than the limit. Ask with another limit, or with limit=none, for the others.")
	}
	return a, err
}

// Count counts the leases that have ended and that their engines do not take back.
func (s *Store) Count(c *api.Call, q *CountRequest) (*CountAnswer, error) {
	a := &CountAnswer{Counts: map[string]int{}}
	err := s.eachStuck(c, q.Type, q.Children, func(l *Stuck) {
		a.Counts[l.MountID]++
		a.LeaseCount++
	})
	return a, err
}

func (s *Store) eachStuck(c *api.Call, kind string, children bool, visit func(*Stuck)) error {
	if kind != "irrevocable" {
		return &api.Error{Kind: api.Invalid, Message: "type: only irrevocable is known", Hint: "list other leases with sys/leases/lookup"}
	}
	return s.stuckBelow(c, c.Namespace.ID, children, visit)
}

func (s *Store) stuckBelow(ctx context.Context, nsID string, children bool, visit func(*Stuck)) error {
	if err := s.stuckIn(ctx, nsID, visit); err != nil || !children {
		return err
	}
	below, err := s.Namespaces.Children(ctx, nsID)
	if err != nil {
		return err
	}
	for _, n := range below {
		if !n.Live() || n.Sealed {
			continue
		}
		if err := s.stuckBelow(ctx, n.ID, true, visit); err != nil {
			return err
		}
	}
	return nil
}

// stuckIn visits the irrevocable leases of one namespace.
func (s *Store) stuckIn(ctx context.Context, nsID string, visit func(*Stuck)) error {
	r := store.Prefix(stuckKey(nsID, ""))
	r.Limit, r.KeysOnly = 256, true
	for after := ""; ; {
		es, _, next, err := s.list(ctx, r, after)
		if err != nil {
			return err
		}
		for _, e := range es {
			id := e.Key[len(stuckKey(nsID, "")):]
			l, err := s.load(ctx, nsID, id)
			if errors.Is(err, store.ErrCorrupt) {
				visit(&Stuck{LeaseID: id, Error: "the row of the lease is damaged"})
				continue
			}
			if err != nil {
				return err
			}
			if l == nil {
				continue
			}
			m, err := s.lessor(ctx, nsID, l.MountID)
			if err != nil {
				return err
			}
			accessor := l.MountID
			if m.entry != nil {
				accessor = m.entry.Accessor
			}
			visit(&Stuck{LeaseID: l.ID, MountID: accessor, Error: l.Failure})
		}
		if next == "" {
			return nil
		}
		after = next
	}
}
