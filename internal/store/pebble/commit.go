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
	groupsALook   = 8       // groups from one look at how full the disk is to the next
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
	case <-s.log.failed:
		return 0, s.refusal()
	case <-s.closing:
		return 0, store.ErrClosed
	}
	return s.await(r)
}

// await returns a commit's outcome. It does not wait for a disk that hangs longer
// than the caller wants to, nor for one that has failed.
func (s *Store) await(r *request) (store.Rev, error) {
	select {
	case <-r.done:
		return r.rev, r.err
	case <-r.ctx.Done():
		return 0, r.abandon(r.ctx.Err())
	case <-s.log.failed:
	case <-s.exited:
	}
	select {
	case <-r.done:
		return r.rev, r.err
	default:
	}
	if rev, ok := r.shown(s.current.Load()); ok {
		return rev, nil
	}
	return 0, r.abandon(s.refusal())
}

// shown reports whether a commit is made and among what readers see, which after
// a failure changes no more.
func (r *request) shown(v *view) (store.Rev, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rev, v != nil && r.judged && r.err == nil && r.rev <= v.rev
}

// abandon gives a commit up that its caller no longer waits for, because of why:
// in time that it is never made, or else without knowing its outcome. Either way
// the committer no longer reads what the caller handed in.
func (r *request) abandon(why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abandoned = true
	if r.judged {
		return store.Unknown(why)
	}
	return why
}

// committer is the one goroutine that judges and writes. A disk that fails may
// keep it for ever: then nobody waits for it any more, see await.
type committer struct {
	*Store
	last    store.Rev // last revision assigned
	floor   store.Rev // the change log holds every commit after it
	group   *group    // being gathered
	durable *group    // on disk and shown; its callers are still to be answered
	room    room
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
	c := &committer{Store: s, floor: floor, last: last}
	c.group = c.newGroup()
	return c
}

func (c *committer) newGroup() *group {
	c.room.groups++
	if c.room.none || c.room.groups >= groupsALook || c.room.bytes >= c.room.reserve/16 {
		c.room = c.look()
	}
	return &group{batch: c.db.NewBatch(), revs: map[string]store.Rev{}, noRoom: c.room.none}
}

// room is what the last look at the disk has shown, and what came since.
type room struct {
	reserve uint64 // bytes that must stay free
	none    bool   // fewer are
	bytes   uint64 // written since
	groups  int    // begun since
}

// look asks how full the disk is. A filesystem that cannot tell is taken to have
// room.
func (s *Store) look() room {
	if s.reserve <= 0 {
		return room{}
	}
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return room{}
	}
	reserve := min(uint64(s.reserve), usage.TotalBytes/8)
	return room{reserve: reserve, none: usage.AvailBytes < reserve}
}

// run brings one group after the other to disk. A lone commit costs as few
// changes of goroutine as can be; with many, the next group is gathered while one
// is synced, and is on its way before the callers of that one are answered: their
// answers must not hold up the disk.
func (c *committer) run() {
	defer c.exit()
	for c.ready() {
		c.gather()
		g, err := c.launch()
		c.answerDurable()
		if err == nil && g != nil {
			c.gather()
			err = c.land(g)
		}
		if err != nil {
			c.log.fail(err)
			return
		}
	}
}

// ready waits until there is something to do; false when the store is closed or
// has failed.
func (c *committer) ready() bool {
	var queue chan *request
	if c.group.empty() && c.durable == nil {
		queue = c.queue
	}
	select {
	case <-c.log.failed:
		return false
	case <-c.closing:
		return false
	default:
	}
	if queue == nil {
		return true
	}
	select {
	case r := <-queue:
		c.judge(r)
		return true
	case <-c.log.failed:
		return false
	case <-c.closing:
		return false
	}
}

func (g *group) empty() bool { return len(g.requests) == 0 }

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
	g.log = store.AppendChange(g.log, keys)
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

// launch hands the gathered group to Pebble and returns it, to be landed. A group
// that writes nothing is answered at once: nothing is in flight, so all it saw is
// durable.
func (c *committer) launch() (*group, error) {
	g := c.group
	if err := c.log.failure(); err != nil || g.empty() {
		return nil, err // after a failure the batch may hold half a commit
	}
	c.room.bytes += uint64(g.batch.Len())
	c.group = c.newGroup()
	if len(g.changes) == 0 {
		c.done(g)
		return nil, nil
	}
	if err := c.complete(g); err != nil {
		return nil, err
	}
	if err := guarded(func() error { return c.apply(g) }); err != nil {
		return nil, fmt.Errorf("writing a commit: %w", err)
	}
	return g, nil
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

// land waits until a launched group is on disk, and shows it to readers.
func (c *committer) land(g *group) error {
	if !c.noSync {
		if err := g.batch.SyncWait(); err != nil {
			return fmt.Errorf("writing a commit: %w", err)
		}
	}
	if !c.publish(g.changes[len(g.changes)-1].Rev) {
		return c.log.failure()
	}
	c.history.Append(g.changes...)
	c.durable = g
	return nil
}

func (c *committer) answerDurable() {
	if c.durable != nil {
		c.done(c.durable)
		c.durable = nil
	}
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
			r.refuse(err)
		}
		close(r.done)
	}
}

func (r *request) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rev, r.err = 0, err
}

// exit ends the committer. What is in the queue learns it from exited.
func (c *committer) exit() {
	c.answerDurable()
	if c.log.failure() == nil {
		c.group.answer(store.ErrClosed)
	}
	close(c.exited)
}

// refusal is why nothing is committed any more.
func (s *Store) refusal() error {
	if err := s.log.failure(); err != nil {
		return err
	}
	return store.ErrClosed
}
