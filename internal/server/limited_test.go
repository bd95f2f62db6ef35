package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// doorway is a listener to which connections come from chosen addresses.
type doorway struct{ come chan net.Conn }

// Accept waits for a connection.
func (d *doorway) Accept() (net.Conn, error) {
	c, ok := <-d.come
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close ends Accept.
func (d *doorway) Close() error { close(d.come); return nil }

// Addr is the address that is listened on.
func (d *doorway) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8200} }

// caller is a connection from an address.
type caller struct {
	net.Conn
	from net.Addr
	gone chan struct{}
	once sync.Once
}

// RemoteAddr is the address it comes from.
func (c *caller) RemoteAddr() net.Addr { return c.from }

// Close tells that the connection was closed.
func (c *caller) Close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

// crowd is a limited listener and who comes to it.
type crowd struct {
	*limited
	t        *testing.T
	inner    *doorway
	accepted chan net.Conn
	elapsed  atomic.Int64 // on its clock, in nanoseconds: the listener reads it meanwhile
	said     bytes.Buffer // the log
}

func newCrowd(t *testing.T, most, each int) *crowd {
	c := &crowd{t: t, inner: &doorway{make(chan net.Conn)}, accepted: make(chan net.Conn)}
	c.limited = &limited{Listener: c.inner, most: most, each: each, from: map[netip.Prefix]int{}, log: slog.New(slog.NewTextHandler(&c.said, nil)), now: func() time.Time { return time.Unix(1e9, c.elapsed.Load()) }}
	go func() {
		defer close(c.accepted)
		for conn, err := c.Accept(); err == nil; conn, err = c.Accept() {
			c.accepted <- conn
		}
	}()
	t.Cleanup(func() {
		if err := c.inner.Close(); err != nil {
			t.Error(err)
		}
		<-c.accepted
	})
	return c
}

// come is the connection of one who comes; nil when it was closed at once.
func (c *crowd) come(from net.Addr) net.Conn {
	in := &caller{from: from, gone: make(chan struct{})}
	c.inner.come <- in
	select {
	case conn := <-c.accepted:
		return conn
	case <-in.gone:
		return nil
	}
}

// want has one come, who is to be let in or not.
func (c *crowd) want(in bool, from net.Addr) net.Conn {
	c.t.Helper()
	conn := c.come(from)
	if (conn != nil) != in {
		c.t.Fatalf("from %v: let in %v, want %v", from, conn != nil, in)
	}
	return conn
}

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4000} }

// TestConnectionsOfOneClientAreLimited has one address take what it may, and
// holds that against it alone.
func TestConnectionsOfOneClientAreLimited(t *testing.T) {
	c := newCrowd(t, 100, 2)
	first := c.want(true, tcp("192.0.2.7"))
	c.want(true, tcp("192.0.2.7"))
	c.want(false, tcp("192.0.2.7"))
	c.want(false, tcp("::ffff:192.0.2.7"))
	other := c.want(true, tcp("192.0.2.8"))
	for range 2 { // closing twice gives one place back
		if err := first.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	c.want(true, tcp("192.0.2.7"))
	c.want(false, tcp("192.0.2.7"))
	c.want(true, tcp("2001:db8:0:1::1"))
	c.want(true, tcp("2001:db8:0:1:ffff::1"))
	c.want(false, tcp("2001:db8:0:1::2")) // one network, one client
	c.want(true, tcp("2001:db8:0:2::1"))
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.from) != 3 || c.open != 5 {
		t.Errorf("counted are %v, %d in all", c.from, c.open)
	}
}

// TestThisMachineIsNotLimited has those of this machine take more than a client
// may, up to the limit of all.
func TestThisMachineIsNotLimited(t *testing.T) {
	c := newCrowd(t, 6, 1)
	for _, from := range []net.Addr{tcp("127.0.0.1"), tcp("127.9.9.9"), tcp("::1"), tcp("::ffff:127.0.0.1"), &net.UnixAddr{Name: "@", Net: "unix"}, &net.UnixAddr{Name: "@", Net: "unix"}} {
		c.want(true, from)
	}
	c.want(false, tcp("127.0.0.1"))
	c.want(false, tcp("192.0.2.7"))
}

// TestIdleConnectionsMakeRoom fills a listener. The connection that has been idle
// longest makes room for another; when all are in use, the control, there is none,
// nor for a client that has all it may.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	c := newCrowd(t, 3, 2)
	a, b, busy := c.want(true, tcp("192.0.2.1")), c.want(true, tcp("192.0.2.1")), c.want(true, tcp("192.0.2.2"))
	c.want(false, tcp("192.0.2.3"))
	for i, conn := range []net.Conn{b, a, busy} {
		c.elapsed.Add(int64(i) * int64(time.Second))
		note(conn, http.StateIdle)
	}
	note(busy, http.StateActive)
	c.want(false, tcp("192.0.2.1"))
	c.want(true, tcp("192.0.2.3"))
	select {
	case <-b.(*counted).Conn.(*caller).gone:
	default:
		t.Error("the connection that was idle longest is still open")
	}
	c.want(true, tcp("192.0.2.3"))
	c.want(false, tcp("192.0.2.4"))
}

// TestRequestsOnOneConnectionAreCounted has one client send many requests on one
// connection, each beyond the first in the place of a connection, and give their
// places back.
func TestRequestsOnOneConnectionAreCounted(t *testing.T) {
	c := newCrowd(t, 6, 4)
	conn := countedOf(c.want(true, tcp("192.0.2.7")))
	for i, want := range []bool{true, true, true, true, false, false} {
		if got := conn.begin(); got != want {
			t.Fatalf("request %d of 4 that may be: let in %v", i+1, got)
		}
	}
	c.want(false, tcp("192.0.2.7")) // neither has it a connection left
	other := countedOf(c.want(true, tcp("192.0.2.8")))
	for i, want := range []bool{true, true, false} {
		if got := other.begin(); got != want {
			t.Fatalf("request %d of 2 that may be: let in %v", i+1, got)
		}
	}
	idle := countedOf(other)
	idle.end()
	idle.end()
	note(idle, http.StateIdle)
	c.want(true, tcp("192.0.2.9"))
	last := countedOf(c.want(true, tcp("192.0.2.9"))) // in the place of the idle one
	if !last.begin() || last.begin() {
		t.Error("of two requests where one place is left, not one was let in")
	}
	conn.end()
	if !last.begin() {
		t.Error("a request that has ended gave no place back")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	for range 3 {
		conn.end()
	}
	last.end()
	last.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != 2 || len(c.from) != 1 {
		t.Errorf("counted are %v, %d in all", c.from, c.open)
	}
}

// TestRefusalsAreTold floods a listener: the log has the first refusal at once,
// and then a line a minute that counts.
func TestRefusalsAreTold(t *testing.T) {
	c := newCrowd(t, 100, 1)
	c.want(true, tcp("192.0.2.7"))
	flood := func(n int) string {
		c.said.Reset()
		for range n {
			c.want(false, tcp("192.0.2.7"))
		}
		c.want(true, tcp("127.0.0.1")) // by then the refusals have been told
		return c.said.String()
	}
	if got := flood(50); strings.Count(got, "\n") != 1 || !strings.Contains(got, "refused=1 ") || !strings.Contains(got, "192.0.2.7") {
		t.Errorf("at first: %s", got)
	}
	c.elapsed.Add(int64(tellEvery - 1))
	if got := flood(50); got != "" {
		t.Errorf("within a minute: %s", got)
	}
	c.elapsed.Add(1)
	if got := flood(50); strings.Count(got, "\n") != 1 || !strings.Contains(got, "refused=100 ") {
		t.Errorf("after a minute: %s", got)
	}
}

// TestConnectionsAreLimited fills a real listener, and holds the next connection
// to be closed until one of the others is.
func TestConnectionsAreLimited(t *testing.T) {
	ls, err := Listen(&Config{Listeners: []Listener{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0", PerClient: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, each := range []int{maxConnections / 4, 7} {
		if l := ls.counts[i]; ls.open[i] != net.Listener(l) || l.most != maxConnections || l.each != each {
			t.Errorf("listener %d takes %d connections, %d of one client", i, l.most, l.each)
		}
	}
	l := ls.counts[0]
	l.most, l.log, l.now = 1, quiet(), time.Now
	accepted := make(chan net.Conn, 4)
	go func() {
		defer close(accepted)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection too many gave %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	dial()
	if <-accepted == nil {
		t.Error("no place was given back")
	}
	if err := ls.Close(); err != nil {
		t.Error(err)
	}
}

// TestServeTellsOfRefusals has a server itself refuse a connection.
func TestServeTellsOfRefusals(t *testing.T) {
	c := Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	ls, err := Listen(&c)
	if err != nil {
		t.Fatal(err)
	}
	ls.counts[0].most = 0
	said, in := io.Pipe()
	log := slog.New(slog.NewTextHandler(in, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(t.Context(), &c, log, io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, ls) }()
	conn, err := net.Dial("tcp", ls.counts[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.Contains(line, "refused=1 ") {
		t.Errorf("the log has %q, %v", line, err)
	}
	go io.Copy(io.Discard, said) // whatever else it has to say
	stop()
	if err := errors.Join(<-ended, s.Close(), conn.Close(), in.Close()); err != nil {
		t.Error(err)
	}
}

// TestRequestsOfHTTP2AreLimited sends five requests at once on one connection whose
// bodies do not come, where three may be under way: each holds memory, as a
// connection does.
func TestRequestsOfHTTP2AreLimited(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{})
	ls := a.serve(Listener{Address: "127.0.0.1:0", CertFile: a.file("server.crt"), KeyFile: a.file("server.key")})
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ask := func(method string, body io.Reader) (status int) {
		r, err := http.NewRequestWithContext(ctx, method, ls.URLs[0]+"/v1/sys/unseal", body)
		a.must(err)
		resp, err := tr.RoundTrip(r)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	ask("GET", nil) // makes the connection
	l := ls.counts[0]
	l.mu.Lock()
	l.most = 3
	l.mu.Unlock()
	statuses, bodies := make(chan int), []*io.PipeWriter{}
	for range 5 {
		body, w := io.Pipe()
		bodies = append(bodies, w)
		go func() { statuses <- ask("POST", body) }()
	}
	for range 2 {
		if got := <-statuses; got != http.StatusServiceUnavailable {
			t.Errorf("one of two requests too many was answered %d", got)
		}
	}
	for _, w := range bodies {
		w.Close()
	}
	for range 3 {
		if got := <-statuses; got != http.StatusBadRequest {
			t.Errorf("one of three requests that may be was answered %d", got)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != 1 {
		t.Errorf("%d places are taken by one connection", l.open)
	}
}
