package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

var moment = time.Date(2026, 11, 21, 5, 50, 35, 159802026, time.UTC)

func testKey() *Key {
	var b [keyBytes]byte
	copy(b[:], "a key that only tests use, ever.")
	return keyOf(b)
}

// memory is an output that keeps what it is given, and fails when told to.
type memory struct {
	mu     sync.Mutex
	lines  []byte
	writes int
	err    error
	gate   chan struct{} // each write waits for one token; nil: none does
}

func (m *memory) write(lines []byte) error {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.err != nil {
		return m.err
	}
	m.lines = append(m.lines, lines...)
	return nil
}
func (m *memory) reopen() error { return nil }
func (m *memory) ready() error  { return nil }
func (m *memory) close() error  { return nil }
func (m *memory) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.lines)
}

func sinkOver(path string, out output, f format) *Sink {
	return &Sink{path: path, line: newLine(out), format: f}
}

func fill(e *Entry) {
	e.Auth = Auth{ClientToken: api.NewSecret("s.token"), Accessor: "acc", DisplayName: "token", Policies: []string{"default", "dev"}, TokenPolicies: []string{"default"},
		IdentityPolicies: []string{"dev"}, Metadata: map[string]string{"z": "1", "a": "2"}, EntityID: "ent", TokenType: "service", TTL: time.Hour, IssueTime: moment,
		Judged: true, Allowed: true, Granting: []Grant{{Name: "dev", Namespace: api.Namespace{ID: "root"}}, {Name: "x", Namespace: api.Namespace{ID: "n1", Path: "ns1/"}, Type: "sentinel"}}}
	e.Request = Request{ID: "93f76504", ClientID: "cid", Operation: "create", Mount: api.Mount{Path: "secret/", Type: "kv", Accessor: "kv_9b541b31"},
		Namespace: api.Namespace{ID: "root"}, Path: "secret/data/foo", Remote: netip.MustParseAddrPort("[::ffff:127.0.0.1]:41554"), WrapTTL: time.Minute,
		Headers: map[string][]string{"User-Agent": {"curl"}, "X-Foo": {"bar", "baz"}, "X-Other": {"s3cret"}, "X-Vault-Token": {"s.token"}},
		Data:    []byte(`{"data":{"a":"hunter2","n":5}}`), Shape: kvShape}
}

var kvShape = &api.Shape{Fields: map[string]*api.Shape{
	"data":     {Hidden: true},
	"metadata": {Fields: map[string]*api.Shape{"created_time": {Clear: true}, "custom_metadata": {Elem: &api.Shape{}}, "deletion_time": {Clear: true}, "destroyed": {}, "version": {}}},
}}

func TestEntriesHaveVaultsForm(t *testing.T) {
	k := testKey()
	h := func(s string) string { return k.Hash([]byte(s)) }
	out := &memory{}
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("file/", out, format{key: k})}, map[string]bool{"user-agent": false, "X-Foo": true, "x-vault-token": false})
	e := b.Entry()
	defer e.Release()
	fill(e)
	if err := b.LogRequest(t.Context(), moment, e, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.LogResponse(t.Context(), moment, e, &Response{Data: []byte(`{"data":{"a":"x"},"metadata":{"created_time":"T","version":1}}`), Shape: kvShape,
		LeaseID: "l", Warnings: []string{"w"}, Wrap: &api.WrapInfo{Token: api.NewSecret("wt"), Accessor: "wa", TTL: time.Minute, CreationTime: moment, CreationPath: "p"}, Err: api.Errorf(api.Invalid, "no")}); err != nil {
		t.Fatal(err)
	}
	common := `"auth":{"client_token":"` + h("s.token") + `","accessor":"` + h("acc") + `","display_name":"token","policies":["default","dev"],"token_policies":["default"],"identity_policies":["dev"],` +
		`"policy_results":{"allowed":true,"granting_policies":[{"name":"dev","namespace_id":"root","type":"acl"},{"name":"x","namespace_id":"n1","namespace_path":"ns1/","type":"sentinel"}]},` +
		`"metadata":{"a":"2","z":"1"},"entity_id":"ent","token_type":"service","token_ttl":3600,"token_issue_time":"2026-11-21T05:50:35Z"},` +
		`"request":{"id":"93f76504","client_id":"cid","operation":"create","mount_point":"secret/","mount_type":"kv","mount_accessor":"kv_9b541b31","mount_class":"secret",` +
		`"client_token":"` + h("s.token") + `","client_token_accessor":"` + h("acc") + `","namespace":{"id":"root"},"path":"secret/data/foo","data":{"data":{"a":"` + h("hunter2") + `","n":"` + h("5") + `"}},` +
		`"remote_address":"127.0.0.1","remote_port":41554,"wrap_ttl":60,"headers":{"user-agent":["curl"],"x-foo":["` + h("bar") + `","` + h("baz") + `"],"x-vault-token":["` + h("s.token") + `"]}}`
	want := `{"time":"2026-11-21T05:50:35.159802026Z","type":"request",` + common + "}\n" +
		`{"time":"2026-11-21T05:50:35.159802026Z","type":"response",` + common +
		`,"response":{"mount_point":"secret/","mount_type":"kv","mount_accessor":"kv_9b541b31","mount_class":"secret","secret":{"lease_id":"l"},"data":{"data":{"a":"` + h("x") +
		`"},"metadata":{"created_time":"T","version":1}},"warnings":["w"],"wrap_info":{"ttl":60,"token":"` + h("wt") + `","accessor":"` + h("wa") +
		`","creation_time":"2026-11-21T05:50:35.159802026Z","creation_path":"p"}},"error":"no"}` + "\n"
	if got := out.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLoginShowsWhoLoggedIn(t *testing.T) {
	k := testKey()
	out := &memory{}
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("file/", out, format{key: k, showAccessor: true})}, nil)
	e := b.Entry()
	e.Auth = Auth{Judged: true, Allowed: true}
	e.Request = Request{ID: "1", Operation: "update", Mount: api.Mount{Path: "auth/userpass/"}, Namespace: api.Namespace{ID: "root"}, Path: "auth/userpass/login/u"}
	if err := errors.Join(b.LogRequest(t.Context(), moment, e, nil), b.LogResponse(t.Context(), moment, e, &Response{Auth: &api.Auth{ClientToken: api.NewSecret("new"), Accessor: "acc", TTL: time.Hour, DisplayName: "userpass-u"}})); err != nil {
		t.Fatal(err)
	}
	auth := `{"client_token":"` + k.Hash([]byte("new")) + `","accessor":"acc","display_name":"userpass-u","token_type":"default","token_ttl":3600}`
	rest := `"request":{"id":"1","operation":"update","mount_point":"auth/userpass/","mount_class":"auth","namespace":{"id":"root"},"path":"auth/userpass/login/u"}`
	want := `{"time":"2026-11-21T05:50:35.159802026Z","type":"request","auth":{"policy_results":{"allowed":true},"token_type":"default"},` + rest + "}\n" +
		`{"time":"2026-11-21T05:50:35.159802026Z","type":"response","auth":` + auth + `,` + rest + `,"response":{"auth":` + auth + `,"mount_point":"auth/userpass/","mount_class":"auth"}}` + "\n"
	if out.text() != want {
		t.Errorf("got\n%s\nwant\n%s", out.text(), want)
	}
}

func TestErrorsThatAreNotForCallersAreNotShown(t *testing.T) {
	out := &memory{}
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("file/", out, format{key: testKey()})}, nil)
	for _, err := range []error{errors.New("s3cret"), &api.Error{Kind: api.Internal, Message: "s3cret"}, &api.Error{Kind: api.Invalid, Message: "bad field", Err: errors.New("s3cret")}} {
		if err := b.LogRequest(t.Context(), moment, b.Entry(), fmt.Errorf("wrapped: %w", err)); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.text(); strings.Contains(got, "s3cret") || strings.Count(got, `"error":"internal error"`) != 2 || strings.Count(got, `"error":"bad field"`) != 1 {
		t.Error(got)
	}
}

// One sink's way of hashing must not reach another's entries.
func TestEachSinkHasItsOwnForm(t *testing.T) {
	k1, k2 := NewKey(), NewKey()
	outs := []*memory{{}, {}, {}, {}}
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("raw/", outs[0], format{key: k1, raw: true}), sinkOver("a/", outs[1], format{key: k1}), sinkOver("b/", outs[2], format{key: k2}), sinkOver("c/", outs[3], format{key: k2})}, map[string]bool{"x-foo": true})
	e := b.Entry()
	fill(e)
	if err := errors.Join(b.LogRequest(t.Context(), moment, e, nil), b.LogResponse(t.Context(), moment, e, &Response{Raw: &api.Raw{ContentType: "text/plain", Body: []byte("hunter2")}})); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"hunter2", "s.token", `"acc"`, "bar"} {
		for i, o := range outs {
			if strings.Contains(o.text(), leak) != (i == 0) {
				t.Errorf("sink %d and %s:\n%s", i, leak, o.text())
			}
		}
	}
	if a := outs[1].text(); a == outs[2].text() || !strings.Contains(a, k1.Hash([]byte("hunter2"))) || strings.Contains(a, k2.Hash([]byte("hunter2"))) {
		t.Error("two keys, one hash")
	}
	if outs[2].text() != outs[3].text() || len(e.set.formats) != 3 {
		t.Error("sinks of one key do not share an entry")
	}
}

func TestWithoutSinksAllIsAllowed(t *testing.T) {
	b := NewBroker()
	if err := b.LogRequest(t.Context(), moment, b.Entry(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestOneWorkingSinkIsEnough(t *testing.T) {
	bad, good := &memory{err: errors.New("disk at /secret/path")}, &memory{}
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("bad/", bad, format{key: testKey()}), sinkOver("good/", good, format{key: testKey()})}, nil)
	if err := b.LogRequest(t.Context(), moment, b.Entry(), nil); err != nil || good.text() == "" {
		t.Fatal(err)
	}
	if s := b.Status(); s[0].Err == nil || s[0].Lost != 1 || s[1].Err != nil || s[1].Lost != 0 {
		t.Errorf("%+v", s)
	}
	good.err = errors.New("x")
	err := b.LogRequest(t.Context(), moment, b.Entry(), nil)
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), `"bad/"`) || !strings.Contains(err.Error(), `"good/"`) || strings.Contains(err.Error(), "/secret/path") {
		t.Fatal(err)
	}
}

// A remote sink that hangs costs the others nothing (reliability R10, F2).
func TestAHungSinkDoesNotHoldUpTheOthers(t *testing.T) {
	hung, good := &memory{gate: make(chan struct{})}, &memory{}
	h := sinkOver("hung/", hung, format{key: testKey()})
	h.background = true
	b := NewBroker()
	b.Replace([]*Sink{h, sinkOver("good/", good, format{key: testKey()})}, nil)
	for range 100 {
		if err := b.LogRequest(t.Context(), moment, b.Entry(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(good.text(), "\n"); n != 100 {
		t.Errorf("%d entries", n)
	}
	close(hung.gate)
	if err := h.line.close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(hung.text(), "\n"); n != 100 || hung.writes > 3 {
		t.Errorf("%d entries in %d writes once it went on", n, hung.writes)
	}
}

func TestAHungSinkAloneFailsInTime(t *testing.T) {
	hung := &memory{gate: make(chan struct{})}
	l := newLine(hung)
	first := make(chan error)
	go func() { first <- l.put(context.Background(), []byte("1\n")) }()
	for busy := false; !busy; {
		l.mu.Lock()
		busy = l.busy
		l.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.put(ctx, []byte("2\n")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	big := make([]byte, maxBacklog)
	if _, err := l.post(big); !errors.Is(err, errBacklog) {
		t.Fatal(err)
	}
	if _, lost := l.status(); lost != 1 {
		t.Errorf("%d entries were lost, want 1", lost)
	}
	close(hung.gate)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil || hung.text() != "1\n2\n" {
		t.Fatal(err, hung.text())
	}
	if err := l.put(t.Context(), big[:1]); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}

// Who waits behind a write that hangs is refused in time, and so is the end of
// waiting for all to be written.
func TestAHungSinkIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &memory{gate: make(chan struct{})}
		l := newLine(hung)
		first := make(chan error)
		go func() { first <- l.put(context.Background(), []byte("1\n")) }()
		synctest.Wait()
		start := time.Now()
		if err := l.put(t.Context(), []byte("2\n")); !errors.Is(err, errSlow) || time.Since(start) != maxPatience {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		start = time.Now()
		if err := l.close(); err != nil || time.Since(start) != maxPatience {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		close(hung.gate)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// numbered logs n requests from each of w goroutines and returns their ids.
func numbered(t testing.TB, b *Broker, w, n int) {
	var wg sync.WaitGroup
	for i := range w {
		wg.Go(func() {
			for j := range n {
				e := b.Entry()
				fill(e)
				e.Request.ID = strconv.Itoa(i*n + j)
				if err := b.LogRequest(context.Background(), moment, e, nil); err != nil {
					t.Error(err)
				}
				e.Release()
			}
		})
	}
	wg.Wait()
}

// whole checks that every line is a whole entry and that each id comes once.
func whole(t *testing.T, lines []byte, count int) {
	t.Helper()
	seen := map[string]int{}
	for line := range bytes.Lines(lines) {
		var e struct {
			Request struct{ ID, Path string }
		}
		if err := json.Unmarshal(line, &e); err != nil || e.Request.Path != "secret/data/foo" || line[len(line)-1] != '\n' {
			t.Fatalf("%v: %q", err, line)
		}
		seen[e.Request.ID]++
	}
	for i := range count {
		if n := seen[strconv.Itoa(i)]; n != 1 {
			t.Fatalf("entry %d comes %d times", i, n)
		}
	}
}

func TestWritersShareWritesAndLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	out := fileIn(t, filepath.Dir(path), "audit.log")
	b := NewBroker()
	s := sinkOver("file/", out, format{key: testKey()})
	b.Replace([]*Sink{s}, nil)
	numbered(t, b, 64, 100)
	if err := s.line.close(); err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, lines, 6400)
}

func TestWaitingEntriesShareOneWrite(t *testing.T) {
	out := &memory{gate: make(chan struct{})}
	b := NewBroker()
	s := sinkOver("file/", out, format{key: testKey()})
	b.Replace([]*Sink{s}, nil)
	done := make(chan struct{})
	go func() { numbered(t, b, 64, 1); close(done) }()
	for waiting := uint64(0); waiting < 63; {
		s.line.mu.Lock()
		if s.line.next != nil {
			waiting = s.line.next.entries
		}
		s.line.mu.Unlock()
	}
	close(out.gate)
	<-done
	if out.writes != 2 {
		t.Errorf("%d writes for 64 entries", out.writes)
	}
	whole(t, out.lines, 64)
}

// Sinks come and go under load; no entry is lost and none refused.
func TestReplacingSinksUnderLoad(t *testing.T) {
	b := NewBroker()
	shared := &memory{}
	current := sinkOver("s/", shared, format{key: testKey()})
	b.Replace([]*Sink{current}, nil)
	done := make(chan struct{})
	go func() { numbered(t, b, 16, 200); close(done) }()
	for running := true; running; {
		next := sinkOver("s/", shared, format{key: NewKey()})
		b.Replace([]*Sink{next}, nil)
		if err := current.line.close(); err != nil {
			t.Fatal(err)
		}
		current = next
		select {
		case <-done:
			running = false
		default:
		}
	}
	whole(t, shared.lines, 3200)
}

// Where all sinks may hang, the first that has the entry ends the wait.
func TestTheFirstOfSeveralRemoteSinksIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, bad, good := &memory{gate: make(chan struct{})}, &memory{err: errors.New("x")}, &memory{}
		b := NewBroker()
		var sinks []*Sink
		for i, o := range []*memory{hung, bad, good} {
			sinks = append(sinks, sinkOver(fmt.Sprint(i, "/"), o, format{key: testKey()}))
			sinks[i].background = true
		}
		b.Replace(sinks, nil)
		start := time.Now()
		for range 10 {
			if err := b.LogRequest(t.Context(), moment, b.Entry(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if n, d := strings.Count(good.text(), "\n"), time.Since(start); n != 10 || d != 0 {
			t.Errorf("%d entries after %v", n, d)
		}
		close(hung.gate)
		for _, s := range sinks {
			if err := s.line.close(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
	})
}
