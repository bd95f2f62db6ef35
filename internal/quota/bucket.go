package quota

import (
	"container/list"
	"hash/maphash"
	"maps"
	"math"
	"sync"
	"time"
)

// maxBuckets bounds whose requests a node counts apart, in all quotas together: some
// 20 MB when strangers fill it.
const maxBuckets = 64 << 10

const (
	shards = 16
	looks  = 8 // how many buckets are looked at to find one that is not needed
)

// Buckets count requests in memory, one bucket for each client of each quota. What
// they hold is bounded. A bucket that has something to remember is never given up
// for another one's sake: who comes when there is no room shares one bucket, the quota's
// last, with all others who do. It is safe for concurrent use.
type Buckets struct {
	seed   maphash.Seed
	most   int // in a shard
	shards [shards]shard
}

type shard struct {
	mu     sync.Mutex
	byKey  map[key]*list.Element
	recent *list.List // of *bucket, the one used last in front
	shared map[string]*bucket
}

// key is a client of a quota, which is named by its ID.
type key struct{ quota, client string }

// terms are what a bucket goes by.
type terms struct {
	rate     float64
	interval time.Duration
	block    time.Duration
}

type bucket struct {
	key   key
	terms terms
	left  float64   // requests that may be made
	at    time.Time // when that was so
	until time.Time // it is blocked; zero: it is not
}

// Verdict is what came of a request.
type Verdict struct {
	Allowed   bool
	Limit     int64         // requests in an interval
	Remaining int64         // that may be made now
	Wait      time.Duration // until there is room for one more; 0: there is
}

// NewBuckets holds at most so many buckets.
func NewBuckets(most int) *Buckets {
	b := &Buckets{seed: maphash.MakeSeed(), most: max(most/shards, 1)}
	for i := range b.shards {
		b.shards[i] = shard{byKey: map[key]*list.Element{}, recent: list.New(), shared: map[string]*bucket{}}
	}
	return b
}

// Take counts a request of a client of a quota, at a moment.
func (b *Buckets) Take(quota, client string, t terms, now time.Time) Verdict {
	k := key{quota, client}
	s := &b.shards[maphash.Comparable(b.seed, k)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bucket(k, t, now, b.most).take(now)
}

// Len is how many buckets there are.
func (b *Buckets) Len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.byKey) + len(s.shared)
		s.mu.Unlock()
	}
	return n
}

// bucket is that of a client, or the one that it has to share.
func (s *shard) bucket(k key, t terms, now time.Time, most int) *bucket {
	if e := s.byKey[k]; e != nil {
		s.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if len(s.byKey) >= most && !s.makeRoom(now) {
		return s.last(k.quota, t, now)
	}
	b := newBucket(k, t, now)
	s.byKey[k] = s.recent.PushFront(b)
	return b
}

// makeRoom gives up a bucket that remembers nothing. Those it finds needed are
// looked at again last.
func (s *shard) makeRoom(now time.Time) bool {
	for range looks {
		e := s.recent.Back()
		b := e.Value.(*bucket)
		if b.idle(now) {
			s.recent.Remove(e)
			delete(s.byKey, b.key)
			return true
		}
		s.recent.MoveToFront(e)
	}
	return false
}

// last is the bucket of a quota that those share who find no room. There are no more
// of them than quotas.
func (s *shard) last(quota string, t terms, now time.Time) *bucket {
	if b := s.shared[quota]; b != nil {
		return b
	}
	maps.DeleteFunc(s.shared, func(_ string, b *bucket) bool { return b.idle(now) }) // of quotas that are no more
	b := newBucket(key{quota: quota}, t, now)
	s.shared[quota] = b
	return b
}

func newBucket(k key, t terms, now time.Time) *bucket {
	return &bucket{key: k, terms: t, left: t.most(), at: now}
}

// most is how many requests may be made at once.
func (t terms) most() float64 { return math.Max(t.rate, 1) }

// fill adds what has become free since. A clock that is set back adds nothing.
func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = math.Min(b.terms.most(), b.left+b.terms.rate*float64(d)/float64(b.terms.interval))
	}
	b.at = now
}

// idle reports whether the bucket is as a new one would be.
func (b *bucket) idle(now time.Time) bool {
	b.fill(now)
	return b.left >= b.terms.most() && !now.Before(b.until)
}

func (b *bucket) take(now time.Time) Verdict {
	b.fill(now)
	v := Verdict{Limit: int64(math.Ceil(b.terms.rate))}
	blocked := min(b.until.Sub(now), b.terms.block) // no longer, should the clock have been set back
	switch {
	case blocked > 0:
		v.Wait = blocked
	case b.left >= 1:
		b.left, b.until = b.left-1, time.Time{}
		v.Allowed, v.Remaining = true, int64(b.left)
		v.Wait = b.wait()
	case b.terms.block > 0:
		b.until, v.Wait = now.Add(b.terms.block), b.terms.block
	default:
		v.Wait = b.wait()
	}
	return v
}

// wait is how long it takes until there is room for a request.
func (b *bucket) wait() time.Duration {
	if b.left >= 1 {
		return 0
	}
	return time.Duration(math.Min((1-b.left)/b.terms.rate*float64(b.terms.interval), float64(maxInterval)))
}
