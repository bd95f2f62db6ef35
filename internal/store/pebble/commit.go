package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	crdb "github.com/cockroachdb/pebble/v2"

	"github.com/strongroom/strongroom/internal/store"
)

const (
	queueLength   = 1024    // commits that wait to be judged before callers block
	maxGroup      = 1024    // commits in one group
	maxGroupBytes = 2 << 20 // bytes after which a group takes no more commits
)

// request is one Commit on its way through the committer.
type request struct {
	ctx    context.Context
	checks []store.Check
	writes []store.Write
	rev    store.Rev
	err    error
	done   chan struct{} // closed when rev and err are set

	mu        sync.Mutex // held while it is judged
	judged    bool       // what the caller handed in has been read
	abandoned bool       // the caller has gone; what it handed in must not be read
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if err := store.Validate(checks, writes); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r := &request{ctx: ctx, checks: checks, writes: writes, done: make(chan struct{})}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.closing:
		return 0, store.ErrClosed
	}
	return s.await(r)
}

func (s *Store) await(r *request) (store.Rev, error) {
	select {
	case <-r.done:
		return r.rev, r.err
	case <-r.ctx.Done():
		return 0, r.abandon()
	case <-s.exited:
	}
	select {
	case <-r.done:
		return r.rev, r.err
	default:
		return 0, store.ErrClosed
	}
}

// abandon gives a commit up whose context has ended: in time that it is never
// made, or else without knowing its outcome. Either way the committer no longer
// reads what the caller handed in.
func (r *request) abandon() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abandoned = true
	if r.judged {
		return fmt.Errorf("store: the commit's outcome is unknown: %w", r.ctx.Err())
	}
	return r.ctx.Err()
}

// committer is the one goroutine that judges and writes.
type committer struct {
	*Store
	last    store.Rev // last revision assigned
	floor   store.Rev // the change log holds every commit after it
	group   *group    // being gathered
	syncing *group    // on its way to disk; nil: none
	disk    chan *group
	applied chan error
	synced  chan error
}

// group is the commits that go to disk together.
type group struct {
	requests []*request
	batch    *crdb.Batch
	revs     map[string]store.Rev // keys the group wrote; 0: removed
	changes  []store.Change
	log      []byte // the group's row in the change log
	noRoom   bool   // the disk is nearly full: the group takes no writes
}

func newCommitter(s *Store, floor, last store.Rev) *committer {
	c := &committer{
		Store: s, floor: floor, last: last,
		disk: make(chan *group), applied: make(chan error, 1), synced: make(chan error, 1),
	}
	c.group = c.newGroup()
	return c
}

func (c *committer) newGroup() *group {
	return &group{batch: c.db.NewBatch(), revs: map[string]store.Rev{}, noRoom: c.nearlyFull()}
}

// nearlyFull reports whether less of the disk is free than must stay so. A
// filesystem that cannot tell is taken to have room.
func (s *Store) nearlyFull() bool {
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil || s.reserve <= 0 {
		return false
	}
	return usage.AvailBytes < min(uint64(s.reserve), usage.TotalBytes/8)
}

// write brings groups to disk, one at a time. It is a goroutine of its own, so
// that the committer can gather while a sync takes its time, and goes on to
// refuse commits when a failed disk keeps this one for ever.
func (c *committer) write() {
	for g := range c.disk {
		err := guarded(func() error { return c.apply(g) })
		c.applied <- err
		if err == nil && !c.noSync {
			err = g.batch.SyncWait()
		}
		c.synced <- err
	}
}

func (c *committer) run() {
	go c.write()
	defer c.exit()
	for {
		select {
		case r := <-c.accepting():
			c.judge(r)
			c.gather()
		case err := <-c.synced:
			c.finish(err)
		case <-c.log.failed:
			return
		case <-c.closing:
			return
		}
		if c.syncing == nil {
			c.launch()
		}
	}
}

// accepting is the queue, or nil while the gathered group is full.
func (c *committer) accepting() chan *request {
	if c.group.full() {
		return nil
	}
	return c.queue
}

func (g *group) full() bool {
	return len(g.requests) >= maxGroup || g.batch.Len() >= maxGroupBytes
}

// gather judges what waits in the queue.
func (c *committer) gather() {
	for !c.group.full() {
		select {
		case r := <-c.queue:
			c.judge(r)
		default:
			return
		}
	}
}

// judge decides a commit against all commits before it, and adds it to the
// group. Its answer waits for the group in any case: a conflict may rest on a
// commit that is not durable yet.
func (c *committer) judge(r *request) {
	c.group.requests = append(c.group.requests, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged = true
	if r.err = c.check(r); r.err != nil {
		return
	}
	r.rev = c.last
	if len(r.writes) == 0 {
		return
	}
	c.last++
	r.rev = c.last
	if err := c.group.add(r); err != nil {
		c.log.fail(err) // the batch holds half a commit
	}
}

func (c *committer) check(r *request) error {
	if r.abandoned {
		return context.Canceled
	}
	if c.group.noRoom && len(r.writes) > 0 {
		return store.ErrFull
	}
	for _, check := range r.checks {
		rev, err := c.revision(check.Key)
		if err != nil {
			return err
		}
		if rev != check.Rev {
			return store.ErrConflict
		}
	}
	return nil
}

// revision is the newest revision of a key, durable or not.
func (c *committer) revision(key string) (store.Rev, error) {
	if rev, ok := c.group.revs[key]; ok {
		return rev, nil
	}
	rev, _, err := read(c.db, key, false)
	return rev, err
}

// add puts a commit's writes into the batch.
func (g *group) add(r *request) error {
	keys := make([]string, 0, len(r.writes))
	for _, w := range r.writes {
		keys = append(keys, w.Key)
		if err := g.write(w, r.rev); err != nil {
			return err
		}
	}
	slices.SortFunc(keys, strings.Compare)
	g.changes = append(g.changes, store.Change{Rev: r.rev, Keys: keys})
	g.log = appendChange(g.log, keys)
	return nil
}

func (g *group) write(w store.Write, rev store.Rev) error {
	if w.Delete {
		g.revs[w.Key] = 0
		op := g.batch.DeleteDeferred(1 + len(w.Key))
		appendDataKey(op.Key[:0], w.Key)
		return op.Finish()
	}
	g.revs[w.Key] = rev
	op := g.batch.SetDeferred(1+len(w.Key), revBytes+len(w.Value))
	appendDataKey(op.Key[:0], w.Key)
	binary.BigEndian.PutUint64(op.Value, uint64(rev))
	copy(op.Value[revBytes:], w.Value)
	return op.Finish()
}

// launch sends the gathered group on its way to disk. A group that writes
// nothing is answered at once: nothing is in flight, so all it saw is durable.
func (c *committer) launch() {
	g := c.group
	if len(g.requests) == 0 || c.log.failure() != nil {
		return
	}
	c.group = c.newGroup()
	if len(g.changes) == 0 {
		c.done(g)
		return
	}
	c.syncing = g
	if err := c.complete(g); err != nil {
		c.log.fail(err)
		return
	}
	c.disk <- g
	// The next commit must be judged against what this group wrote.
	select {
	case err := <-c.applied:
		if err != nil {
			c.log.fail(err)
		}
	case <-c.log.failed:
	}
}

// complete adds the group's row in the change log to its batch.
func (c *committer) complete(g *group) error {
	if err := g.batch.Set(logKey(g.changes[0].Rev), g.log, nil); err != nil {
		return err
	}
	return c.trim(g.batch)
}

// apply hands the group's batch to Pebble. When it returns the batch is in
// memory and in the queue to disk.
func (c *committer) apply(g *group) error {
	if c.noSync {
		return c.db.Apply(g.batch, crdb.NoSync)
	}
	return c.db.ApplyNoSyncWait(g.batch, crdb.Sync)
}

// finish takes note that a group is on disk, or that it failed to get there. It
// launches the next group before it answers the callers of this one: their
// answers must not hold up the disk.
func (c *committer) finish(err error) {
	g := c.syncing
	if !c.settle(err) {
		return
	}
	c.launch()
	c.done(g)
}

// settle makes the synced group visible; false when it failed to sync.
func (c *committer) settle(err error) bool {
	if err != nil {
		c.log.fail(fmt.Errorf("writing a commit: %w", err))
		return false
	}
	changes := c.syncing.changes
	c.publish(changes[len(changes)-1].Rev)
	c.history.Append(changes...)
	c.syncing = nil
	return true
}

// done answers a group whose commits are durable.
func (c *committer) done(g *group) {
	g.answer(nil)
	if err := g.batch.Close(); err != nil {
		c.log.Errorf("closing a batch: %v", err)
	}
}

// answer tells each caller its own verdict, or err when there is one.
func (g *group) answer(err error) {
	for _, r := range g.requests {
		if err != nil {
			r.rev, r.err = 0, err
		}
		close(r.done)
	}
}

// exit ends the committer: what is on its way to disk is finished and the rest
// refused. After a failure that goes on until the store is closed.
func (c *committer) exit() {
	defer close(c.exited)
	if g := c.syncing; g != nil {
		select {
		case err := <-c.synced:
			if c.settle(err) {
				c.done(g)
			}
		case <-c.log.failed:
		}
	}
	close(c.disk)
	if c.syncing != nil {
		c.syncing.answer(c.refusal())
	}
	c.group.answer(c.refusal())
	for {
		select {
		case r := <-c.queue:
			r.err = c.refusal()
			close(r.done)
		case <-c.closing:
			return
		}
	}
}

// refusal is why nothing is committed any more.
func (c *committer) refusal() error {
	if err := c.log.failure(); err != nil {
		return err
	}
	return store.ErrClosed
}
