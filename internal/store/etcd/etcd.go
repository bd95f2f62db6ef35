// Package etcd owns the store engine that keeps everything in an etcd cluster: one
// that runs by itself, or members inside the Strongroom processes (package member).
//
// A commit is one etcd transaction, a revision is etcd's, and every read is
// linearizable. A node has one watch, from which all its feeds are served.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/strongroom/strongroom/internal/store"
)

// Options configures a Store. The zero value is usable.
type Options struct {
	// Prefix is what all keys in etcd begin with; empty: "strongroom/".
	Prefix string
	// Timeout bounds each call whose context ends later; 0: 10 s.
	Timeout time.Duration
	// KeepCommits is how many commits feeds are served from memory at least; 0:
	// 4,096. Older ones are read from etcd while it knows them.
	KeepCommits int
	// Retain is how much of its history etcd keeps.
	Retain Retain
	// Logger receives what the engine has to say. It never sees a value, a key or
	// a password. nil: nothing is said.
	Logger *slog.Logger
}

// Retain bounds the history that etcd keeps: what exceeds either bound is
// compacted away, unless a view of this node needs it.
type Retain struct {
	// Off leaves compaction to who runs the cluster.
	Off bool
	// Revisions is how many are kept at most; 0: 500,000.
	Revisions int64
	// For is how long they are kept at most; 0: 30 minutes.
	For time.Duration
	// Every is how often it is looked at; 0: every minute.
	Every time.Duration
}

const (
	defaultPrefix  = "strongroom/"
	maxPrefix      = 256 // bytes; with it, and every other limit reached, a commit stays within etcd's default request size
	defaultTimeout = 10 * time.Second
	defaultKeep    = 4096
)

func (o Options) withDefaults() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.KeepCommits == 0 {
		o.KeepCommits = defaultKeep
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Retain = o.Retain.withDefaults()
	return o, o.validate()
}

// Check reports what is wrong about the options.
func (o Options) Check() error {
	_, err := o.withDefaults()
	return err
}

func (o Options) validate() error {
	switch {
	case len(o.Prefix) > maxPrefix:
		return fmt.Errorf("etcd: the key prefix has more than %d bytes", maxPrefix)
	case !strings.HasSuffix(o.Prefix, "/"):
		return errors.New("etcd: the key prefix must end in a slash")
	case o.Timeout < 0, o.KeepCommits < 0:
		return errors.New("etcd: the timeout and the number of kept commits must not be negative")
	case o.Retain.Revisions < 0, o.Retain.For < 0, o.Retain.Every < 0:
		return errors.New("etcd: what is retained must not be negative")
	}
	return nil
}

// Store is a handle on the data under one prefix of an etcd cluster. It
// implements store.Engine.
type Store struct {
	client  *clientv3.Client
	release func() error // ends what the store was handed with the client
	opts    Options
	data    string // what the keys of entries begin with in etcd
	birth   store.Rev
	shared  *store.Shared

	open context.Context // ends when the store is closed
	end  context.CancelFunc
	work sync.WaitGroup

	pins    pins
	streams streams

	mu      sync.Mutex
	seen    store.Rev // the newest revision that any answer has shown
	cluster uint64    // etcd's id of the cluster that answered
	epoch   *epoch
	former  []*epoch // of a history that etcd has lost, with feeds not yet closed
	wanted  chan struct{}
	want    store.Rev // feeds must reach it
}

var _ store.Engine = (*Store)(nil)

// New opens a store over a client, which release ends, also when New fails. The
// context bounds only the opening.
func New(ctx context.Context, client *clientv3.Client, release func() error, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, errors.Join(err, release())
	}
	s := &Store{client: client, release: release, opts: o, data: o.Prefix + dataName, wanted: make(chan struct{}, 1)}
	s.open, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.shared = store.NewShared(s.ask)
	s.epoch = newEpoch(s.open, o.KeepCommits, 0)
	if err := s.begin(ctx); err != nil {
		s.end()
		return nil, errors.Join(fmt.Errorf("opening the store in etcd: %w", err), release())
	}
	return s, nil
}

// begin reads where the store stands and starts what runs beside it.
func (s *Store) begin(ctx context.Context) error {
	if err := s.claim(ctx); err != nil {
		return err
	}
	rev, err := s.Sync(ctx)
	if err != nil {
		return err
	}
	s.epoch = newEpoch(s.open, s.opts.KeepCommits, rev)
	s.work.Go(s.follow)
	if !s.opts.Retain.Off {
		s.work.Go(s.compactAlways)
	}
	return nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.open.Err() != nil
	s.end()
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.work.Wait()
	return s.release()
}

// call bounds a call to etcd: by the caller, by the store's life and in time.
func (s *Store) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	stop := context.AfterFunc(s.open, cancel)
	return ctx, func() { stop(); cancel() }
}
