// Package pebble owns the embedded store engine: one directory on one machine,
// every acknowledged commit on disk, kept by Pebble's log-structured merge tree.
//
// One goroutine judges all commits in the order they arrive, so many that wait
// together cost one write to disk (group commit): while one group is being
// synced the next is gathered and judged. Readers see only what is durable.
//
// An error while writing ends writing: whether a failed sync has reached the
// disk cannot be known, and asking again may answer wrongly that it has. Every
// later commit is refused with that error until the store is opened again;
// reading goes on.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	crdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/strongroom/strongroom/internal/store"
)

// recentCommits is how many commits feeds are served from memory; older ones
// are read from the change log.
const recentCommits = 2048

// Store is the embedded engine. It implements store.Engine.
type Store struct {
	db      *crdb.DB
	lock    *crdb.Lock
	fs      vfs.FS
	dir     string
	log     *engineLog
	keep    store.Rev // commits the change log keeps
	reserve int64     // bytes of the disk that must stay free
	noSync  bool
	history *store.History

	current atomic.Pointer[view] // what readers see; nil once closed
	views   sync.WaitGroup       // views not yet closed
	past    past
	listers listers

	queue     chan *request
	closeOnce sync.Once
	closeErr  error
	closing   chan struct{} // closed by Close
	exited    chan struct{} // closed when the committer is done with all it took
}

var _ store.Engine = (*Store)(nil)

// Open opens the store in dir, which is made, with access for the owner alone,
// when it is absent. It returns store.ErrLocked when another process holds the
// directory, and refuses, without touching it, a directory that a newer version
// wrote or that holds something else.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	lock, err := claim(o.FS, dir)
	if err != nil {
		return nil, err
	}
	s, err := open(dir, o, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func open(dir string, o Options, lock *crdb.Lock) (*Store, error) {
	log := newEngineLog(o.Logger)
	opts := o.engineOptions(log)
	opts.Lock, opts.FS = lock, stopFS{o.FS, dir, log, o.MemTableBytes / walSteps}
	var db *crdb.DB
	err := log.unlessFailed(func() (err error) {
		db, err = crdb.Open(dir, opts)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", dir, damaged("engine", err))
	}
	s := &Store{
		db: db, lock: lock, fs: o.FS, dir: dir, log: log,
		keep: store.Rev(o.KeepCommits), reserve: o.ReserveBytes, noSync: o.noSync || neverSync,
		queue:   make(chan *request, queueLength),
		closing: make(chan struct{}), exited: make(chan struct{}),
	}
	c, err := s.start()
	if err != nil {
		return nil, errors.Join(err, log.unlessFailed(db.Close))
	}
	go c.run()
	return s, nil
}

// start reads where the change log stands and shows the state to readers.
func (s *Store) start() (*committer, error) {
	floor, last, err := logBounds(s.db)
	if err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", s.dir, err)
	}
	s.history = store.NewHistory(recentCommits, last)
	if !s.publish(last) {
		return nil, fmt.Errorf("opening the store in %s: %w", s.dir, s.log.failure())
	}
	return newCommitter(s, floor, last), nil
}

// Sync implements store.Store. It is a read of memory.
func (s *Store) Sync(ctx context.Context) (store.Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	v := s.current.Load()
	if v == nil {
		return 0, store.ErrClosed
	}
	return v.rev, nil
}

// Sole reports that nobody else can be at work on the data: its directory is locked.
func (s *Store) Sole() bool { return true }

// Failure is the error that ended writing, or nil. Commit returns it too.
func (s *Store) Failure() error { return s.log.failure() }

// Close implements store.Store. Commits in flight are answered first.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

// close closes everything, except after a failure: Pebble would wait for work
// that the failure has ended. The directory then stays locked until the process
// ends, as Pebble may still be at work in it.
func (s *Store) close() error {
	close(s.closing)
	select {
	case <-s.exited:
	case <-s.log.failed: // the failed disk may keep the committer for ever
	}
	s.history.Close()
	if err := s.log.failure(); err != nil {
		s.current.Store(nil)
		return err
	}
	if err := s.log.unlessFailed(s.unpublish); err != nil {
		return err
	}
	if err := s.log.unlessFailed(s.db.Close); err != nil {
		return err
	}
	return s.lock.Close()
}
