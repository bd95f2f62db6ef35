package quota

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// maxLeases is the highest bound on leases.
const maxLeases = 1e12

func leaseRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.List, "quotas/lease-count", (*Store).listCounts, api.RootOnly),
		api.Handle(api.Read, "quotas/lease-count/{name}", (*Store).readCount, api.RootOnly),
		api.Upsert("quotas/lease-count/{name}", (*Store).writeCount, (*Store).hasCount, api.RootOnly),
		api.Handle(api.Delete, "quotas/lease-count/{name}", (*Store).deleteCount, api.RootOnly),
	}
}

// CountRequest makes a bound on how many leases and service tokens there are at a time, or
// replaces it.
type CountRequest struct {
	NameRequest
	PlaceFields
	Max     int64  `json:"max_leases"`              // How many leases and service tokens there may be.
	GroupBy string `json:"group_by" default:"none"` // Whose are counted together: none, which is all, or entity_then_none, which is each identity's, and those without one all together.
}

// ReadCountRequest asks for a bound on how many leases and service tokens there are.
type ReadCountRequest struct {
	NameRequest
	EntityID string `json:"entity_id" audit:"clear"` // Tell how many this identity has, where each is counted.
}

// CountSettings are what a bound on how many leases and service tokens there are says.
type CountSettings struct {
	PlaceAnswer
	Max     int64  `json:"max_leases"`
	GroupBy string `json:"group_by"`
}

// CountAnswer is a bound on how many leases and service tokens there are.
type CountAnswer struct {
	CountSettings
	Counter int64 `json:"counter"` // How many there are; where each identity is counted, those without one, or those of the one that was asked about.
}

func placeOfCount(q *Count) *place { return &q.place }

// listCounts lists the bounds on how many leases there are, with what each says. How many there are is told by reading it.
func (s *Store) listCounts(c *api.Call, _ *api.None) (*api.Keys, error) {
	return listed(s, c, countPrefix, placeOfCount, countSettings)
}

func countSettings(name, path string, n *Count) *CountSettings {
	return &CountSettings{PlaceAnswer{name, "lease-count", path, n.Role, n.Inheritable}, n.Max, n.group()}
}

// readCount answers a bound on how many leases there are, and how many there are.
func (s *Store) readCount(c *api.Call, q *ReadCountRequest) (*CountAnswer, error) {
	n, path, err := read(s, c, countPrefix+string(q.Name), placeOfCount)
	if err != nil {
		return nil, err
	}
	left, err := s.left(c, n, q.EntityID)
	if err != nil {
		return nil, err
	}
	return &CountAnswer{*countSettings(string(q.Name), path, n), n.Max - left}, nil
}

// hasCount reports whether there is a bound of that name.
func (s *Store) hasCount(c *api.Call, q *CountRequest) (bool, error) {
	e, err := s.Store.Get(c, countPrefix+string(q.Name))
	return e.Exists(), err
}

// writeCount makes a bound on how many leases and service tokens there are, or replaces
// it. Those that exist are counted too: in the background, where there are many. More of
// them than the bound allows stay, and none is made until enough of them are gone.
func (s *Store) writeCount(c *api.Call, q *CountRequest) (*api.None, error) {
	if q.Max < 1 || q.Max > maxLeases {
		return nil, api.Errorf(api.Invalid, "max_leases: must be positive, and at most %.0f", maxLeases)
	}
	if q.GroupBy != byNone && q.GroupBy != byEntityThenNone {
		return nil, api.Errorf(api.Invalid, "group_by: must be none or entity_then_none")
	}
	p, err := s.placeOf(c, &q.PlaceFields)
	if err == nil {
		err = s.doubt(c, p)
	}
	if err != nil {
		return nil, err
	}
	name, id := string(q.Name), api.NewUUID()
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		if err := vacant(tx, s.Store, countPrefix, name, p, placeOfCount); err != nil {
			return err
		}
		next := &Count{ID: id, place: *p, Max: q.Max, GroupBy: q.GroupBy}
		old, err := storedCount(tx, name)
		if err != nil {
			return err
		}
		before := int64(0)
		if old != nil {
			next.ID, before = old.ID, old.Max
		}
		if err = resize(tx, next.ID, q.Max-before); err == nil {
			err = put(tx, countPrefix+name, next)
		}
		if err == nil {
			err = s.changed(tx, id)
		}
		return err
	})
	return nil, err
}

// storedCount is a bound as part of a transaction; nil when there is none, or its row
// is damaged.
func storedCount(tx *store.Tx, name string) (*Count, error) {
	e, err := tx.Get(countPrefix + name)
	if err == nil && e.Exists() {
		var q *Count
		if q, err = store.DecodeJSON[Count](e); err == nil {
			return q, nil
		}
	}
	if corrupt(err) {
		err = nil
	}
	return nil, err
}

// changed has everything counted by what holds from this transaction on.
func (s *Store) changed(tx *store.Tx, id string) error {
	if err := tx.Touch(guardKey); err != nil {
		return err
	}
	return schedule.Add(tx, schedule.Item{Namespace: s.Namespaces.Root().ID, At: s.Now(), Kind: kindRecount, ID: id})
}

// deleteCount removes a bound on how many leases there are.
func (s *Store) deleteCount(c *api.Call, q *NameRequest) (*api.None, error) {
	return nil, s.drop(c, string(q.Name), func(*Count) bool { return true })
}
