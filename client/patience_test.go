package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// network is a network in which each host does what a test says, and notes who was asked.
type network struct {
	mu    sync.Mutex
	asked []string
	does  map[string]func(r *http.Request) (int, error)
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.asked = append(n.asked, r.URL.Host)
	n.mu.Unlock()
	status, err := n.does[r.URL.Host](r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"data":{}}`)), Request: r}, nil
}

// took is who was asked since the last call.
func (n *network) took() string {
	defer func() { n.asked = nil }()
	return strings.Join(n.asked, " ")
}

func answering(status int) func(*http.Request) (int, error) {
	return func(*http.Request) (int, error) { return status, nil }
}

func failing(err error) func(*http.Request) (int, error) {
	return func(*http.Request) (int, error) { return 0, err }
}

// unreachable is an address behind which packets are lost, for as long as a dialer tries.
func unreachable(d time.Duration) func(*http.Request) (int, error) {
	return func(r *http.Request) (int, error) {
		if wait(d, r.Context().Done()); r.Context().Err() != nil {
			return 0, r.Context().Err()
		}
		return 0, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	}
}

func on(t *testing.T, n *network, address string, set func(*Config)) *Client {
	t.Helper()
	cfg := Config{Address: address, Wrap: func(http.RoundTripper) http.RoundTripper { return n }}
	if set != nil {
		set(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errNoRoute = &net.OpError{Op: "dial", Err: errors.New("no route to host")}

// TestOtherAddressesAreTried has a node fail in each way: a read goes on to the next one, a
// write only when nothing was sent, and who has answered is asked first from then on.
func TestOtherAddressesAreTried(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}
	for name, tc := range map[string]struct {
		first       func(*http.Request) (int, error)
		read, write string
		fails       bool // the write does
	}{
		"answers":          {first: answering(200), read: "a", write: "a"},
		"no route":         {first: failing(errNoRoute), read: "a b", write: "a b"},
		"no handshake":     {first: failing(errors.New("net/http: TLS handshake timeout")), read: "a b", write: "a b"},
		"reset":            {first: failing(errors.Join(io.ErrUnexpectedEOF, reset)), read: "a b", write: "a", fails: true},
		"sealed":           {first: answering(503), read: "a b", write: "a", fails: true},
		"not initialised":  {first: answering(501), read: "a", write: "a", fails: true},
		"denied":           {first: answering(403), read: "a", write: "a", fails: true},
		"broken in itself": {first: failing(errors.New("else")), read: "a", write: "a", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := &network{does: map[string]func(*http.Request) (int, error){"a": tc.first, "b": answering(200)}}
			err := read(t.Context(), on(t, n, "http://a, http://b", nil))
			if got := n.took(); got != tc.read || (err == nil) != (tc.read == "a b" || !tc.fails) {
				t.Errorf("a read asks %q, %v", got, err)
			}
			c := on(t, n, "http://a,http://b", nil)
			err = write(t.Context(), c)
			if got := n.took(); got != tc.write || (err != nil) != tc.fails {
				t.Errorf("a write asks %q, %v", got, err)
			}
			if tc.write == "a b" {
				if err := write(t.Context(), c.WithNamespace("copies know it")); err != nil || n.took() != "b" {
					t.Errorf("the next write: %v", err)
				}
			}
		})
	}
}

// TestLimitedEverywhere has a limit hold for all addresses: it is waited for, and no other asked.
func TestLimitedEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{does: map[string]func(*http.Request) (int, error){"a": answering(429), "b": answering(200)}}
		if err := read(t.Context(), on(t, n, "http://a,http://b", nil)); !errors.Is(err, ErrRateLimited) || n.took() != "a a a" {
			t.Errorf("%v", err)
		}
	})
}

// TestPatienceIsBounded has nobody answer: all attempts, at all addresses and with all pauses,
// end within the patience.
func TestPatienceIsBounded(t *testing.T) {
	const patience = 4 * time.Second
	one, three := "http://a", "http://a,http://b,http://c"
	slow := func(status int) func(*http.Request) (int, error) { return answering(status) }
	for name, tc := range map[string]struct {
		address string
		does    func(*http.Request) (int, error)
		asked   string
	}{
		"unreachable":         {one, unreachable(dialTime(patience, 1)), "a"},
		"all are unreachable": {three, unreachable(dialTime(patience, 3)), "a b c"},
		"no route":            {three, failing(errNoRoute), "a b c"},
		"sealed":              {three, slow(503), "a b c a b c a b c"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &network{does: map[string]func(*http.Request) (int, error){"a": tc.does, "b": tc.does, "c": tc.does}}
			began := time.Now()
			err := read(t.Context(), on(t, n, tc.address, func(c *Config) { c.Patience = patience }))
			if took := time.Since(began); err == nil || took > patience || n.took() != tc.asked {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		n := &network{does: map[string]func(*http.Request) (int, error){"a": answering(503)}}
		began := time.Now()
		err := read(t.Context(), on(t, n, one, func(c *Config) { c.Patience, c.MaxRetries = patience, 100 }))
		if took := time.Since(began); err == nil || took > patience || took < patience/4 {
			t.Errorf("a hundred attempts end with %v after %v", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		refused := failing(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
		n := &network{does: map[string]func(*http.Request) (int, error){"a": unreachable(2 * time.Second), "b": refused}}
		began := time.Now()
		err := read(t.Context(), on(t, n, "http://a,http://b", func(c *Config) { c.Patience = patience }))
		if took := time.Since(began); err == nil || took > patience || n.took() != "a b" {
			t.Errorf("one that is away and one that has ended: %v after %v", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := &network{does: map[string]func(*http.Request) (int, error){"a": func(*http.Request) (int, error) { wait(patience+time.Second, nil); return 503, nil }}}
		if err := read(t.Context(), on(t, n, one, func(c *Config) { c.Patience = patience })); err == nil || n.took() != "a" {
			t.Errorf("who takes longer than the patience to say that it cannot is asked again: %v", err)
		}
	})
	if d := pause(99, nil); d <= 0 || d > maxWait {
		t.Errorf("the pause before the hundredth attempt is %v", d)
	}
	if dialTime(0, 3) != dialTimeout {
		t.Error("without patience each connection has not its own time")
	}
}

// TestWaitingIsTold has who waits be told once of what: after a second without a connection,
// after five without an answer, and never afterwards.
func TestWaitingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Waiting
		at := func(c *Config) { c.Waiting = func(w Waiting) { told = append(told, w) } }
		n := &network{does: map[string]func(*http.Request) (int, error){
			"quick": answering(200), "away": unreachable(3 * time.Second),
			"late": func(r *http.Request) (int, error) { wait(900*time.Millisecond, nil); return 200, nil },
		}}
		for _, address := range []string{"http://quick", "http://late"} {
			if err := read(t.Context(), on(t, n, address, at)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if len(told) != 0 {
			t.Errorf("of a request that was answered at once it is told that %+v", told)
		}
		began := time.Now()
		if err := read(t.Context(), on(t, n, "http://away,http://quick", at)); err != nil || time.Since(began) != 3*time.Second {
			t.Fatal(err)
		}
		if len(told) != 1 || told[0] != (Waiting{Address: "http://away"}) {
			t.Errorf("of a node that is away it is told that %+v", told)
		}
		told = nil
		n.does["away"] = unreachable(tellAfter / 2)
		if err := read(t.Context(), on(t, n, "http://quick", at)); err != nil {
			t.Fatal(err)
		}
		n.does["busy"] = answering(503)
		_ = read(t.Context(), on(t, n, "http://busy", func(c *Config) { at(c); c.MaxRetries = 10 }))
		if len(told) != 1 || told[0].Address != "http://busy" || !told[0].Pause || told[0].Connected || !errors.Is(told[0].Err, ErrUnavailable) {
			t.Errorf("of attempts that fail for more than a second it is told that %+v", told)
		}
	})
}

// TestSilenceIsTold asks a real server that takes a request and says nothing.
func TestSilenceIsTold(t *testing.T) {
	w := &watch{}
	var told []Waiting
	w.tell = func(x Waiting) { told = append(told, x) }
	w.now = Waiting{Address: "http://a", Connected: true}
	w.passed(false)
	if len(told) != 0 {
		t.Errorf("a server that works on a request for a second: %+v", told)
	}
	w.passed(true)
	w.passed(true)
	if len(told) != 1 || !told[0].Connected {
		t.Errorf("a server that says nothing for five: %+v", told)
	}
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"data":{}}`) }, nil)
	c.cfg.Waiting = func(Waiting) {}
	seen := c.watching()
	defer seen.stop()
	req, err := c.NewRequest(t.Context(), Request{Path: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.round(req, Request{Path: "a"}, seen); err != nil || !seen.now.Connected {
		t.Errorf("a request that is answered was not seen connected: %v", err)
	}
}

func TestAddressesThatDoNotFit(t *testing.T) {
	for _, bad := range []string{"http://a,", "http://a,unix:///s", "http://a,ftp://b", strings.Repeat("http://a,", 8) + "http://b"} {
		if _, err := New(Config{Address: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
