package quota

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// In any span of time no more requests are let in than the bucket holds and what
// flows into it meanwhile, and no fewer of those that wait for as long as they are told.
func TestBucketKeepsItsRate(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		tm := terms{rate: math.Exp(r.Float64()*8 - 3), interval: time.Duration(1+r.IntN(100)) * time.Second}
		b, now := NewBuckets(maxBuckets), start
		var let []time.Time
		for range 500 {
			v := b.Take("q", "c", tm, now)
			if v.Allowed {
				let = append(let, now)
			} else if v.Wait <= 0 {
				t.Fatalf("seed %d: refused, and told to wait %v", seed, v.Wait)
			} else if v2 := b.Take("q", "c", tm, now.Add(v.Wait+time.Microsecond)); !v2.Allowed {
				t.Fatalf("seed %d: refused after the wait of %v that it was told", seed, v.Wait)
			} else {
				now = now.Add(v.Wait + time.Microsecond)
				let = append(let, now)
			}
			now = now.Add(time.Duration(r.ExpFloat64() * float64(tm.interval) / tm.rate / 2))
		}
		for i := range let {
			for j := i; j < len(let); j += 1 + r.IntN(40) {
				span := let[j].Sub(let[i])
				most := tm.most() + tm.rate*float64(span)/float64(tm.interval)
				if got := j - i + 1; float64(got) > most+1e-6 {
					t.Fatalf("seed %d: %d requests in %v at %v in %v", seed, got, span, tm.rate, tm.interval)
				}
			}
		}
	}
}

func TestBlockedClientWaits(t *testing.T) {
	b, tm := NewBuckets(maxBuckets), terms{rate: 2, interval: time.Second, block: time.Minute}
	for i, c := range []struct {
		at      time.Duration
		allowed bool
		wait    time.Duration
	}{{0, true, 0}, {0, true, 500 * time.Millisecond}, {0, false, time.Minute}, {10 * time.Second, false, 50 * time.Second},
		{59 * time.Second, false, time.Second}, {60 * time.Second, true, 0}, {-time.Hour, true, 500 * time.Millisecond}} {
		if v := b.Take("q", "c", tm, start.Add(c.at)); v.Allowed != c.allowed || v.Wait != c.wait || v.Limit != 2 {
			t.Errorf("step %d: %+v", i, v)
		}
	}
	b.Take("q", "c", tm, start)
	b.Take("q", "c", tm, start)
	b.Take("q", "c", tm, start)
	if v := b.Take("q", "c", tm, start.Add(-24*time.Hour)); v.Wait > time.Minute {
		t.Errorf("a clock that was set back blocks for %v", v.Wait)
	}
	if v := b.Take("other", "c", tm, start); !v.Allowed {
		t.Error("another quota's bucket is the same")
	}
}

// Strangers that come under ever new names fill no memory, push nobody's count out,
// and share one bucket once there is no room.
func TestBucketsAreBounded(t *testing.T) {
	const most = 1 << 10
	b, tm := NewBuckets(most), terms{rate: 1, interval: time.Hour}
	for range 3 {
		b.Take("q", "victim", tm, start)
	}
	let := 0
	for i := range 20 * most {
		if b.Take("q", fmt.Sprint("stranger", i), tm, start).Allowed {
			let++
		}
	}
	if n := b.Len(); n > most+shards {
		t.Errorf("%d buckets, over %d", n, most+shards)
	}
	if let > most+shards {
		t.Errorf("%d strangers let in, over %d", let, most+shards)
	}
	if b.Take("q", "victim", tm, start).Allowed {
		t.Error("a count was forgotten for the sake of strangers")
	}
	later := start.Add(3 * time.Hour)
	if !b.Take("q", "newcomer", tm, later).Allowed || b.Len() > most+shards {
		t.Error("what is idle gives no room")
	}
}

func TestBucketsAreConcurrent(t *testing.T) {
	b, tm := NewBuckets(maxBuckets), terms{rate: 100, interval: time.Hour}
	var let atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 1000 {
				if b.Take("q", "c", tm, start).Allowed {
					let.Add(1)
				}
			}
		})
	}
	work.Wait()
	if let.Load() != 100 {
		t.Errorf("%d let in, want 100", let.Load())
	}
}

func BenchmarkTake(b *testing.B) {
	s, tm := NewBuckets(maxBuckets), terms{rate: 1e9, interval: time.Second}
	for b.Loop() {
		s.Take("q", "192.0.2.1/32", tm, start)
	}
}
