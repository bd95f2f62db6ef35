package quota

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of what may be configured.
const (
	maxRate     = 1e9
	minRate     = 1e-6
	maxInterval = 366 * 24 * time.Hour
	maxExempt   = 256 // paths
)

// Routes are the endpoints of quotas, relative to sys/.
func Routes() []api.Route[*Store] {
	return append(leaseRoutes(), []api.Route[*Store]{
		api.Handle(api.Read, "quotas/config", (*Store).readConfig, api.RootOnly),
		api.Handle(api.Write, "quotas/config", (*Store).writeConfig, api.RootOnly),
		api.Handle(api.List, "quotas/rate-limit", (*Store).listRates, api.RootOnly),
		api.Handle(api.Read, "quotas/rate-limit/{name}", (*Store).readRate, api.RootOnly),
		api.Upsert("quotas/rate-limit/{name}", (*Store).writeRate, (*Store).hasRate, api.RootOnly),
		api.Handle(api.Delete, "quotas/rate-limit/{name}", (*Store).deleteRate, api.RootOnly),
	}...)
}

// ConfigRequest changes what holds for all rate limits; what is absent stays as it was.
type ConfigRequest struct {
	Exempt   *[]string `json:"rate_limit_exempt_paths" audit:"clear"`          // Paths that no rate limit is about, in every namespace, with what lies below them.
	Absolute *[]string `json:"absolute_rate_limit_exempt_paths" audit:"clear"` // Such paths, each from the root namespace.
	Audit    *bool     `json:"enable_rate_limit_audit_logging"`                // Have the audit devices write down requests that are refused for their rate.
	Headers  *bool     `json:"enable_rate_limit_response_headers"`             // Have answers tell how many requests are left.
}

// ConfigAnswer is what holds for all rate limits.
type ConfigAnswer struct {
	Exempt   []string `json:"rate_limit_exempt_paths" audit:"clear"`
	Absolute []string `json:"absolute_rate_limit_exempt_paths" audit:"clear"`
	Audit    bool     `json:"enable_rate_limit_audit_logging"`
	Headers  bool     `json:"enable_rate_limit_response_headers"`
}

// readConfig answers what holds for all rate limits.
func (s *Store) readConfig(c *api.Call, _ *api.None) (*ConfigAnswer, error) {
	p, err := s.Plan(c)
	if err != nil {
		return nil, err
	}
	return &ConfigAnswer{api.Full(p.settings.Exempt), api.Full(p.settings.Absolute), p.settings.Audit, p.settings.Headers}, nil
}

// writeConfig changes what holds for all rate limits.
func (s *Store) writeConfig(c *api.Call, q *ConfigRequest) (*api.None, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		e, err := tx.Get(configKey)
		if err != nil && !corrupt(err) {
			return err
		}
		next := defaults()
		if err == nil && e.Exists() {
			if next, err = store.DecodeJSON[Settings](e); err != nil {
				next = defaults()
			}
		}
		api.Set(&next.Exempt, q.Exempt)
		api.Set(&next.Absolute, q.Absolute)
		api.Set(&next.Audit, q.Audit)
		api.Set(&next.Headers, q.Headers)
		return put(tx, configKey, next)
	})
	return nil, err
}

func (q *ConfigRequest) check() error {
	for field, list := range map[string]*[]string{"rate_limit_exempt_paths": q.Exempt, "absolute_rate_limit_exempt_paths": q.Absolute} {
		if list == nil {
			continue
		}
		if len(*list) > maxExempt {
			return api.Errorf(api.Invalid, "%s: more than %d", field, maxExempt)
		}
		for i, path := range *list {
			path = strings.Trim(path, "/")
			if _, err := policy.Canonical(path); err != nil {
				return api.Errorf(api.Invalid, "%s: one is not in canonical form: %v", field, err)
			}
			if strings.Contains(path, "*") {
				return api.Errorf(api.Invalid, "%s: * has no meaning: what lies below a path is exempt with it", field)
			}
			(*list)[i] = path
		}
	}
	return nil
}

// NameRequest names a quota.
type NameRequest struct {
	Name api.Name `path:"name"` // Name of the quota.
}

// PlaceFields say which requests a quota is about.
type PlaceFields struct {
	Path        string `json:"path" audit:"clear"` // Namespace, mount or path below a mount, from the root namespace; a path may end in *. Empty: everything.
	Role        string `json:"role" audit:"clear"` // Logins by this role alone; path is then an auth method's.
	Inheritable *bool  `json:"inheritable"`        // Whether it is about the namespaces below, too; of the root namespace's own it is unless this says no.
	Type        string `json:"type"`               // Kept for compatibility: the path says it.
}

// RateRequest makes a limit on the rate of requests, or replaces it.
type RateRequest struct {
	NameRequest
	PlaceFields
	Rate      float64      `json:"rate"`                  // Requests that may be made in an interval.
	Interval  api.Duration `json:"interval" default:"1"`  // Length of the interval.
	Block     api.Duration `json:"block_interval"`        // For how long who is over the limit is refused; 0: until there is room.
	GroupBy   string       `json:"group_by" default:"ip"` // Whose requests are counted together: ip, none, entity_then_ip or entity_then_none.
	Secondary float64      `json:"secondary_rate"`        // Rate for callers without an identity, where requests are grouped by it; 0: the same.
}

// PlaceAnswer is which requests a quota is about.
type PlaceAnswer struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Path        string `json:"path" audit:"clear"`
	Role        string `json:"role" audit:"clear"`
	Inheritable bool   `json:"inheritable"`
}

// RateAnswer is a limit on the rate of requests.
type RateAnswer struct {
	PlaceAnswer
	Rate      float64      `json:"rate"`
	Interval  api.Duration `json:"interval"`
	Block     api.Duration `json:"block_interval"`
	GroupBy   string       `json:"group_by"`
	Secondary float64      `json:"secondary_rate"`
}

// listRates lists the limits on the rate of requests, with what each says.
func (s *Store) listRates(c *api.Call, _ *api.None) (*api.Keys, error) {
	return listed(s, c, ratePrefix, func(q *Rate) *place { return &q.place }, rateAnswer)
}

// listed are the quotas of a kind whose places are still there, each as show has it.
func listed[Q, A any](s *Store, c *api.Call, prefix string, placeOf func(*Q) *place, show func(name, path string, q *Q) *A) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	var failed error
	damaged, err := store.SiftJSON(c, s.Store, store.Prefix(prefix), func(e store.Entry, q *Q) {
		path, there, err := s.path(c, placeOf(q))
		name := strings.TrimPrefix(e.Key, prefix)
		switch {
		case errors.Is(err, store.ErrSealed):
			out.Keys = append(out.Keys, name) // it is there as far as is known; its path is not
		case err != nil:
			failed = err
		case there:
			out.Keys, out.Info[name] = append(out.Keys, name), show(name, path, q)
		}
	})
	if err == nil {
		err = failed
	}
	for _, e := range damaged { // it can be read about, written anew and deleted
		out.Keys = append(out.Keys, strings.TrimPrefix(e.Key, prefix))
	}
	return out, err
}

// read is a quota and its path; NotFound when there is none.
func read[Q any](s *Store, c *api.Call, key string, placeOf func(*Q) *place) (*Q, string, error) {
	e, err := s.Store.Get(c, key)
	if err != nil {
		return nil, "", err
	}
	if !e.Exists() {
		return nil, "", api.ErrNotFound()
	}
	q, err := store.DecodeJSON[Q](e)
	if err != nil {
		return nil, "", err
	}
	path, there, err := s.path(c, placeOf(q))
	if err == nil && !there {
		err = api.ErrNotFound()
	}
	return q, path, err
}

// readRate answers a limit on the rate of requests.
func (s *Store) readRate(c *api.Call, q *NameRequest) (*RateAnswer, error) {
	r, path, err := read(s, c, ratePrefix+string(q.Name), func(r *Rate) *place { return &r.place })
	if err != nil {
		return nil, err
	}
	return rateAnswer(string(q.Name), path, r), nil
}

func rateAnswer(name, path string, r *Rate) *RateAnswer {
	return &RateAnswer{PlaceAnswer{name, "rate-limit", path, r.Role, r.Inheritable}, r.Rate, api.Duration(r.Interval),
		api.Duration(r.Block), r.group(), r.Secondary}
}

func (r *Rate) group() string {
	if r.GroupBy == "" {
		return byIP
	}
	return r.GroupBy
}

// hasRate reports whether there is a limit of that name.
func (s *Store) hasRate(c *api.Call, q *RateRequest) (bool, error) {
	e, err := s.Store.Get(c, ratePrefix+string(q.Name))
	return e.Exists(), err
}

// writeRate makes a limit on the rate of requests, or replaces it. Counts begin anew.
func (s *Store) writeRate(c *api.Call, q *RateRequest) (*api.None, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	p, err := s.placeOf(c, &q.PlaceFields)
	if err == nil {
		err = s.doubt(c, p)
	}
	if err != nil {
		return nil, err
	}
	r := &Rate{ID: api.NewUUID(), place: *p, Rate: q.Rate, Interval: q.Interval.Std(), Block: q.Block.Std(), GroupBy: q.GroupBy, Secondary: q.Secondary}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		if err := tx.Touch(guardKey); err != nil {
			return err
		}
		if err := vacant(tx, s.Store, ratePrefix, string(q.Name), p, func(r *Rate) *place { return &r.place }); err != nil {
			return err
		}
		return put(tx, ratePrefix+string(q.Name), r)
	})
	return nil, err
}

func (s *Store) placeOf(c *api.Call, f *PlaceFields) (*place, error) {
	p, err := s.resolve(c, f.Path, f.Role)
	if err != nil {
		return nil, err
	}
	p.Inheritable = p.MountID == "" && p.NamespaceID == s.Namespaces.Root().ID
	api.Set(&p.Inheritable, f.Inheritable)
	if p.Inheritable && p.MountID != "" {
		return nil, api.Errorf(api.Invalid, "inheritable: path must be that of a namespace")
	}
	return p, nil
}

func (q *RateRequest) check() error {
	span := func(r float64) bool { return !math.IsNaN(r) && r >= minRate && r <= maxRate }
	grouped := q.GroupBy == byEntityThenIP || q.GroupBy == byEntityThenNone
	switch {
	case !span(q.Rate):
		return api.Errorf(api.Invalid, "rate: must be positive, and at most %g", float64(maxRate))
	case q.Interval.Std() < time.Second || q.Interval.Std() > maxInterval:
		return api.Errorf(api.Invalid, "interval: must be a second at least, and a year at most")
	case q.Block < 0 || q.Block.Std() > maxInterval:
		return api.Errorf(api.Invalid, "block_interval: must not be negative, and a year at most")
	case q.GroupBy != byIP && q.GroupBy != byNone && !grouped:
		return api.Errorf(api.Invalid, "group_by: must be ip, none, entity_then_ip or entity_then_none")
	case q.Secondary != 0 && !grouped:
		return api.Errorf(api.Invalid, "secondary_rate: group_by must be entity_then_ip or entity_then_none")
	case q.Secondary != 0 && !span(q.Secondary):
		return api.Errorf(api.Invalid, "secondary_rate: must be positive, and at most %g", float64(maxRate))
	}
	return nil
}

// deleteRate removes a limit on the rate of requests.
func (s *Store) deleteRate(c *api.Call, q *NameRequest) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		tx.Delete(ratePrefix + string(q.Name))
		return tx.Touch(guardKey)
	})
	return nil, err
}
