// Package quota owns what callers may use of the server: how many requests they
// may make in a time, and how many leases and tokens they may have, by namespace, mount,
// path, role and identity.
//
// # What is stored
//
// In the root namespace, on the whole encrypted store:
//
//	root/quota/rate-limit/<name>   a limit on the rate of requests
//	root/quota/lease-count/<name>  a bound on how many leases and service tokens there are
//	root/quota/room/<id>/part/<n>  a part of what may still be made under such a bound
//	root/quota/room/<id>/debt      how many there are too many; only when there are
//	root/quota/of/<id>/<entity>    how many an identity has under a bound of each's; only when it has any
//	root/quota/config              what holds for all rate limits
//	root/quota/guard               touched by every change of a quota
//
// A quota names its namespace and mount by their identifiers, so that it follows
// them wherever they are moved. One whose mount or namespace is gone is not there
// any more, and its row is cleared away by the schedule.
//
// # Which quota a request meets
//
// One of each kind at most: the most specific. A role's quota goes before a
// path's, that before one whose path ends in *, of which the longest counts, that
// before the mount's, the namespace's, and those that namespaces above it let their
// children inherit, of which the nearest counts. Paths are compared in canonical form,
// and without regard to case, so that no spelling escapes.
//
// # Where it is counted
//
// The rate of requests is counted in the memory of each node by itself (Buckets): it
// protects the node, and a limit on a fleet of three is up to three times as
// high. This is the one thing that a node keeps between requests without the store
// behind it; it forgets it when it restarts.
//
// Leases and tokens are counted in the store, in the commits that make and remove them:
// exactly, for all nodes, and whatever is killed. Each bears the mark of the one quota that
// counts it. When a quota is made, changed or removed, the schedule has everything
// counted anew that is now another's.
package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Rows, in the root namespace.
const (
	prefix     = "root/quota/"
	ratePrefix = prefix + "rate-limit/"
	configKey  = prefix + "config"
	guardKey   = prefix + "guard"

	countPrefix = prefix + "lease-count/"
	roomsPrefix = prefix + "room/"
	eachPrefix  = prefix + "of/"
)

// maxQuotas bounds how many quotas there are of a kind.
const maxQuotas = 10_000

// Store keeps the quotas of all namespaces. It is safe for concurrent use.
type Store struct {
	Config
	plans   *store.Memo[struct{}, *Plan]
	buckets *Buckets
}

// Config is what a Store stands on.
type Config struct {
	Store      store.Store // the whole encrypted store
	Cache      *store.Cache
	Mounts     *mount.Mounts
	Namespaces *namespace.Registry
	Now        func() time.Time
	Log        *slog.Logger
	Damaged    *store.Quarantine // told which rows are damaged; nil: nobody is
}

// New is a store of quotas. It reads nothing.
func New(c Config) *Store {
	s := &Store{Config: c, buckets: NewBuckets(maxBuckets)}
	s.plans = store.NewMemo(c.Cache, 1, func(ctx context.Context, r store.Reader, _ struct{}) (*Plan, error) { return s.load(ctx, r) })
	return s
}

// place is what a quota is about.
type place struct {
	NamespaceID string `json:"ns"`
	MountID     string `json:"mount,omitempty"` // empty: the whole namespace
	Rest        string `json:"rest,omitempty"`  // path below the mount, canonical; empty: the whole mount
	Glob        bool   `json:"glob,omitempty"`  // whatever begins with Rest
	Role        string `json:"role,omitempty"`  // logins by it alone; empty: any
	Inheritable bool   `json:"inheritable,omitempty"`
}

// same reports whether two quotas of one kind would be about the same requests.
func (p *place) same(o *place) bool {
	return p.NamespaceID == o.NamespaceID && p.MountID == o.MountID && p.Glob == o.Glob &&
		policy.Fold(p.Rest) == policy.Fold(o.Rest) && policy.Fold(p.Role) == policy.Fold(o.Role)
}

// Rate is a limit on the rate of requests.
type Rate struct {
	ID   string `json:"id"` // new with every write, so that its counts begin anew
	Name string `json:"-"`
	place
	Rate      float64       `json:"rate"`               // requests
	Interval  time.Duration `json:"interval"`           // in which so many may be made
	Block     time.Duration `json:"block,omitempty"`    // how long who is over the limit is refused; 0: until there is room
	GroupBy   string        `json:"group_by,omitempty"` // whose requests are counted together; empty: byIP
	Secondary float64       `json:"secondary,omitempty"`
}

// Whose requests are counted together.
const (
	byIP             = "ip"               // those of a client's address
	byNone           = "none"             // all
	byEntityThenIP   = "entity_then_ip"   // those of an identity; of callers without one, by address
	byEntityThenNone = "entity_then_none" // those of an identity; of callers without one, all
)

// Settings hold for all rate limits.
type Settings struct {
	Exempt   []string `json:"exempt"`             // paths that no rate limit is about, in every namespace
	Absolute []string `json:"absolute,omitempty"` // such paths, from the root namespace
	Audit    bool     `json:"audit,omitempty"`    // write requests down that are refused for their rate
	Headers  bool     `json:"headers,omitempty"`  // tell in answers how much is left
}

// defaults are the settings of who has made none. They are the reference server's.
func defaults() *Settings {
	return &Settings{Exempt: []string{"sys/generate-recovery-token/attempt", "sys/generate-recovery-token/update", "sys/generate-root/attempt",
		"sys/generate-root/update", "sys/health", "sys/seal-status", "sys/unseal"}}
}

// load makes the plan of what is stored. A quota whose row is damaged limits
// nothing: what is kept is more than who may ask how often.
func (s *Store) load(ctx context.Context, r store.Reader) (*Plan, error) {
	p := newPlan()
	var damaged []string
	rates, err := store.SiftJSON(ctx, r, store.Prefix(ratePrefix), func(e store.Entry, q *Rate) {
		q.Name = strings.TrimPrefix(e.Key, ratePrefix)
		p.rates.add(&q.place, q)
	})
	if err != nil {
		return nil, fmt.Errorf("quota: read: %w", err)
	}
	counts, err := store.SiftJSON(ctx, r, store.Prefix(countPrefix), func(e store.Entry, q *Count) {
		q.Name = strings.TrimPrefix(e.Key, countPrefix)
		p.counts.add(&q.place, q)
	})
	if err != nil {
		return nil, fmt.Errorf("quota: read: %w", err)
	}
	guard, err := r.Get(ctx, guardKey)
	if err != nil && !corrupt(err) { // its value says nothing
		return nil, fmt.Errorf("quota: read: %w", err)
	}
	p.rev = guard.Rev
	e, err := r.Get(ctx, configKey)
	if err == nil && e.Exists() {
		p.settings, err = store.DecodeJSON[Settings](e)
	}
	switch {
	case corrupt(err) && e.Exists():
		p.settings, damaged = defaults(), append(damaged, configKey)
	case err != nil:
		return nil, fmt.Errorf("quota: read: %w", err)
	}
	p.settle()
	s.Damaged.Found(prefix, append(damaged, store.Keys(append(rates, counts...))...)...)
	return p, nil
}

// Plan is all quotas as they stand.
func (s *Store) Plan(ctx context.Context) (*Plan, error) { return s.plans.Get(ctx, struct{}{}) }

// put writes a row as part of a transaction.
func put(tx *store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("quota: encode row: %w", err)
	}
	tx.Put(key, b)
	return nil
}

// vacant refuses a quota that would be one too many, or about the same requests as
// another.
func vacant[Q any](tx *store.Tx, s store.Reader, prefix, name string, p *place, placeOf func(*Q) *place) error {
	others, twin := 0, ""
	_, err := store.SiftJSON(tx.Context(), s, store.Prefix(prefix), func(e store.Entry, q *Q) {
		other := strings.TrimPrefix(e.Key, prefix)
		if other == name {
			return
		}
		others++
		if placeOf(q).same(p) {
			twin = other
		}
	})
	switch {
	case err != nil:
		return err
	case twin != "":
		return &api.Error{Kind: api.Invalid, Message: fmt.Sprintf("a quota of the same path and role exists under the name %q", twin), Hint: "change or delete that one"}
	case others >= maxQuotas:
		return api.Errorf(api.Invalid, "there are %d quotas of this kind already", maxQuotas)
	}
	return nil
}
