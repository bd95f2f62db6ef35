package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// parallel runs do b.N times on so many goroutines.
func parallel(b *testing.B, callers int, do func(i int64) error) {
	b.ReportAllocs()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s := openTest(b, options(b.Name()))
			value := make([]byte, 400)
			round := set(b, s, "round", "") // the keys of each are its own
			b.ResetTimer()
			parallel(b, writers, func(i int64) error {
				key := fmt.Sprintf("ns/root/%08x/%d", uint32(i*2654435761), round)
				_, err := s.Commit(context.Background(), []store.Check{{Key: key}}, []store.Write{{Key: key, Value: value}})
				return err
			})
		})
	}
}

func BenchmarkSync(b *testing.B) {
	s := openTest(b, options(b.Name()))
	set(b, s, "k", "v")
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			parallel(b, callers, func(int64) error {
				_, err := s.Sync(context.Background())
				return err
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, options(b.Name()))
	set(b, s, "k", string(make([]byte, 400)))
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			parallel(b, callers, func(int64) error {
				_, err := s.Get(context.Background(), "k")
				return err
			})
		})
	}
}

func BenchmarkList1000(b *testing.B) {
	s := openTest(b, options(b.Name()))
	for i := range 200 {
		var ws []store.Write
		for j := range store.MaxWrites {
			ws = append(ws, store.Write{Key: fmt.Sprintf("ns/root/kv/%03d%02d", i, j), Value: make([]byte, 400)})
		}
		if _, err := s.Commit(b.Context(), nil, ws); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if es, err := s.List(b.Context(), store.Range{Start: "ns/root/kv/100", Limit: 1000, KeysOnly: true}); err != nil || len(es) != 1000 {
			b.Fatal(len(es), err)
		}
	}
}
