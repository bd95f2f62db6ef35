// Package store owns the contract that everything Strongroom keeps stands on:
// an ordered key-value store with revisions.
//
// A transaction is data (checks and writes), so that an engine can judge many
// at once: group commit is what makes durable writes fast on every engine. The
// closure form, Update, is built once above the contract, and all domain code
// writes through it. Sub gives a view of the keys under a prefix. Cache keeps
// what was read until Watch says that it changed.
//
// Package storetest holds the contract's tests; every engine passes them
// whole. What they pin:
//
//   - ErrConflict, ErrFull and ErrUnreachable mean that nothing was written. Any other error
//     from Commit means that the outcome is unknown: callers are idempotent or read again.
//   - A revision belongs to one commit for ever: delete and recreate gives a
//     new one. Revision order is commit order.
//   - List is not part of a transaction's read set. An invariant over a set
//     uses a guard key that every writer of the set touches.
//   - Every engine takes at least MaxWrites writes and MaxCommitBytes a commit.
//     Bigger values are chunked above the store.
//   - There is no TTL, lock or leader in an engine.
//   - What a reader has seen is durable: nothing served is lost in a crash.
package store

import (
	"context"
	"errors"
)

// Limits that every engine accepts in full. Every engine refuses a commit beyond
// them with ErrTooLarge before anything is written, so that what passes on one
// engine passes on all of them. See Validate.
const (
	MaxKeyBytes    = 4 << 10   // longest key, in bytes
	MaxWrites      = 100       // writes in one commit
	MaxChecks      = 100       // checks in one commit
	MaxCommitBytes = 800 << 10 // keys and values written by one commit together, in bytes
)

// Room for the layers between who commits and an engine: views prefix keys, the
// barrier makes values longer. Engines accept so much beyond the limits, so that a
// commit within the limits passes through the layers.
const (
	LayerKeyBytes   = 128 // added to a key, in bytes
	LayerWriteBytes = 256 // added to a write, its key included, in bytes
)

// Errors of the contract. Engines return them wrapped or bare: test with errors.Is.
var (
	// ErrConflict says that a check's revision has moved; nothing was written.
	ErrConflict = errors.New("store: a checked key has changed")
	// ErrCompacted says that a Watch asked for commits that are no longer kept.
	// The watcher must drop what it remembers and start from a newer revision.
	ErrCompacted = errors.New("store: the requested revision has been compacted")
	// ErrTooLarge says that a key, or the commit as a whole, is over a limit.
	ErrTooLarge = errors.New("store: the commit is larger than the store takes")
	// ErrInvalid says that a commit is malformed: an empty key, or one key written twice.
	ErrInvalid = errors.New("store: malformed commit")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("store: closed")
	// ErrLocked says that another process holds the data directory.
	ErrLocked = errors.New("store: the data directory is held by another process")
	// ErrFull says that the disk is nearly full, or a quota reached; nothing was written. Reads go on, and
	// so do writes once there is room.
	ErrFull = errors.New("store: there is no room")
	// ErrUnreachable says that the store could not be reached or did not answer; nothing was written.
	ErrUnreachable = errors.New("store: cannot be reached")
	// ErrUnknown says that a commit was under way when the store was lost sight of: whether it was
	// made is not known.
	ErrUnknown = errors.New("store: the commit's outcome is unknown")
	// ErrStopped says that the store has stopped writing after an I/O error and
	// must be opened anew; the outcome of the commit is unknown.
	ErrStopped = errors.New("store: has stopped writing after an error")
	// ErrSealed says that the keys of one part of the store, a namespace, are not at
	// hand: it has been sealed. Other parts are not concerned.
	ErrSealed = errors.New("store: this part of the store is sealed")
	// ErrCorrupt says that one entry's stored form is damaged; others may be whole.
	ErrCorrupt = errors.New("store: entry is damaged")
)

// Rev is a store revision. Each commit that writes has one, and revision order
// is commit order; gaps are allowed. The zero Rev stands for an absent entry.
type Rev uint64

// Entry is one key and its value at the revision of the commit that wrote it.
// The value must not be modified: it may be shared.
type Entry struct {
	Key   string
	Value []byte
	Rev   Rev // 0 when the entry is absent
}

// Exists reports whether the entry is present in the store.
func (e Entry) Exists() bool { return e.Rev != 0 }

// Range selects keys in [Start, End) in byte order.
type Range struct {
	Start    string // first key, inclusive
	End      string // end of the range, exclusive; empty: no upper bound
	Limit    int    // at most so many entries; 0: no limit
	KeysOnly bool   // leave Entry.Value nil
}

// Prefix is the range of all keys that begin with p.
func Prefix(p string) Range { return Range{Start: p, End: PrefixEnd(p)} }

// PrefixEnd is the smallest key greater than every key with prefix p; empty
// when there is none.
func PrefixEnd(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] < 0xff {
			return p[:i] + string([]byte{p[i] + 1})
		}
	}
	return ""
}

// After is the range that continues r behind key, for the next page of a List.
func (r Range) After(key string) Range {
	r.Start = key + "\x00"
	return r
}

// Check demands that a key is still at a revision; 0 demands that it is absent.
type Check struct {
	Key string
	Rev Rev
}

// Write sets a key, or removes it. Removing an absent key is no error.
type Write struct {
	Key    string
	Value  []byte
	Delete bool
}

// Change is one commit as Watch reports it: its revision and the keys it wrote
// or removed, each once, in key order. Keys that were removed without having
// been there may be left out. A Change without keys is a mark of progress: it
// says that nothing else is to be reported up to Rev.
type Change struct {
	Rev  Rev
	Keys []string
}

// Feed delivers the commits after a revision, in commit order, none twice and
// none left out. A commit is delivered only when it can be read. A feed
// reaches every revision that Sync returns, by a commit or by a mark of
// progress, whether or not there is a further commit.
type Feed interface {
	// Next waits for the next commit. It returns ctx's error when ctx ends first,
	// ErrCompacted when the feed fell too far behind, and ErrClosed when the feed
	// or its store has been closed.
	Next(ctx context.Context) (Change, error)
	// Close releases the feed; it is safe to call twice.
	Close() error
}

// Reader is the part of a Store that reads.
type Reader interface {
	// Get reads one entry. An absent key is no error: its Rev is 0.
	Get(ctx context.Context, key string) (Entry, error)
	// List reads a range in key order, as of one moment.
	List(ctx context.Context, r Range) ([]Entry, error)
}

// Store is an ordered key-value store with revisions. It is safe for
// concurrent use. All methods are linearizable: an operation sees every commit
// that was acknowledged before it began.
type Store interface {
	Reader
	// Commit makes all writes or none and returns once they are durable.
	// It writes nothing and returns ErrConflict when a check fails. The keys of
	// writes must be distinct. A commit without writes judges its checks and
	// returns the current revision; one that only removes absent keys may do so too.
	Commit(ctx context.Context, checks []Check, writes []Write) (Rev, error)
	// Watch reports every commit after a revision, across a reopen of the store.
	// It returns ErrCompacted when the store no longer knows them all.
	Watch(ctx context.Context, after Rev) (Feed, error)
	// Sync returns a revision no older than any commit acknowledged, on any node,
	// before the call. It is called once a request: an embedded engine answers from
	// memory without allocating, a remote one lets concurrent callers share a
	// round trip (see Shared).
	Sync(ctx context.Context) (Rev, error)
	// Close releases the store. Calls in flight may return ErrClosed.
	Close() error
}

// View is the state of a store at one moment, for reading much of it while others
// write. It holds resources of the engine until it is closed, which it is before its
// store: closing the store may wait for that. It is safe for concurrent use.
type View interface {
	Reader
	// Rev is the revision of the newest commit that the view shows.
	Rev() Rev
	// Close releases the view; it is safe to call twice.
	Close() error
}

// Engine is the store at the bottom: what keeps the bytes. The layers above it are
// Stores; only what copies a whole store as it lies needs an Engine.
type Engine interface {
	Store
	// View is the state at a moment no older than any commit acknowledged, on any
	// node, before the call. Its reads return ErrCompacted once the engine can no
	// longer tell that state, and ErrClosed after the view was closed.
	View(ctx context.Context) (View, error)
}
