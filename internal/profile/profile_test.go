package profile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

func call(ctx context.Context) *api.Call { return &api.Call{Context: ctx} }

func seconds(s float64) *TimedRequest { return &TimedRequest{&s} }

// magic begins what gzip packed, as profiles are.
var magic = []byte{0x1f, 0x8b}

func TestProfiles(t *testing.T) {
	p := &Profiler{}
	for name, get := range map[string]func(*api.Call, *Request) (*api.Raw, error){
		"allocs": p.allocs, "block": p.block, "goroutine": p.goroutine, "heap": p.heap, "mutex": p.mutex, "threadcreate": p.threadcreate,
	} {
		packed, err := get(call(t.Context()), &Request{GC: true})
		if err != nil || !bytes.HasPrefix(packed.Body, magic) || packed.ContentType != "application/octet-stream" {
			t.Errorf("%s: %v, %.20q", name, err, packed.Body)
		}
		plain, err := get(call(t.Context()), &Request{Debug: 1})
		if err != nil || bytes.HasPrefix(plain.Body, magic) || !strings.HasPrefix(plain.ContentType, "text/plain") || len(plain.Body) == 0 {
			t.Errorf("%s as text: %v, %.20q", name, err, plain.Body)
		}
	}
	index, err := p.index(nil, nil)
	if err != nil || !strings.Contains(string(index.Body), "goroutine") || !strings.Contains(string(index.Body), "trace") {
		t.Errorf("index: %v, %s", err, index.Body)
	}
}

func TestProfileOfTheProcessor(t *testing.T) {
	p := &Profiler{}
	got, err := p.profile(call(t.Context()), seconds(0.01))
	if err != nil || !bytes.HasPrefix(got.Body, magic) {
		t.Fatalf("%v, %v", err, got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.profile(call(gone), seconds(300)); err == nil {
		t.Error("a client that is gone gets a profile")
	}
	if p.busy.Load() {
		t.Error("it stays busy")
	}
}

func TestTrace(t *testing.T) {
	p := &Profiler{}
	raw, err := p.trace(call(t.Context()), seconds(0.01))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := raw.Stream(t.Context(), &out); err != nil || !strings.HasPrefix(out.String(), "go 1.") {
		t.Errorf("%v, %.20q", err, out.String())
	}
}

func TestOneAtATime(t *testing.T) {
	p := &Profiler{}
	late, err := p.trace(call(t.Context()), seconds(1))
	if err != nil {
		t.Fatal(err)
	}
	p.busy.Store(true)
	if _, err := p.profile(call(t.Context()), seconds(1)); api.KindOf(err) != api.TooMany {
		t.Errorf("profile: %v", err)
	}
	if _, err := p.trace(call(t.Context()), seconds(1)); api.KindOf(err) != api.TooMany {
		t.Errorf("trace: %v", err)
	}
	if err := late.Stream(t.Context(), io.Discard); err == nil {
		t.Error("a trace that comes late runs beside another")
	}
}

func TestSeconds(t *testing.T) {
	p := &Profiler{}
	for _, s := range []float64{-1, 301, 1e300} {
		if _, err := p.profile(call(t.Context()), seconds(s)); api.KindOf(err) != api.Invalid {
			t.Errorf("profile of %v seconds: %v", s, err)
		}
		if _, err := p.trace(call(t.Context()), seconds(s)); api.KindOf(err) != api.Invalid {
			t.Errorf("trace of %v seconds: %v", s, err)
		}
	}
	if d, err := (&TimedRequest{}).span(defaultTrace); err != nil || d != defaultTrace {
		t.Errorf("unless told: %v, %v", d, err)
	}
}

func TestSymbol(t *testing.T) {
	p := &Profiler{}
	pc := reflect.ValueOf(TestSymbol).Pointer()
	got, err := p.symbol(nil, &SymbolRequest{fmt.Sprintf("%#x+0x1", pc)})
	if err != nil || !strings.Contains(string(got.Body), "num_symbols: 1\n") || !strings.Contains(string(got.Body), "profile.TestSymbol") {
		t.Errorf("%v, %s", err, got.Body)
	}
	for _, bad := range []string{"main", "0x", strings.Repeat("1+", maxCounters) + "1"} {
		if _, err := p.symbol(nil, &SymbolRequest{bad}); api.KindOf(err) != api.Invalid {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

func FuzzSymbol(f *testing.F) {
	f.Add("0x1+2")
	f.Fuzz(func(t *testing.T, text string) {
		if raw, err := (&Profiler{}).symbol(nil, &SymbolRequest{text}); err == nil && !bytes.HasPrefix(raw.Body, []byte("num_symbols")) {
			t.Errorf("%q", raw.Body)
		}
	})
}

func TestCommandLineWithoutArguments(t *testing.T) {
	got, err := (&Profiler{}).cmdline(nil, nil)
	if err != nil || strings.ContainsAny(string(got.Body), "\x00 =/") || len(got.Body) == 0 {
		t.Errorf("%v, %q", err, got.Body)
	}
}

func TestDeclarations(t *testing.T) {
	eps, err := api.Bind(&Profiler{}, Routes())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range eps {
		if !e.Has(api.Sudo) || !e.Has(api.RootOnly) {
			t.Errorf("%s needs no sudo", e.Pattern)
		}
	}
}
