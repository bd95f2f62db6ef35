package token

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// testKeys is Keys with fixed keys, one for each namespace and purpose.
type testKeys struct{}

func testKey(nsID, purpose string) []byte {
	k := sha256.Sum256([]byte(nsID + "\x00" + purpose))
	return k[:]
}

func (testKeys) TokenHash(_ context.Context, nsID, text string) (string, error) {
	m := hmac.New(sha256.New, testKey(nsID, "hash"))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil)), nil
}

func testAEAD(nsID string) (cipher.AEAD, error) {
	b, err := aes.NewCipher(testKey(nsID, "batch"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

func (testKeys) SealBatch(_ context.Context, nsID string, plain []byte) ([]byte, error) {
	a, err := testAEAD(nsID)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plain, nil), nil
}

func (testKeys) OpenBatch(_ context.Context, nsID string, blob []byte) ([]byte, error) {
	a, err := testAEAD(nsID)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, nil, blob, nil)
	if err != nil {
		return nil, ErrBatch
	}
	return plain, nil
}

// testNamespaces are root, ns1 and ns2.
type testNamespaces map[string]string

func (n testNamespaces) Path(_ context.Context, id string) (string, bool, error) {
	p, ok := n[id]
	return p, ok, nil
}

// epoch is when the tests' clock starts.
var epoch = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

// fixture is a token store on memory with a clock that tests move.
type fixture struct {
	t     testing.TB
	s     *Store
	store store.Store
	cache *store.Cache
	now   time.Time
	root  string // a root token that never expires
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	return newFixtureOn(t, mem.Open(), change...)
}

func newFixtureOn(t testing.TB, st store.Store, change ...func(*Config)) *fixture {
	t.Helper()
	cache, err := store.NewCache(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: st, cache: cache, now: epoch}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	c := Config{
		Store: st, Cache: cache, Keys: testKeys{}, Now: func() time.Time { return f.now },
		Namespaces: testNamespaces{RootNamespace: "", "ns1": "ns1/", "ns2": "ns2/"},
		Below: func(_ context.Context, ns string) ([]string, error) {
			if ns == RootNamespace {
				return []string{"ns1", "ns2"}, nil
			}
			return nil, nil
		},
	}
	for _, fn := range change {
		fn(&c)
	}
	f.s = New(c)
	f.root = f.issue(Spec{Namespace: RootNamespace, Path: "auth/token/root", Root: true})
	return f
}

func (f *fixture) issue(sp Spec) string {
	f.t.Helper()
	a, err := f.s.Issue(context.Background(), sp)
	if err != nil {
		f.t.Fatal(err)
	}
	return a.ClientToken.Reveal()
}

// fresh does what the gate does before it reads a cache.
func (f *fixture) fresh() {
	f.t.Helper()
	if _, err := f.cache.Fresh(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) lookup(text string) (*Token, error) {
	f.t.Helper()
	f.fresh()
	return f.s.Lookup(context.Background(), text, f.now)
}

func (f *fixture) alive(text string) bool {
	f.t.Helper()
	t, err := f.lookup(text)
	if err != nil && api.KindOf(err) != api.Denied {
		f.t.Fatal(err)
	}
	return t != nil
}

func (f *fixture) mustBe(text string, alive bool) {
	f.t.Helper()
	if f.alive(text) != alive {
		f.t.Fatalf("token is alive: %v; want %v", !alive, alive)
	}
}

// option changes a call.
type option func(*api.Call)

func withSudo(c *api.Call) { c.Caller.Sudo = true }

func in(ns string) option {
	return func(c *api.Call) { c.Namespace = api.Namespace{ID: ns, Path: ns + "/"} }
}

func mountLimits(def, limit time.Duration) option {
	return func(c *api.Call) { c.Mount.DefaultTTL, c.Mount.MaxTTL = def, limit }
}

// call is a call by a token as the gate makes it. It counts a use, and the
// cleanup it returns revokes after the last.
func (f *fixture) call(text, path string, opts ...option) (*api.Call, func(), error) {
	f.t.Helper()
	t, err := f.lookup(text)
	if err != nil {
		return nil, nil, err
	}
	last, err := f.s.Use(context.Background(), t)
	if err != nil {
		return nil, nil, err
	}
	f.fresh()
	ns := api.Namespace{ID: t.NamespaceID}
	c := &api.Call{
		Context: context.Background(), Now: f.now, Path: path, Namespace: ns,
		Mount: api.Mount{Path: "auth/token/", Type: "token"},
		Caller: api.Caller{
			TokenID: t.ID, Token: api.NewSecret(text), Accessor: t.Accessor, Policies: t.Policies,
			Namespace: ns, Root: t.Root(), Batch: t.Type == Batch,
		},
	}
	for _, o := range opts {
		o(c)
	}
	return c, func() {
		if last {
			if err := f.s.Revoke(context.Background(), t.NamespaceID, t.ID); err != nil {
				f.t.Error(err)
			}
		}
	}, nil
}

// do calls an endpoint through its declaration, so that decoding, defaults and
// routing are tested too. body is JSON.
func (f *fixture) do(text string, op api.Op, path, body string, opts ...option) (any, *api.Call, error) {
	f.t.Helper()
	eps, err := api.Bind(f.s, Routes)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := api.NewRouter(eps)
	if err != nil {
		f.t.Fatal(err)
	}
	m, err := r.Match(op, path)
	if err != nil {
		return nil, nil, err
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		return nil, nil, err
	}
	c, end, err := f.call(text, m.Path, opts...)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	resp, err := m.Endpoint.Invoke(c, req)
	return resp, c, err
}

func (f *fixture) write(text, path, body string, opts ...option) (any, *api.Call, error) {
	f.t.Helper()
	return f.do(text, api.Write, path, body, opts...)
}

// create makes a child and returns the answer.
func (f *fixture) create(parent, body string, opts ...option) *api.Auth {
	f.t.Helper()
	resp, _, err := f.write(parent, "create", body, opts...)
	if err != nil {
		f.t.Fatalf("create %s: %v", body, err)
	}
	return resp.(*api.Auth)
}

func (f *fixture) child(parent, body string, opts ...option) string {
	f.t.Helper()
	return f.create(parent, body, opts...).ClientToken.Reveal()
}

// describe looks a token up through its own lookup-self.
func (f *fixture) describe(text string) *LookupAnswer {
	f.t.Helper()
	resp, _, err := f.do(text, api.Read, "lookup-self", "")
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.(*LookupAnswer)
}

func (f *fixture) refuses(kind api.Kind, message string, err error) {
	f.t.Helper()
	if err == nil || api.KindOf(err) != kind || err.Error() != message {
		f.t.Fatalf("got error %q (%v); want %q (%v)", fmt.Sprint(err), api.KindOf(err), message, kind)
	}
}

// keys are the keys of all rows, with due-times shortened to what they are about.
func (f *fixture) keys() []string {
	f.t.Helper()
	es, err := f.store.List(context.Background(), store.Range{})
	if err != nil {
		f.t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Key)
	}
	return out
}

// rows are the keys that hold a text.
func (f *fixture) rows(part string) []string {
	f.t.Helper()
	var out []string
	for _, k := range f.keys() {
		if strings.Contains(k, part) {
			out = append(out, k)
		}
	}
	return out
}
