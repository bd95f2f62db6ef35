package audit

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// discard is an output that costs nothing.
func discard() output { return &streamOutput{w: io.Discard} }

// kvRead is the request and answer of a KV v2 read of two texts.
func kvRead(e *Entry) *Response {
	fill(e)
	e.Auth.Metadata, e.Auth.IdentityPolicies = nil, nil
	e.Auth.Granting = e.Auth.Granting[:1]
	e.Request.Operation, e.Request.Data, e.Request.Headers, e.Request.WrapTTL = "read", nil, nil, 0
	return &Response{Shape: kvShape, Data: []byte(`{"data":{"username":"app","password":"correct horse battery staple"},"metadata":{"created_time":"2026-11-21T05:50:35.152497551Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}`)}
}

func logBoth(tb testing.TB, b *Broker, e *Entry, r *Response) {
	if err := b.LogRequest(context.Background(), moment, e, nil); err != nil {
		tb.Error(err)
	}
	if err := b.LogResponse(context.Background(), moment, e, r); err != nil {
		tb.Error(err)
	}
}

// BenchmarkEntry is what a KV v2 read costs in building its two entries.
func BenchmarkEntry(b *testing.B) {
	br := NewBroker()
	br.Replace([]*Sink{sinkOver("file/", discard(), format{key: testKey()})}, nil)
	proto := br.Entry()
	r := kvRead(proto)
	b.ReportAllocs()
	for b.Loop() {
		e := br.Entry()
		e.Auth, e.Request = proto.Auth, proto.Request
		logBoth(b, br, e, r)
		e.Release()
	}
}

// cpu is the process's user and system time so far.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchFile(b *testing.B, writers int, sync bool) {
	out := fileIn(b, b.TempDir(), "f")
	out.sync = sync
	br := NewBroker()
	br.Replace([]*Sink{sinkOver("file/", out, format{key: testKey()})}, nil)
	proto := br.Entry()
	r := kvRead(proto)
	b.SetParallelism((writers + 1) / 2)
	b.ReportAllocs()
	start := cpu(b)
	body := func() {
		e := br.Entry()
		e.Auth, e.Request = proto.Auth, proto.Request
		logBoth(b, br, e, r)
		e.Release()
	}
	if writers == 1 {
		for b.Loop() {
			body()
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				body()
			}
		})
	}
	b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op")
	if err := os.Remove(filepath.Join(out.dir, "f")); err != nil {
		b.Fatal(err)
	}
	if err := out.close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkFile1(b *testing.B)      { benchFile(b, 1, false) }
func BenchmarkFile64(b *testing.B)     { benchFile(b, 64, false) }
func BenchmarkFileSync1(b *testing.B)  { benchFile(b, 1, true) }
func BenchmarkFileSync64(b *testing.B) { benchFile(b, 64, true) }

func BenchmarkHash(b *testing.B) {
	k := testKey()
	m := k.mac()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = m.appendText(dst[:0], "correct horse battery staple")
	}
}
