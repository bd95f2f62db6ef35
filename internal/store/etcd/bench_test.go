package etcd

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// each has so many callers make b.N calls together.
func each(b *testing.B, callers int, call func(i int64) error) {
	b.ReportAllocs()
	b.ResetTimer()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				if err := call(i); err != nil {
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
	endpoint, _ := server(b, nil)
	s := openAt(b, endpoint, Options{})
	value := make([]byte, 400)
	var keys atomic.Int64
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			each(b, writers, func(int64) error {
				key := fmt.Sprintf("ns/root/kv/%08x", uint32(keys.Add(1)*2654435761))
				_, err := s.Commit(context.Background(), []store.Check{{Key: key}}, []store.Write{{Key: key, Value: value}})
				return err
			})
		})
	}
}

func BenchmarkSync(b *testing.B) {
	endpoint, _ := server(b, nil)
	s := openAt(b, endpoint, Options{})
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			each(b, callers, func(int64) error {
				_, err := s.Sync(context.Background())
				return err
			})
		})
	}
}
