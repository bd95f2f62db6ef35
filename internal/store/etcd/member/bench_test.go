package member

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
)

// each has so many callers make b.N calls together, on the stores in turn.
func each(b *testing.B, callers int, stores []*etcd.Store, call func(s store.Store) error) {
	b.ReportAllocs()
	b.ResetTimer()
	var n atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n.Add(1) <= int64(b.N) {
				if err := call(stores[c%len(stores)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// fleets are one member and three, with a store on each.
func fleets(b *testing.B, run func(b *testing.B, stores []*etcd.Store)) {
	for _, names := range [][]string{{"a"}, {"a", "b", "c"}} {
		f := newFleet(b, names...)
		f.config.tickMs = 0
		f.start(names...)
		var stores []*etcd.Store
		for _, n := range names {
			stores = append(stores, f.open(b, n, etcd.Options{}))
		}
		b.Run(fmt.Sprint("members=", len(names)), func(b *testing.B) { run(b, stores) })
	}
}

func BenchmarkCommit(b *testing.B) {
	value := make([]byte, 400)
	var keys atomic.Int64
	fleets(b, func(b *testing.B, stores []*etcd.Store) {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
				each(b, writers, stores, func(s store.Store) error {
					key := fmt.Sprintf("ns/root/kv/%08x", uint32(keys.Add(1)*2654435761))
					_, err := s.Commit(context.Background(), []store.Check{{Key: key}}, []store.Write{{Key: key, Value: value}})
					return err
				})
			})
		}
	})
}

func BenchmarkSync(b *testing.B) {
	fleets(b, func(b *testing.B, stores []*etcd.Store) {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
				each(b, callers, stores, func(s store.Store) error {
					_, err := s.Sync(context.Background())
					return err
				})
			})
		}
	})
}

// BenchmarkStart starts a member that is alone and has data.
func BenchmarkStart(b *testing.B) {
	f := newFleet(b, "a")
	f.config.tickMs = 0
	f.start("a")
	for b.Loop() {
		f.close("a")
		f.start("a")
	}
}
