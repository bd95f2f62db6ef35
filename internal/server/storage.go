package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/hostinfo"
	"github.com/strongroom/strongroom/internal/operator"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/pebble"
	"github.com/strongroom/strongroom/internal/store/postgres"
)

// Kinds of storage, as the configuration and sys/seal-status name them.
const (
	kindMem      = "inmem"
	kindPebble   = "pebble"
	kindPostgres = "postgres"
	kindEtcd     = "etcd"
)

// Shared is a store that several nodes share. One of its fields is set.
type Shared struct {
	Postgres *postgres.Options
	Etcd     *Etcd // a cluster that runs by itself
	Member   *member.Config
	// Engine opens a store of another kind, for tests.
	Engine func(*slog.Logger) (store.Engine, error)
}

// Etcd is a cluster and how it is used.
type Etcd struct {
	Cluster etcd.Cluster
	Options etcd.Options
}

func (sh *Shared) kind() string {
	switch {
	case sh.Postgres != nil:
		return kindPostgres
	case sh.Engine != nil:
		return kindMem
	}
	return kindEtcd
}

// opened is an open store and what else there is to it.
type opened struct {
	engine store.Engine
	member *member.Member                        // of etcd, in this process; nil: there is none
	space  func(context.Context) (string, error) // what an operator must know of its room, if anything; nil: it has no quota
}

// open opens the store.
func (sh *Shared) open(ctx context.Context, log *slog.Logger) (*opened, error) {
	switch {
	case sh.Postgres != nil:
		o := *sh.Postgres
		o.Logger = log
		st, err := postgres.Open(ctx, o)
		return &opened{engine: st}, err
	case sh.Etcd != nil:
		o := sh.Etcd.Options
		o.Logger = log
		st, err := etcd.Open(ctx, sh.Etcd.Cluster, o)
		return &opened{engine: st, space: spaceOf(st)}, err
	case sh.Member != nil:
		return openMember(ctx, *sh.Member, log)
	}
	st, err := sh.Engine(log)
	return &opened{engine: st}, err
}

func openMember(ctx context.Context, c member.Config, log *slog.Logger) (*opened, error) {
	c.Logger = log
	log.Info("starting the member of etcd in this process; a new cluster waits until all members are there")
	m, err := member.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	st, err := m.Open(ctx, etcd.Options{Logger: log})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &opened{engine: &inside{Store: st, member: m}, member: m, space: diskOf(c.Dir, spaceOf(st))}, nil
}

// spaceOf tells of an etcd near its quota.
func spaceOf(st *etcd.Store) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		space, err := st.Space(ctx)
		return space.Warning(), err
	}
}

// lowDisk is the room on a member's disk, in bytes, below which its end is near: etcd takes 64 MiB at once for its log.
const lowDisk = 192 << 20

// diskOf tells of a member's disk that is nearly full, where there is nothing worse to tell: etcd ends a node that cannot write.
func diskOf(dir string, ask func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		warning, err := ask(ctx)
		if err != nil || warning != "" {
			return warning, err
		}
		if disk, err := hostinfo.DiskOf(dir); err == nil && disk.Free < lowDisk {
			return fmt.Sprintf("the disk of this node's etcd has less than %d MiB left: the node ends when it finds no room on it", lowDisk>>20), nil
		}
		return "", nil
	}
}

// inside is a store in a member of etcd that ends with it.
type inside struct {
	*etcd.Store
	member *member.Member
}

// Close implements store.Store.
func (w *inside) Close() error { return errors.Join(w.Store.Close(), w.member.Close()) }

// openStore opens the configured store.
func (c *Config) openStore(ctx context.Context, log *slog.Logger) (*opened, error) {
	if c.Shared != nil {
		st, err := c.Shared.open(ctx, log)
		if err != nil {
			return nil, fmt.Errorf("opening the store: %w", err)
		}
		return st, nil
	}
	if c.DataDir == "" {
		return &opened{engine: mem.Open()}, nil
	}
	if err := c.checkForeign(); err != nil {
		return nil, err
	}
	st, err := pebble.Open(filepath.Join(c.DataDir, storeDir), pebble.Options{Logger: log})
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("%w: another strongroom is running on %s", err, c.DataDir)
	}
	if err != nil {
		return nil, err
	}
	return &opened{engine: st}, c.makeAuditDirs()
}

// alone reports whether no other process can have the store open.
func (c *Config) alone() bool { return c.Shared == nil }

func (c *Config) storageType() string {
	switch {
	case c.Shared != nil:
		return c.Shared.kind()
	case c.DataDir == "":
		return kindMem
	}
	return kindPebble
}

// hotEntries is how many entries are remembered of a store in another process, of
// 4 KiB at most: some 10 MiB of secrets of the usual size.
const hotEntries = 10_000

// remember has hot entries of a store in another process served from memory.
func (s *Server) remember(ctx context.Context) error {
	if s.config.alone() {
		return nil
	}
	hot, err := store.NewHot(ctx, s.phys, hotEntries)
	if err == nil {
		s.phys = hot
	}
	return err
}

// spaceEvery is how often it is looked how full a store is that has a quota.
const spaceEvery = 5 * time.Second

// watchSpace tells of a store that is nearly full, before writes fail.
func (s *Server) watchSpace(ctx context.Context, ask func(context.Context) (string, error)) {
	t := time.NewTicker(spaceEvery)
	defer t.Stop()
	for {
		warning, err := ask(ctx)
		if ctx.Err() != nil {
			return
		}
		s.noteSpace(warning, err)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// noteSpace logs what is new of a store's warnings and has it listed with the node.
func (s *Server) noteSpace(warning string, err error) {
	if err != nil {
		warning = "how full the store is cannot be learnt"
	}
	before, _ := s.trouble.Swap(warning).(string)
	if warning == before {
		return
	}
	if warning == "" {
		s.log.Info("the store has room again")
	} else {
		var why []any
		if err != nil {
			why = append(why, slog.Any("error", err))
		}
		s.log.Error(warning, why...)
	}
	s.fleet.Changed()
}

// watchMember ends the server when the member of etcd in its process has ended.
func (s *Server) watchMember(ctx context.Context, m *member.Member) {
	select {
	case <-ctx.Done():
	case <-m.Failed():
		s.end(m.Ended(ctx))
	}
}

// members are the members of etcd, for those who run the nodes.
type members struct{ *member.Member }

// List implements operator.Members.
func (m members) List(ctx context.Context) ([]operator.Member, error) {
	all, err := m.Members(ctx)
	out := make([]operator.Member, 0, len(all))
	for _, i := range all {
		out = append(out, operator.Member{ID: strconv.FormatUint(i.ID, 16), Name: i.Name, URLs: i.URLs, Started: i.Started, Leader: i.Leader, Answers: i.Answers})
	}
	return out, err
}

// Add implements operator.Members.
func (m members) Add(ctx context.Context, url string) error {
	return invalid(m.Member.Add(ctx, url))
}

// Remove implements operator.Members.
func (m members) Remove(ctx context.Context, id uint64) error {
	return invalid(m.Member.Remove(ctx, id))
}

// invalid is what an operator may be told of a change of members that was refused.
func invalid(err error) error {
	var refused *member.Refusal
	switch {
	case errors.As(err, &refused):
		return &api.Error{Kind: api.Invalid, Message: refused.What, Hint: refused.Hint, Err: err}
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return &api.Error{Kind: api.Invalid, Message: err.Error(), Err: err}
}
