package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/declined"
	"github.com/strongroom/strongroom/internal/engine/cubbyhole"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/introspect"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/lockout"
	"github.com/strongroom/strongroom/internal/logging"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/oidc"
	"github.com/strongroom/strongroom/internal/operator"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/profile"
	"github.com/strongroom/strongroom/internal/quota"
	"github.com/strongroom/strongroom/internal/raw"
	"github.com/strongroom/strongroom/internal/reference"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/settings"
	"github.com/strongroom/strongroom/internal/snapshot"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/telemetry"
	"github.com/strongroom/strongroom/internal/token"
	"github.com/strongroom/strongroom/internal/tools"
	"github.com/strongroom/strongroom/internal/wrapping"
)

// Kinds of scheduled work that the server itself takes care of.
const (
	jobDropNamespace = "namespace-delete"
	jobSealNamespace = "namespace-seal"
	jobDropMount     = "mount-delete"
	jobRewrap        = "rewrap"
	jobCubbyhole     = "cubbyhole-clear"
)

// house is an unsealed server's domain objects and what runs beside them.
type house struct {
	gate.House
	devices *audit.Devices // of the root namespace
	orders  *fleet.Orders
	damaged *store.Quarantine // rows that are done without
	book    reference.Book
	lockout *lockout.Store
	oidc    *oidc.Store
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// buildHouse wires the domain packages over an unsealed barrier. Everything a
// reader wants to know about who depends on whom stands in this function and
// the two below it.
func (s *Server) buildHouse(ctx context.Context, desk *operator.Desk) (*house, error) {
	cache, err := store.NewCache(ctx, s.barrier)
	if err != nil {
		return nil, fmt.Errorf("following the store: %w", err)
	}
	h := &house{damaged: &store.Quarantine{Tell: s.tellDamaged}}
	if h.orders, err = fleet.NewOrders(ctx, s.barrier, cache); err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	h.Recalled = h.orders.Seal
	h.Cache, h.Data, h.Audit = cache, s.barrier, audit.NewBroker()
	h.Upkeep, h.ConditionHeaders, h.Confine = upkeep{s.barrier}, s.config.PolicyHeaders, s.confine
	h.Policies = policies.New(s.barrier, cache, s.now)
	h.Namespaces = namespace.New(s.barrier, cache, s.barrier, namespace.Hooks{
		Claim:   func(tx *store.Tx, parent, path string) error { return h.Mounts.Claim(tx, parent, path) },
		Furnish: func(ctx context.Context, id string) error { return h.furnish(ctx, id) },
		Delete:  s.dropLater(jobDropNamespace, 0),
		Damaged: h.damaged, Seals: s.tenants, Holders: &operator.Holders{Tenants: s.tenants}, SealLater: s.dropLater(jobSealNamespace, 0),
	}, s.now)
	h.Tokens = token.New(token.Config{Store: s.barrier, Cache: cache, Keys: keys{s.barrier}, Namespaces: paths{h.Namespaces}, Now: s.now,
		System: token.Limits(s.config.limits()), Mount: h.limits, HasPolicy: h.Policies.Has, Damaged: s.damagedToken, Below: h.below, OnRevoke: []func(context.Context, string, string) error{s.clearCubbyhole(h), h.eraseWrapped, h.endLeases}})
	h.Tokens.OnRevoke = append(h.Tokens.OnRevoke, s.countRevoked)
	h.Identity, h.Policies.Accessor = s.newIdentity(h, cache), h.hasAccessor
	h.MFA = s.newMFA(h, cache)
	h.oidc = s.newOIDC(h, cache)
	h.Tokens.Renewal, h.Tokens.Entity, h.Tokens.IdentityPolicies, h.Tokens.Lives, h.Tokens.Nobodys = h.renewLogin, h.entityOf, h.identityPolicies, h.tokenLives, h.entityGone
	h.Wrapping = wrapping.New(s.barrier, h.Tokens, s.config.address(), h.Namespaces.Refusal)
	h.Settings = settings.New(s.barrier, cache, h.damaged)
	h.devices = audit.NewDevices(store.Sub(s.barrier, namespace.RootID+"/"),
		s.auditEnv(h.damaged), s.config.Audit, h.Audit)
	h.CatchUp = newAuditRows(cache, h.devices).catchUp
	h.Branches = audit.NewTree(s.barrier, cache, h.devices, s.branchEnv(h.damaged), audit.Hooks{Require: h.Namespaces.Require, Open: h.Namespaces.Reached})
	h.Mounts = mount.New(s.barrier, cache, mount.Hooks{Taken: h.Namespaces.Taken, Delete: s.dropLater(jobDropMount, 0, lateWriters), Damaged: h.damaged,
		Removed: h.mountRemoved, Moved: h.mountMoved}, s.config.limits(), s.now)
	h.Quotas = quota.New(quota.Config{Store: s.barrier, Cache: cache, Mounts: h.Mounts, Namespaces: h.Namespaces, Now: s.now, Log: s.log, Damaged: h.damaged})
	h.Tokens.Counter = h.Quotas
	h.Leases = lease.New(lease.Config{Counter: h.Quotas, Store: s.barrier, Cache: cache, Mounts: h.Mounts, Tokens: h.Tokens, Namespaces: h.Namespaces, Now: s.now, Log: s.log})
	h.lockout, h.Passwords = s.lockoutOf(h), s.passwords
	h.Attempts = h.lockout
	engines, err := s.engines(h, desk)
	if err == nil {
		err = errors.Join(h.Mounts.Install(engines), h.describe(engines))
	}
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	return h, nil
}

// engines is the table of everything that can be mounted.
func (s *Server) engines(h *house, desk *operator.Desk) ([]api.Engine, error) {
	sys, err := s.systemEndpoints(h, desk)
	if err != nil {
		return nil, err
	}
	tokens, err := api.Bind(h.Tokens, token.Routes)
	if err != nil {
		return nil, err
	}
	persons, err := h.identityEndpoints()
	if err != nil {
		return nil, err
	}
	factors, err := api.Bind(h.MFA, mfa.Routes())
	if err != nil {
		return nil, err
	}
	all := []api.Engine{
		{Type: "system", Description: "System endpoints.", Endpoints: sys},
		{Type: "token", Auth: true, Description: "Tokens.", Endpoints: tokens, Spell: strings.ToLower},
		{Type: "identity", Description: "Who is behind tokens: entities, aliases and groups, and the second factors of logins.", Endpoints: slices.Concat(persons, factors)},
	}
	for _, build := range mountable() {
		e, err := build()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if s.config != nil {
		all = append(all, s.config.Engines...)
	}
	return all, nil
}

// systemEndpoints is everything under sys/.
func (s *Server) systemEndpoints(h *house, desk *operator.Desk) ([]*api.Endpoint, error) {
	var all []*api.Endpoint
	var errs []error
	add := func(eps []*api.Endpoint, err error) {
		all, errs = append(all, eps...), append(errs, err)
	}
	add(api.Bind(&h.House, gate.Routes()))
	add(api.Bind(h.Policies, policies.Routes()))
	add(api.Bind(h.Settings, settings.Routes()))
	add(api.Bind(h.Namespaces, namespace.Routes()))
	add(api.Bind(h.Branches, audit.Routes))
	add(api.Bind(h.devices, audit.HeaderRoutes))
	add(api.Bind(h.Wrapping, wrapping.Routes()))
	add(api.Bind(h.Leases, lease.Routes()))
	add(api.Bind(h.lockout, lockout.Routes()))
	add(api.Bind(h.MFA, mfa.SystemRoutes()))
	add(api.Bind(h.Quotas, quota.Routes()))
	add(api.Bind(desk, operator.Routes()))
	add(api.Bind(&tools.Desk{}, tools.Routes()))
	add(api.Bind(h.Mounts, mount.Routes()))
	add(api.Bind(s.fleet, fleet.Routes()))
	add(api.Bind(s.keeper, snapshot.Routes()))
	add(api.Bind(s.meter, telemetry.Routes()))
	add(api.Bind(s.logs, logging.Routes()))
	add(api.Bind(&s.profiler, profile.Routes()))
	add(api.Bind(s.node(h), introspect.Routes()))
	add(api.Bind(&raw.Rows{On: s.config != nil && s.config.RawStorage, Store: s.barrier, Namespaces: h.Namespaces}, raw.Routes()))
	add(api.Bind(&declined.Desk{}, declined.Routes()))
	add(api.Bind(&h.book, reference.Routes()))
	return all, errors.Join(errs...)
}

// furnish gives a namespace the mounts and policies that each one has.
func (h *house) furnish(ctx context.Context, nsID string) error {
	if err := h.Mounts.Furnish(ctx, nsID); err != nil {
		return err
	}
	return h.Policies.Furnish(ctx, nsID)
}

// limits are the lifetimes that the mount which made a token gives.
func (h *house) limits(ctx context.Context, t *token.Token) (token.Limits, error) {
	e, err := h.Maker(ctx, t)
	if err != nil {
		return token.Limits{}, err
	}
	if e == nil {
		return token.Limits(h.Mounts.System()), nil
	}
	if err := e.Refusal(); err != nil {
		return token.Limits{}, err
	}
	def, most := e.TTLs()
	return token.Limits{Default: def, Max: most}, nil
}

// tellDamaged tells of a row that is damaged and done without, and of one that is
// whole again.
func (s *Server) tellDamaged(key string, mended bool) {
	if mended {
		s.log.Info("a stored row that was damaged is whole again", slog.String("key", key))
		return
	}
	s.log.Error("a stored row is damaged: what it is of is not served, and everything else is", slog.String("key", key),
		slog.String("hint", "put the row back from a backup, or remove it, through sys/raw: see docs/reliability.md"))
}

// damagedToken tells of a token whose row is damaged and was passed over.
func (s *Server) damagedToken(err error) {
	s.log.Error("a row of a token is damaged and was passed over", slog.Any("error", err))
}

// clearCubbyhole removes what a dead token kept for itself. Where that lies is not
// known while the mount's row is damaged: it is then tried again until it is, and what else a revocation
// has to do goes on.
func (s *Server) clearCubbyhole(h *house) func(ctx context.Context, nsID, tokenID string) error {
	return func(ctx context.Context, nsID, tokenID string) error {
		err := h.eraseCubbyhole(ctx, nsID, tokenID)
		if !errors.Is(err, store.ErrCorrupt) {
			return err
		}
		_, err = store.Update(ctx, h.Data, func(tx *store.Tx) error {
			return schedule.Add(tx, schedule.Item{Namespace: nsID, At: s.now(), Kind: jobCubbyhole, ID: tokenID})
		})
		return err
	}
}

func (h *house) eraseCubbyhole(ctx context.Context, nsID, tokenID string) error {
	table, err := h.Mounts.Table(ctx, nsID)
	if err != nil {
		return err
	}
	e := table.Get("cubbyhole/")
	if e == nil {
		return nil
	}
	if err := e.Refusal(); err != nil {
		return err
	}
	return cubbyhole.Erase(ctx, store.Sub(h.Data, e.Prefix(nsID)), tokenID)
}

// eraseWrapped removes the answer that a wrapping token stood for.
func (h *house) eraseWrapped(ctx context.Context, nsID, tokenID string) error {
	return h.Wrapping.Erase(ctx, nsID, tokenID)
}

// lateWriters is how long after a mount was disabled a request that had begun
// before may still have written: its data is then deleted once more.
const lateWriters = 10 * time.Minute

// dropLater records jobs, due after the given delays, whose argument is a
// namespace or a prefix of keys.
func (s *Server) dropLater(kind string, delays ...time.Duration) func(*store.Tx, string) error {
	return func(tx *store.Tx, what string) error {
		for _, d := range delays {
			err := schedule.Add(tx, schedule.Item{Namespace: namespace.RootID, At: s.now().Add(d), Kind: kind,
				ID: hex.EncodeToString([]byte(what)), Data: []byte(what)})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// jobs are the handlers of scheduled work.
func (s *Server) jobs(h *house) map[string]schedule.Handler {
	all := map[string]schedule.Handler{
		jobDropNamespace: h.dropNamespace,
		jobSealNamespace: func(ctx context.Context, j *schedule.Job) error { return h.Namespaces.FinishSeal(ctx, string(j.Data)) },
		jobRewrap:        s.rewrap,
		jobDropMount:     h.dropMount,
		jobRotation:      s.rotateIfDue,
		jobUpkeep:        upkeepJob(h.Mounts),
		jobCubbyhole:     func(ctx context.Context, j *schedule.Job) error { return h.eraseCubbyhole(ctx, j.Namespace, j.ID) },
	}
	maps.Copy(all, h.Policies.Jobs())
	maps.Copy(all, h.Tokens.Jobs())
	maps.Copy(all, h.Leases.Jobs())
	maps.Copy(all, h.Identity.Jobs())
	maps.Copy(all, h.MFA.Jobs())
	maps.Copy(all, h.oidc.Jobs())
	maps.Copy(all, h.Quotas.Jobs(h.Tokens, h.Leases))
	return all
}

// rewrapLater records the job that moves all entries to the newest key.
func (s *Server) rewrapLater(ctx context.Context) error {
	_, err := store.Update(ctx, s.barrier, func(tx *store.Tx) error {
		return schedule.Add(tx, schedule.Item{Namespace: namespace.RootID, At: s.now(), Kind: jobRewrap, ID: jobRewrap})
	})
	return err
}

func (s *Server) rewrap(ctx context.Context, _ *schedule.Job) error {
	return s.barrier.Rewrap(ctx, func(p barrier.Progress) {
		s.log.Debug("moving entries to the newest key", slog.Any("progress", p))
	})
}

// auditEnv is what audit devices are opened in. Where the configuration has a
// file, further files may be declared.
func (s *Server) auditEnv(damaged *store.Quarantine) audit.Env {
	dirs := slices.Concat(s.config.AuditDirs, audit.Directories(s.config.Audit))
	return audit.Env{Now: s.now, Stdout: s.stdout, Dirs: dirs, Home: s.config.AuditHome, AllowRaw: s.config.RawAudit, Log: s.log, Damaged: func(prefix string, keys []string) {
		const home = namespace.RootID + "/"
		for i := range keys {
			keys[i] = home + keys[i]
		}
		damaged.Found(home+prefix, keys...)
	}}
}

// abreast is how much scheduled work is done at once. Most of it waits for the
// disk, and what waits together shares one write: three pages of leases are ended at
// once.
const abreast = 3 * schedule.Together

// start opens the audit devices and lets scheduled work run.
func (h *house) start(s *Server) error {
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	if err := h.devices.Start(ctx); err != nil {
		stop()
		return err
	}
	for path, err := range h.devices.Unready() {
		s.log.Error("an audit device cannot be written: unless another one can, every request is refused",
			slog.String("device", path), slog.Any("error", err))
	}
	runner := s.runner(s.jobs(h), h.Leases.Pages())
	h.work.Go(func() {
		if err := runner.Run(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("scheduled work has ended", slog.Any("error", err))
		}
	})
	h.work.Go(func() { s.follow(ctx, "audit devices", namespace.RootID+"/"+audit.WatchPrefix, h.devices.Reload) })
	h.work.Go(func() {
		s.follow(ctx, "namespaces that have audit devices", namespace.RootID+"/ns", func(ctx context.Context) error { return h.sweepBranches(ctx) })
	})
	h.work.Go(func() {
		s.follow(ctx, "orders to all nodes", fleet.OrderPrefix, func(ctx context.Context) error { return s.obeyOrders(ctx, h) })
	})
	h.work.Go(func() {
		s.meter.Count(ctx, &telemetry.Census{Store: s.barrier, Tokens: token.Rows, Leases: lease.Rows, Failed: func(err error) {
			s.log.Warn("tokens and leases could not be counted for the metrics", slog.Any("error", err))
		}})
	})
	return nil
}

func (s *Server) runner(jobs map[string]schedule.Handler, pages map[string]schedule.PageHandler) *schedule.Runner {
	return &schedule.Runner{Store: s.barrier, Now: s.now, Handlers: jobs, Pages: pages, Limit: abreast, Alone: s.config.alone(), Failed: func(it schedule.Item, err error) {
		s.log.Warn("scheduled work failed and will be tried again", slog.String("kind", it.Kind), slog.Any("error", err))
	}}
}

// follow has something done at the start and whenever rows with a prefix may have
// changed, on any node, until ctx ends. What fails is tried again.
func (s *Server) follow(ctx context.Context, what, prefix string, do func(context.Context) error) {
	view := store.Sub(s.barrier, prefix)
	for ctx.Err() == nil {
		err := followOnce(ctx, view, do)
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("following "+what, slog.Any("error", err))
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

// followPause is how long to wait after a failure to follow the store.
const followPause = time.Second

// followOnce follows until something fails.
func followOnce(ctx context.Context, view store.Store, do func(context.Context) error) (err error) {
	rev, err := view.Sync(ctx)
	if err != nil {
		return err
	}
	feed, err := view.Watch(ctx, rev)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, feed.Close()) }()
	for {
		if err := do(ctx); err != nil {
			return err
		}
		if err := awaitChange(ctx, feed); err != nil {
			return err
		}
	}
}

// awaitChange waits for a commit that is about what the feed shows.
func awaitChange(ctx context.Context, feed store.Feed) error {
	for {
		change, err := feed.Next(ctx)
		if err != nil || len(change.Keys) > 0 {
			return err
		}
	}
}

// close ends what start began.
func (h *house) close() error {
	if h.stop != nil {
		h.stop()
	}
	h.work.Wait()
	return errors.Join(h.Branches.Close(), h.Cache.Close())
}

// keys gives tokens their cryptography.
type keys struct{ barrier *barrier.Barrier }

// TokenHash is the keyed hash of a token's or accessor's text, in hex.
func (k keys) TokenHash(ctx context.Context, nsID, text string) (string, error) {
	key, err := k.barrier.PurposeKey(ctx, nsID, barrier.TokenHash)
	if err != nil {
		return "", err
	}
	var sum [32]byte
	out, err := key.HMAC(sum[:0], []byte(text))
	if err != nil {
		return "", err
	}
	var digits [2 * len(sum)]byte
	return string(hex.AppendEncode(digits[:0], out)), nil
}

// batchContext is bound into every batch token.
const batchContext = "batch token"

// SealBatch encrypts a batch token's content.
func (k keys) SealBatch(ctx context.Context, nsID string, plaintext []byte) ([]byte, error) {
	key, err := k.barrier.PurposeKey(ctx, nsID, barrier.BatchToken)
	if err != nil {
		return nil, err
	}
	return key.Seal(plaintext, batchContext)
}

// OpenBatch undoes SealBatch.
func (k keys) OpenBatch(ctx context.Context, nsID string, blob []byte) ([]byte, error) {
	key, err := k.barrier.PurposeKey(ctx, nsID, barrier.BatchToken)
	if err != nil {
		return nil, err
	}
	out, err := key.Open(blob, batchContext)
	if errors.Is(err, barrier.ErrOpen) {
		return nil, token.ErrBatch
	}
	return out, err
}

// paths tells tokens where namespaces are.
type paths struct{ registry *namespace.Registry }

// Path is a namespace's path.
func (p paths) Path(ctx context.Context, id string) (string, bool, error) {
	n, err := p.registry.ByID(ctx, id)
	if err != nil || !n.Live() {
		return "", false, err
	}
	return n.Path, true, nil
}
