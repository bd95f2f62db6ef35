package issuer

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// node asks an issuer from a store of the test's.
type node struct {
	testing.TB
	source *Source
	issuer *authtest.Issuer
	store  store.Store
	now    time.Time
	gone   bool // the configuration is another by now
}

func shown(t testing.TB) map[string]crypto.PublicKey {
	return map[string]crypto.PublicKey{"one": authtest.Key(t, 0).Public()}
}

func open(t testing.TB) *node {
	t.Helper()
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &node{TB: t, issuer: authtest.Publish(t, shown(t)), store: s, now: authtest.Epoch}
	n.source = &Source{ID: "1", Row: "keys", JWKS: n.issuer.URL + "/keys", CA: n.issuer.CA(), Still: func(*store.Tx) (bool, error) { return !n.gone, nil }}
	return n
}

func (n *node) call() *api.Call { return &api.Call{Context: n.Context(), Store: n.store, Now: n.now} }

// token is signed by one of two keys, of which the issuer shows the first.
func (n *node) token(key int, kid string) string {
	n.Helper()
	return authtest.Sign(n, "RS256", authtest.Key(n, key), kid, authtest.Fields{"sub": "alice"})
}

// reads demands that a token is taken, or that it is refused in a way.
func (n *node) reads(what, token string, want error) {
	n.Helper()
	said, err := n.source.Read(n.call(), token, []string{"RS256"})
	switch {
	case want == nil && (err != nil || said.Text("sub") != "alice"):
		n.Errorf("%s: %v, %v", what, said, err)
	case want != nil && (said != nil || !errors.Is(err, want) && api.KindOf(err) != api.KindOf(want)):
		n.Errorf("%s: %v, %v; want %v", what, said, err, want)
	}
}

func (n *node) asked(want int) {
	n.Helper()
	if got := n.issuer.Asked("/keys"); got != want {
		n.Errorf("the issuer was asked %d times, want %d", got, want)
	}
}

func TestKeysAreFetchedOnceAnHour(t *testing.T) {
	n := open(t)
	for range 5 {
		n.reads("a key that is known", n.token(0, "one"), nil)
		n.now = n.now.Add(Fresh / 5)
	}
	n.asked(1)
	n.reads("an hour later", n.token(0, "one"), nil)
	n.asked(2)
}

// What a token is signed by is the key that it names, of those that the issuer shows.
func TestWhatIsRefused(t *testing.T) {
	n := open(t)
	n.reads("another's key by a known name", n.token(1, "one"), jws.ErrSignature)
	n.reads("another algorithm", authtest.Sign(t, "RS512", authtest.Key(t, 0), "one", `{"sub":"alice"}`), errors.ErrUnsupported)
	n.reads("no token", "a.b.c", errors.ErrUnsupported)
	n.reads("space around it", " "+n.token(0, "one")+"\n", nil)
	n.asked(1)
}

// A name that the issuer does not know is asked for once in a while, however often it comes.
func TestUnknownNames(t *testing.T) {
	n := open(t)
	n.reads("a known name", n.token(0, "one"), nil)
	for range 50 {
		n.now = n.now.Add(AskEvery / 10)
		if _, err := n.source.Read(n.call(), n.token(1, "two"), []string{"RS256"}); err == nil {
			t.Fatal("a key that the issuer does not show is taken")
		}
	}
	if asked := n.issuer.Asked("/keys"); asked < 2 || asked > 7 {
		t.Errorf("the issuer was asked %d times in %v", asked, 5*AskEvery)
	}
	n.issuer.Change(func(now *authtest.State) { now.Keys["two"] = authtest.Key(t, 1).Public() })
	n.now = n.now.Add(AskEvery)
	n.reads("a key that has come", n.token(1, "two"), nil)
}

// A key that the issuer shows no more is not taken once the keys were fetched again: at the latest after an hour, and
// after a day without an answer none is.
func TestKeysGoAway(t *testing.T) {
	n := open(t)
	n.reads("a key", n.token(0, "one"), nil)
	n.issuer.Change(func(now *authtest.State) { now.Keys = map[string]crypto.PublicKey{"two": authtest.Key(t, 1).Public()} })
	n.now = n.now.Add(Fresh - 1)
	n.reads("within the hour", n.token(0, "one"), nil)
	n.now = n.now.Add(1)
	n.reads("after it", n.token(0, "one"), jws.ErrSignature)
	n.reads("the other", n.token(1, "two"), nil)
	n.issuer.Change(func(now *authtest.State) { now.Down = true })
	n.now = n.now.Add(Usable - 1)
	n.reads("an issuer that is away for less than a day", n.token(1, "two"), nil)
	n.now = n.now.Add(AskEvery)
	n.reads("and for more", n.token(1, "two"), ErrAsking())
}

func TestWhatIsNoAnswer(t *testing.T) {
	for name, change := range map[string]func(*node){
		"out of order":   func(n *node) { n.issuer.Change(func(now *authtest.State) { now.Down = true }) },
		"no keys":        func(n *node) { n.source.JWKS += "/nothing" },
		"a redirect":     func(n *node) { n.source.JWKS = n.issuer.URL + "/away" },
		"a huge answer":  func(n *node) { raw(n, append([]byte(`{"keys":[]}`), bytes.Repeat([]byte(" "), outbound.MaxBody)...)) },
		"a deep answer":  func(n *node) { raw(n, bytes.Repeat([]byte("["), outbound.MaxBody/2)) },
		"many keys":      func(n *node) { raw(n, []byte(`{"keys":[`+strings.Repeat(`{},`, 100000)+`{}]}`)) },
		"no JSON":        func(n *node) { raw(n, []byte("<html>")) },
		"any server":     func(n *node) { n.source.CA = "" },
		"another's name": func(n *node) { named(n, func(now *authtest.State) { now.Name = "https://evil.example" }) },
		"keys over http": func(n *node) { named(n, func(now *authtest.State) { now.JWKS = "http://issuer.example/keys" }) },
		"keys with a name": func(n *node) {
			named(n, func(now *authtest.State) { now.JWKS = strings.Replace(n.issuer.URL, "//", "//u:p@", 1) + "/keys" })
		},
		"keys in a file":     func(n *node) { named(n, func(now *authtest.State) { now.JWKS = "file:///etc/passwd" }) },
		"keys behind a page": func(n *node) { named(n, func(now *authtest.State) { now.JWKS = n.issuer.URL + "/away" }) },
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t)
			change(n)
			var told *api.Error
			_, err := n.source.Read(n.call(), n.token(0, "one"), []string{"RS256"})
			if !errors.As(err, &told) || told.Message != ErrAsking().Message || told.Err == nil || strings.Contains(told.Err.Error(), n.issuer.URL) {
				t.Errorf("%v: want that it could not be asked, and why for the log", err)
			}
			n.reads(name, n.token(0, "one"), ErrAsking())
			if _, _, err := n.source.Fetch(t.Context()); err == nil || strings.Contains(err.Error(), n.issuer.URL) {
				t.Errorf("is fetched, or tells the address: %v", err)
			}
		})
	}
	n := open(t)
	named(n, func(*authtest.State) {})
	n.reads("as it should be", n.token(0, "one"), nil)
}

func raw(n *node, b []byte) { n.issuer.Change(func(now *authtest.State) { now.Raw = b }) }

// named has the issuer asked what it says of itself, after a change of that.
func named(n *node, change func(*authtest.State)) {
	n.source.JWKS, n.source.Discovery = "", n.issuer.URL
	n.issuer.Change(change)
}

// What is known by another configuration, or comes after the configuration has changed, is not used.
func TestAnotherConfiguration(t *testing.T) {
	n := open(t)
	n.reads("a key", n.token(0, "one"), nil)
	n.source.ID = "2"
	n.issuer.Change(func(now *authtest.State) { now.Down = true })
	n.reads("by another configuration", n.token(0, "one"), ErrAsking())
	n.issuer.Change(func(now *authtest.State) { now.Down, now.While = false, func() { n.gone = true } })
	n.now = n.now.Add(AskEvery)
	if _, err := n.source.Current(n.call()); err != nil {
		t.Errorf("who asked while it changed: %v", err)
	}
	if k, err := store.LoadJSON[Known](t.Context(), n.store, n.source.Row); err != nil || len(k.Keys) != 0 {
		t.Errorf("keys of an older configuration are kept: %+v, %v", k, err)
	}
}
