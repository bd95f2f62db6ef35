// Package authtest mounts auth methods inside tests, without a server: with a store in memory, a time and an address that tests
// set, and requests that are read as the gate reads them. It signs tokens, and plays who signs them and shows the keys over
// HTTP. It is for tests alone.
package authtest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// Epoch is the time at which mounts begin.
var Epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Fields are the fields of a request, or the claims of a token.
type Fields = map[string]any

// Changed are fields with changes; a nil takes one away.
func Changed(f, changes Fields) Fields {
	out := Fields{}
	for _, from := range []Fields{f, changes} {
		for k, v := range from {
			if out[k] = v; v == nil {
				delete(out, k)
			}
		}
	}
	return out
}

// Mount is a mounted method. What is exported may be set between requests.
type Mount struct {
	testing.TB
	Engine api.Engine
	With   api.Call // what calls are made with: the store, the time, the address of the client, and what a server offers

	Warnings []string // of the last request

	router *api.Router
}

// Open mounts a method on a store of its own.
func Open(t testing.TB, build func() (api.Engine, error)) *Mount {
	t.Helper()
	e, err := build()
	if err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(e.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	with := api.Call{Context: context.Background(), Store: s, Now: Epoch, Remote: netip.MustParseAddr("192.0.2.1"), Namespace: api.Namespace{ID: "root"},
		Mount: api.Mount{ID: "m", Path: "auth/" + e.Type + "/", Type: e.Type, DefaultTTL: 768 * time.Hour, MaxTTL: 768 * time.Hour}}
	return &Mount{TB: t, Engine: e, With: with, router: r}
}

// Twin is the mount as another node has it, on the same store.
func (m *Mount) Twin() *Mount {
	t := *m
	return &t
}

// Call is what a handler is called with.
func (m *Mount) Call() *api.Call {
	c := m.With
	return &c
}

// Do sends a request. Its parameters are JSON text, or what is written as JSON. A parameter that the endpoint does
// not know fails the test.
func (m *Mount) Do(op api.Op, path string, params any) (any, error) {
	m.Helper()
	m.Warnings = nil
	match, err := m.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	body, err := api.ParseBody(m.text(params))
	if err != nil {
		return nil, err
	}
	req, unknown, err := match.Endpoint.Decode(&match, body)
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 {
		m.Errorf("%v %s does not know %v", op, path, unknown)
	}
	c := m.Call()
	c.Path = match.Path
	out, err := match.Endpoint.Invoke(c, req)
	m.Warnings = c.Warnings()
	return out, err
}

func (m *Mount) text(params any) []byte {
	m.Helper()
	switch p := params.(type) {
	case nil:
		return nil
	case string:
		return []byte(p)
	}
	b, err := json.Marshal(params)
	if err != nil {
		m.Fatal(err)
	}
	return b
}

// Must sends a request that is to be answered.
func (m *Mount) Must(op api.Op, path string, params any) any {
	m.Helper()
	a, err := m.Do(op, path, params)
	if err != nil {
		m.Fatalf("%v %s: %v", op, path, err)
	}
	return a
}

// Refused sends a request that is to be refused in a way, and with words.
func (m *Mount) Refused(op api.Op, path string, params any, kind api.Kind, says string) {
	m.Helper()
	a, err := m.Do(op, path, params)
	if err == nil || api.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		m.Errorf("%v %s %v: %v, %v; want %v that says %q", op, path, params, a, err, kind, says)
	}
}

// Invalid writes what is to be refused as wrong in itself, with words.
func (m *Mount) Invalid(path string, params any, says string) {
	m.Helper()
	m.Refused(api.Write, path, params, api.Invalid, says)
}

// Success is the kind of what has not failed.
const Success api.Kind = 99

// Text sends a request and gives the JSON of its answer, or what the failure says and of which kind it is.
func (m *Mount) Text(op api.Op, path string, params any) (string, api.Kind) {
	m.Helper()
	a, err := m.Do(op, path, params)
	if err != nil {
		return err.Error(), api.KindOf(err)
	}
	b, err := json.Marshal(a)
	if err != nil {
		m.Fatal(err)
	}
	return string(b), Success
}

// MustText is Text of a request that is to be answered.
func (m *Mount) MustText(op api.Op, path string, params any) string {
	m.Helper()
	out, kind := m.Text(op, path, params)
	if kind != Success {
		m.Fatalf("%v %s: %s (%v)", op, path, out, kind)
	}
	return out
}

// Login sends a request to log in, which certificates of a client may come with.
func (m *Mount) Login(path string, params any, peer ...*x509.Certificate) (*api.Auth, error) {
	m.Helper()
	n := m.Twin()
	n.With.Peer = peer
	a, err := n.Do(api.Write, path, params)
	m.Warnings = n.Warnings
	if err != nil {
		return nil, err
	}
	return a.(*api.Auth), nil
}

// LoginBy logs in by a role with a token that somebody else has signed.
func (m *Mount) LoginBy(role, token string) (*api.Auth, error) {
	m.Helper()
	return m.Login("login", Fields{"role": role, "jwt": token})
}

// Renews asks for what a login gave to be renewed, which is to be refused, or to be on the login's terms.
func (m *Mount) Renews(a *api.Auth, when string, allowed bool) {
	m.Helper()
	if again, err := m.Renew(a); (err == nil) != allowed || allowed && again.TTL != a.TTL {
		m.Errorf("renewed %s: %+v, %v", when, again, err)
	}
}

// Renew asks for what a login gave to be renewed, which certificates of a client may come with.
func (m *Mount) Renew(a *api.Auth, peer ...*x509.Certificate) (*api.Auth, error) {
	m.Helper()
	c := m.Call()
	c.Peer = peer
	return m.Engine.Renew(c, &api.Session{Private: a.Private, Metadata: a.Metadata})
}

// Tries are the attempts at a mount, counted as the gate counts them.
type Tries struct {
	mu       sync.Mutex
	accounts []string
	locked   bool
}

// Attempt implements api.Attempts.
func (t *Tries) Attempt(_ *api.Call, account string, check func() (bool, error)) (bool, error) {
	t.mu.Lock()
	t.accounts = append(t.accounts, account)
	locked := t.locked
	t.mu.Unlock()
	if locked {
		return false, nil
	}
	return check()
}

// Accounts are those that were tried, in order.
func (t *Tries) Accounts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.accounts)
}

// Lock has no credential looked at, or undoes that.
func (t *Tries) Lock(locked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.locked = locked
}
