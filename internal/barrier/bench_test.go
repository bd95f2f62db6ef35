package barrier

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

var benchSizes = []int{256, 300, 4096}

func BenchmarkSeal(b *testing.B) {
	s := newSealer(testRoot(7), "cluster", 1)
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			plain := bytes.Repeat([]byte("v"), size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.seal("d/root/kv/data/some/path/1", plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newSealer(testRoot(7), "cluster", 1)
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			message, err := s.seal("d/root/kv/data/some/path/1", bytes.Repeat([]byte("v"), size))
			must(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.open("d/root/kv/data/some/path/1", message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHMAC(b *testing.B) {
	k, err := DeriveKey(testRoot(7), "cluster", TokenHash)
	must(b, err)
	token := bytes.Repeat([]byte("t"), 48)
	sum := make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		if sum, err = k.HMAC(sum[:0], token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet is a read through the barrier over a store in memory.
func BenchmarkGet(b *testing.B) {
	bar, _ := fresh(b)
	set(b, bar, "root/kv/data/some/path/1", string(bytes.Repeat([]byte("v"), 300)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bar.Get(b.Context(), "root/kv/data/some/path/1"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPurposeKey is the token hash as the gate computes it.
func BenchmarkPurposeKey(b *testing.B) {
	bar, _ := fresh(b)
	token := bytes.Repeat([]byte("t"), 48)
	sum := make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		k, err := bar.PurposeKey(b.Context(), "root", TokenHash)
		must(b, err)
		if sum, err = k.HMAC(sum[:0], token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is a write through the barrier over a store in memory.
func BenchmarkCommit(b *testing.B) {
	bar, _ := fresh(b)
	writes := []store.Write{{Key: "root/kv/data/some/path/1", Value: bytes.Repeat([]byte("v"), 300)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bar.Commit(b.Context(), nil, writes); err != nil {
			b.Fatal(err)
		}
	}
}
