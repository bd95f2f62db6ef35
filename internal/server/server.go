// Package server owns a running Strongroom: its configuration, the wiring of
// all other packages, its listeners and its end. It is the only package that
// names all the others.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/build"
	"github.com/strongroom/strongroom/internal/door/vault"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/introspect"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/logging"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/operator"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/password"
	"github.com/strongroom/strongroom/internal/profile"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/snapshot"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/telemetry"
	"github.com/strongroom/strongroom/internal/token"
)

// Version is what the server says it is. Clients of the Vault API gate their
// features by it, so it names the version of that API which it speaks.
const Version = "1.17.0"

// Server is one node.
type Server struct {
	config  *Config
	logs    *logging.Log
	log     *slog.Logger
	stdout  io.Writer
	now     func() time.Time
	phys    store.Engine
	barrier *barrier.Barrier
	seal    *seal.Manager
	desk    *operator.Desk
	gate    *gate.Gate
	door    *vault.Door
	keeper  *snapshot.Keeper

	profiler  profile.Profiler
	passwords *password.Hasher // of all auth methods together, so that its bound holds
	reach     *outbound.Bound  // what auth methods of namespaces below the root may reach

	mu    sync.Mutex            // held while the house changes
	house atomic.Pointer[house] // nil while sealed

	listeners atomic.Pointer[Listeners] // that are served; nil before
	meter     *telemetry.Meter

	fleet *fleet.Fleet
	leave context.CancelFunc // ends beats
	beats sync.WaitGroup     // in which the node tells how it is
	fatal chan error         // why the node cannot go on

	tenants *operator.Tenants

	draining atomic.Bool // connections end with their next answer

	store   *opened
	trouble atomic.Value // the string that says what is wrong with the store
	room    *roomy       // whether the store takes writes
}

// Open opens the store and, where a key slot allows it, unseals. The server
// answers requests through Handler from then on.
func Open(ctx context.Context, c *Config, log *slog.Logger, stdout io.Writer, now func() time.Time) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(c.Ignored) > 0 {
		log.Warn("settings of the configuration that have no effect", slog.Any("settings", c.Ignored))
	}
	for _, text := range c.exposed() {
		log.Warn(text)
	}
	logs := logging.Of(log, c.logLevel())
	log = logs.Logger("core")
	s := &Server{config: c, logs: logs, log: log, stdout: stdout, now: now, fatal: make(chan error, 1), passwords: password.New(password.Slots())}
	var err error
	if s.reach, err = c.reach(); err != nil {
		return nil, err
	}
	if s.store, err = c.openStore(ctx, logs.Logger("storage")); err != nil {
		return nil, err
	}
	s.phys = s.store.engine
	if err := audit.CheckConfigured(c.Audit, s.auditEnv(nil)); err != nil {
		return nil, errors.Join(err, s.phys.Close())
	}
	if err := s.measure(ctx); err != nil {
		return nil, errors.Join(err, s.phys.Close())
	}
	s.noteRoom()
	if err := s.remember(ctx); err != nil {
		return nil, errors.Join(err, s.phys.Close())
	}
	told := s.phys
	s.phys = &newcomer{told, s}
	s.barrier = barrier.New(s.phys, now)
	s.tenants = &operator.Tenants{Keys: seal.NewTenants(s.barrier, now), Now: now}
	s.seal = seal.NewManager(s.barrier, s.phys, c.slotKinds(), now)
	s.keeper = &snapshot.Keeper{Store: s.phys, Barrier: s.barrier, Seal: s.seal, Version: program(), Engine: c.storageType(), Isolate: s.isolate, Now: now, Log: logs.Logger("snapshot")}
	s.desk = &operator.Desk{Seal: s.seal, Barrier: s.barrier, Open: s.open, Shut: s.shut, IssueRoot: s.issueRoot, RewrapLater: s.rewrapLater,
		TokenLength: token.Length, LocalSlot: c.LocalSlot, KeyDir: c.slotDir(), Version: Version, Program: program(), ClusterName: c.clusterName(), StorageType: c.storageType(), Address: c.address(), Log: logs.Logger("operator"), Probe: s.probe, SealAll: s.orderToSeal,
		Audited: func(c *api.Call) error { return s.gate.Audited(c) }, Restored: s.keeper.Ready, Held: s.held, Warning: s.warning}
	if err := s.joinFleet(ctx, told); err != nil {
		return nil, errors.Join(err, s.barrier.Close(), s.phys.Close())
	}
	s.desk.Fleet = s.fleet
	if s.store.member != nil {
		s.desk.Members = members{s.store.member}
	}
	if err := s.openGate(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := barrier.Erasing(func() error { return s.begin(ctx) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// makeAuditDirs makes the directories for audit files that lie in the data
// directory; others are the operator's to make.
func (c *Config) makeAuditDirs() error {
	for _, d := range append(slices.Clone(c.AuditDirs), c.AuditHome) {
		if d == "" || !c.own(d) {
			continue
		}
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("directory for audit files: %w", err)
		}
	}
	return nil
}

// slotKinds are the kinds of key slot that this server can have. One in memory
// has no place for key files unless it is told one.
func (c *Config) slotKinds() seal.Kinds {
	kinds := seal.Kinds{seal.KindShamir: seal.Shamir{}}
	if c.DataDir != "" || c.SlotPath != "" {
		kinds[seal.KindFile] = seal.File{Dir: c.slotDir()}
	}
	return kinds
}

// slotDir is where local key slots keep their files.
func (c *Config) slotDir() string {
	if c.SlotPath != "" {
		return c.SlotPath
	}
	return filepath.Join(c.DataDir, "keys")
}

func (c *Config) clusterName() string {
	if c.ClusterName != "" {
		return c.ClusterName
	}
	return "strongroom"
}

// address is where clients reach the server.
func (c *Config) address() string {
	if c.APIAddress != "" {
		return c.APIAddress
	}
	if len(c.Listeners) == 0 {
		return ""
	}
	if c.Listeners[0].CertFile == "" {
		return "http://" + c.Listeners[0].Address
	}
	return "https://" + c.Listeners[0].Address
}

// hostname is the machine's name; empty when it has none that can be told.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func (s *Server) openGate() error {
	eps, err := api.Bind(s.desk, operator.SealedRoutes())
	if err != nil {
		return err
	}
	uploads, err := api.Bind(s.keeper, snapshot.SealedRoutes())
	if err != nil {
		return err
	}
	router, err := api.NewRouter(append(eps, uploads...))
	if err != nil {
		return err
	}
	initialised := func() bool {
		done, err := s.seal.Initialized(context.Background())
		return done || err != nil
	}
	s.gate = gate.New(router, initialised, s.logs.Logger("gate"), s.now)
	s.gate.Observe(s.meter)
	s.door = vault.New(s.gate, time.Now, maxBodies)
	return nil
}

// begin brings the server as far as it can come without people.
func (s *Server) begin(ctx context.Context) error {
	if err := s.checkMarker(ctx); err != nil {
		return err
	}
	done, err := s.seal.Initialized(ctx)
	if err != nil {
		return err
	}
	switch {
	case !s.config.DevRoot.Empty():
		return s.beginDev(ctx)
	case !done && s.unfinished(ctx):
		return nil
	case !done && !s.config.LocalSlot:
		s.log.Info("the server has not been initialised", slog.String("hint", "run: strongroom operator init"))
		return nil
	case !done:
		_, err := s.seal.Init(ctx, seal.InitConfig{Slots: []seal.SlotSpec{{Kind: seal.KindFile, Name: "local file"}}})
		if err != nil && !errors.Is(err, barrier.ErrInitialized) { // another node on the store was quicker
			return fmt.Errorf("first start: %w", err)
		}
	}
	if _, err := s.seal.ListSlots(ctx); err != nil {
		s.log.Error("key slots are damaged", slog.Any("error", err), slog.String("hint", "any other key slot unseals; docs/reliability.md says how rows are put back"))
	}
	if err := s.seal.Unseal(ctx); err != nil {
		return s.stayShut(ctx, err)
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.firstToken(ctx); err != nil || !done {
		return err
	}
	return s.newRoot(ctx)
}

// unfinished tells of a restore that has begun and not ended, and that keeps the
// store from being initialised.
func (s *Server) unfinished(ctx context.Context) bool {
	err := s.keeper.Ready(ctx)
	if err != nil {
		s.log.Error("the server cannot be initialised", slog.Any("error", err))
	}
	return err != nil
}

// newRoot prints a new root token for who has lost the last one. Who can start the
// server with its data and the key that unseals it can read everything anyway.
func (s *Server) newRoot(ctx context.Context) error {
	if !s.config.NewRoot {
		return nil
	}
	root, err := s.issueRoot(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.stdout, "Root token: %s\n\nIt is shown this once. Start the server without -new-root-token from now on.\n\n", string(root.ClientToken.Disclose())); err != nil {
		return fmt.Errorf("printing the root token: %w", err)
	}
	s.log.Warn("a new root token was printed, as -new-root-token asks", slog.String("accessor", root.Accessor))
	return s.desk.MarkRootIssued(ctx)
}

// stayShut lets a server run sealed that people can unseal, or of whose keys something is
// damaged, which is told while it runs and can be put right; it fails when nobody could unseal it
// and nothing is wrong with what is stored.
func (s *Server) stayShut(ctx context.Context, cause error) error {
	if s.config.NewRoot {
		return fmt.Errorf("-new-root-token: %w; make a root token with unseal keys instead: strongroom operator generate-root", cause)
	}
	slots, err := s.seal.ListSlots(ctx)
	shares := slices.ContainsFunc(slots, func(slot seal.Slot) bool { return slot.Threshold > 0 })
	switch {
	case !shares && !errors.Is(errors.Join(cause, err), store.ErrCorrupt):
		return fmt.Errorf("unsealing by the local key slot: %w", errors.Join(cause, err))
	case !shares:
		s.log.Error("the server is sealed, and no key slot unseals it", slog.Any("error", cause), slog.String("hint", "put the damaged row back and restart, or restore a snapshot into an empty store"))
		return nil
	case s.config.LocalSlot:
		s.log.Error("the local key slot does not unseal", slog.Any("error", cause))
	}
	s.log.Info("the server is sealed", slog.String("hint", "run: strongroom operator unseal"))
	return nil
}

// firstToken makes and prints the root token of a server that unseals itself,
// unless one was handed out before: at the first start, or at the next one when
// that was cut short. A kill between the two steps leaves a token that
// nobody knows.
func (s *Server) firstToken(ctx context.Context) error {
	if !s.config.LocalSlot {
		return nil
	}
	done, err := s.desk.RootIssued(ctx)
	if err != nil || done {
		return err
	}
	if err := s.mountSecret(ctx, "2"); err != nil && api.KindOf(err) != api.Invalid { // Invalid: it is there already
		return err
	}
	root, err := s.issueRoot(ctx)
	if err != nil {
		return err
	}
	if err := s.printRoot(string(root.ClientToken.Disclose())); err != nil {
		return fmt.Errorf("printing the root token: %w", err)
	}
	return s.desk.MarkRootIssued(ctx)
}

func (s *Server) printRoot(token string) error {
	_, err := fmt.Fprintf(s.stdout, `This is the first start: the store has been made and is encrypted.

Root token: %s

It is shown this once. Keep it safe, and make lesser tokens for daily work.
The key that unseals the store lies in %s.
Whoever has both that directory and the data can read everything: back them up
apart, or add unseal keys that people hold: strongroom operator key-slot add shamir

`, token, s.config.slotDir())
	return err
}

// beginDev makes a server in memory with a known root token.
func (s *Server) beginDev(ctx context.Context) error {
	specs := []seal.SlotSpec{{Kind: seal.KindShamir, Name: "development", Shares: 1, Threshold: 1}}
	made, err := s.seal.Init(ctx, seal.InitConfig{Slots: specs})
	if err != nil {
		return err
	}
	unsealKey := made[0].Handed[0].Base64()
	if _, err := s.seal.SubmitShare(ctx, unsealKey); err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	h := s.house.Load()
	if _, err := h.Tokens.Issue(ctx, token.Spec{Namespace: namespace.RootID, Root: true, ID: s.config.DevRoot, Path: "auth/token/root", Auth: api.Auth{DisplayName: "token"}}); err != nil {
		return err
	}
	if err := s.mountDev(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "Development server: everything is in memory and gone when it ends.\n\nUnseal Key: %s\nRoot Token: %s\n\n", unsealKey.Reveal(), s.config.DevRoot.Reveal())
	return err
}

func (s *Server) mountDev(ctx context.Context) error {
	switch {
	case s.config.DevNoKV:
		return nil
	case s.config.DevKVv1:
		return s.mountSecret(ctx, "1")
	}
	return s.mountSecret(ctx, "2")
}

// mountSecret mounts the key-value store that every tutorial begins with.
func (s *Server) mountSecret(ctx context.Context, version string) error {
	return s.house.Load().Mounts.Enable(ctx, namespace.RootID, &mount.Entry{Path: "secret/", Type: "kv",
		Description: "key/value secret storage", Options: map[string]string{"version": version}})
}

// open builds the house over the unsealed barrier and lets requests in.
func (s *Server) open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.house.Load() != nil {
		return nil
	}
	if err := s.keeper.Admit(ctx); err != nil {
		return err
	}
	h, err := s.buildHouse(ctx, s.desk)
	if err != nil {
		return err
	}
	h.Alone = s.config.alone()
	if err := errors.Join(s.furnishRoot(ctx, h), unlessFull(introspect.RecordVersion(ctx, s.barrier, programVersion(), build.Committed(), s.now()))); err != nil {
		return errors.Join(err, h.Cache.Close())
	}
	if err := errors.Join(s.mark(), h.start(s)); err != nil {
		return errors.Join(err, h.close())
	}
	s.house.Store(h)
	s.gate.Open(&h.House)
	s.fleet.Changed()
	s.log.Info("the server is unsealed")
	if s.holds(ctx, h) {
		s.log.Warn(heldWarning, slog.String("hint", "when that one has ended for good, run: "+lease.Resume))
	}
	return nil
}

// furnishRoot makes the root namespace's key, mounts and policies on the first
// opening, and sees that the rotation of the key ring is on the schedule.
func (s *Server) furnishRoot(ctx context.Context, h *house) error {
	if err := s.barrier.AddNamespace(ctx, namespace.RootID); err != nil {
		return err
	}
	if err := h.furnish(ctx, namespace.RootID); err != nil {
		if done, derr := s.desk.RootIssued(ctx); derr != nil || !done || !errors.Is(err, store.ErrFull) {
			return err // without room, what an earlier opening has made is taken as it is
		}
	}
	return unlessFull(s.rotationLater(ctx))
}

// shut keeps requests out and seals.
func (s *Server) shut(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.Open(nil)
	var err error
	if h := s.house.Load(); h != nil {
		err = h.close()
		s.house.Store(nil)
		s.log.Info("the server is sealed")
	}
	err = errors.Join(err, s.seal.Seal())
	s.fleet.Changed()
	return err
}

func (s *Server) issueRoot(ctx context.Context) (*api.Auth, error) {
	h := s.house.Load()
	if h == nil {
		return nil, barrier.ErrSealed
	}
	return h.Tokens.Issue(ctx, token.Spec{Namespace: namespace.RootID, Root: true, Path: "auth/token/root", Auth: api.Auth{DisplayName: "root"}})
}

// Handler answers requests as Serve does, for a listener that is not ours.
func (s *Server) Handler() http.Handler { return s.door }

// Reopen opens audit files anew, after they were rotated.
func (s *Server) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.house.Load()
	if h == nil {
		return nil
	}
	return h.Branches.Reopen()
}

// Close seals the server and closes its store.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	err := s.shut(context.Background())
	s.leave()
	s.beats.Wait()
	return errors.Join(err, s.meter.Close(ctx), s.phys.Close())
}

// NewLogger is the server's log on w.
func NewLogger(c *Config, w io.Writer) *slog.Logger {
	all := &slog.HandlerOptions{Level: logging.LevelTrace, ReplaceAttr: logging.Named}
	var out slog.Handler = slog.NewTextHandler(w, all)
	if c.LogFormat == "json" {
		out = slog.NewJSONHandler(w, all)
	}
	return logging.New(out, c.logLevel()).Logger("core")
}

// logLevel is from which level on the server logs.
func (c *Config) logLevel() slog.Level {
	level, ok := logging.ParseLevel(c.LogLevel)
	if !ok {
		return slog.LevelInfo
	}
	return level
}
