package policy

import (
	"net/netip"
	"testing"
	"time"
)

func BenchmarkDecideCondition(b *testing.B) {
	acl := compile(b, `path "kv/*" {
		capabilities = ["read"]
		condition    = "now.getHours('Europe/Berlin') >= 8 && now.getHours('Europe/Berlin') < 18 && source.within('10.0.0.0/8')"
	}`)
	req := Request{Path: "kv/a/b", Op: Read, Now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Facts: &Facts{Source: netip.MustParseAddr("10.1.2.3")}}
	b.ReportAllocs()
	for b.Loop() {
		if !acl.Decide(req).Allowed {
			b.Fatal("wrong decision")
		}
	}
}

func BenchmarkCompileCondition(b *testing.B) {
	for b.Loop() {
		if _, f := compileCondition("now.getHours('Europe/Berlin') >= 8 && source.within('10.0.0.0/8')"); f != nil {
			b.Fatal(f)
		}
	}
}

func BenchmarkLanguage(b *testing.B) {
	for b.Loop() {
		if _, err := newLanguage(); err != nil {
			b.Fatal(err)
		}
	}
}
