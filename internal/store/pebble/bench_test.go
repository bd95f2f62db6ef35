package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

var benchValue = make([]byte, 400)

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64, 128} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			benchmarkCommit(b, openTest(b, b.TempDir(), Options{}), writers)
		})
	}
}

func benchmarkCommit(b *testing.B, s store.Store, writers int) {
	b.ReportAllocs()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				key := fmt.Sprintf("ns/root/kv/%08x", uint32(i*2654435761))
				checks := []store.Check{{Key: key}}
				if _, err := s.Commit(context.Background(), checks, []store.Write{{Key: key, Value: benchValue}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func fill(b testing.TB, s store.Store, n int) {
	for i := 0; i < n; {
		var writes []store.Write
		for range store.MaxWrites {
			writes = append(writes, store.Write{Key: fmt.Sprintf("ns/root/kv/%08d", i), Value: benchValue})
			i++
		}
		if _, err := s.Commit(b.Context(), nil, writes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	fill(b, s, 20_000)
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	for name, format := range map[string]string{"present": "ns/root/kv/%08d", "absent": "ns/root/kv/%08d/none"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if _, err := s.Get(b.Context(), fmt.Sprintf(format, i*7919%20_000)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkList1000(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	fill(b, s, 20_000)
	for _, keysOnly := range []bool{true, false} {
		b.Run(fmt.Sprint("keysOnly=", keysOnly), func(b *testing.B) {
			b.ReportAllocs()
			r := store.Range{Start: "ns/root/kv/00005000", Limit: 1000, KeysOnly: keysOnly}
			for b.Loop() {
				if es, err := s.List(b.Context(), r); err != nil || len(es) != 1000 {
					b.Fatal(len(es), err)
				}
			}
		})
	}
}

func BenchmarkFresh(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	c, err := store.NewCache(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		if _, err := c.Fresh(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
