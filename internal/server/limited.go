package server

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/gate"
)

// limited is a listener with bounds on the connections that are open at once: on
// all of them, and on those of each client, so that none can have them all. One
// too many of a client is closed, so that it hears of it and does not wait; when
// all places are taken, a connection that nobody is using makes room. HTTP/2 has
// many requests on one connection, and each of them costs what a connection does:
// a second one under way takes a place of its own.
type limited struct {
	net.Listener
	listener   *Listener        // as it is configured
	most, each int              // open at once: of all, and of one client
	proxies    []netip.Prefix   // speak for many clients and are bounded with all others only
	log        *slog.Logger     // is told of refusals
	now        func() time.Time // the clock

	mu      sync.Mutex
	open    int
	from    map[netip.Prefix]int // by client; who has none open is not in it
	conns   map[*counted]struct{}
	refused int // since the log was told
	told    time.Time
}

// Accept waits for a connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who := l.client(c.RemoteAddr())
		if in := l.admit(c, who); in != nil {
			return in, nil
		}
		c.Close() // nothing was said on it
		l.tell(who)
	}
}

// clientOf is whose connections are counted together; none of its own for who is
// on this machine, over loopback or a unix socket.
func clientOf(a net.Addr) (who netip.Prefix) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return who
	}
	return gate.Neighbourhood(tcp.AddrPort().Addr())
}

// count is how many connections are open.
func (l *limited) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// client is whose connections one counts among; none of its own for a proxy.
func (l *limited) client(a net.Addr) netip.Prefix {
	who := clientOf(a)
	if who.IsValid() && contains(l.proxies, who.Addr()) {
		return netip.Prefix{}
	}
	return who
}

// admit counts a client's connection, if there is room for it or room can be
// made; else it is nil.
func (l *limited) admit(c net.Conn, who netip.Prefix) *counted {
	in := &counted{Conn: c, limits: l, who: who}
	if l.roomFor(who, func() bool { return l.enter(in) }) {
		return in
	}
	return nil
}

// roomFor has a client enter, and makes room where that is what it takes.
func (l *limited) roomFor(who netip.Prefix, enter func() bool) bool {
	if enter() {
		return true
	}
	victim := l.victim(who)
	if victim == nil {
		return false
	}
	victim.Close() // its client makes another when it needs one
	return enter()
}

func (l *limited) enter(c *counted) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.take(c.who) {
		return false
	}
	if l.conns == nil {
		l.conns = map[*counted]struct{}{}
	}
	l.conns[c] = struct{}{}
	return true
}

// take takes a place for a client, if there is one.
func (l *limited) take(who netip.Prefix) bool {
	if l.open >= l.most || l.crowded(who) {
		return false
	}
	l.open++
	if who.IsValid() {
		l.from[who]++
	}
	return true
}

// give gives a client's place back.
func (l *limited) give(who netip.Prefix) {
	l.open--
	if !who.IsValid() {
		return
	}
	if l.from[who]--; l.from[who] == 0 {
		delete(l.from, who)
	}
}

// crowded reports whether a client has all the connections that it may have.
func (l *limited) crowded(who netip.Prefix) bool { return who.IsValid() && l.from[who] >= l.each }

// victim is the connection that has been idle longest; nil when none is, or when
// it is the client's own bound that keeps it out.
func (l *limited) victim(who netip.Prefix) (oldest *counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crowded(who) {
		return nil
	}
	var since int64
	for c := range l.conns {
		if t := c.idle.Load(); t != 0 && (oldest == nil || t < since) {
			oldest, since = c, t
		}
	}
	return oldest
}

func (l *limited) leave(c *counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, in := l.conns[c]; !in {
		return
	}
	delete(l.conns, c)
	l.give(c.who)
}

// tellEvery is the least time between two lines about refusals.
const tellEvery = time.Minute

// tell counts a refusal; the log hears of the first, and then of all since.
func (l *limited) tell(who netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	now := l.now()
	if !l.told.IsZero() && now.Sub(l.told) < tellEvery {
		return
	}
	l.log.Warn("connections or requests were refused: too many are open", slog.String("listener", l.Addr().String()), slog.Int("refused", l.refused),
		slog.String("last_from", who.String()), slog.Int("most", l.most), slog.Int("most_per_client", l.each))
	l.refused, l.told = 0, now
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	limits *limited
	who    netip.Prefix
	idle   atomic.Int64 // since when nobody uses it, in nanoseconds since 1970; 0: somebody does

	requests int // under way, by the listener's lock
}

// begin counts a request, and reports whether there is a place for it or one can
// be made. One that is alone on its connection has the connection's.
func (c *counted) begin() bool { return c.limits.roomFor(c.who, c.enter) }

func (c *counted) enter() bool {
	l := c.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.requests > 0 && !l.take(c.who) {
		return false
	}
	c.requests++
	return true
}

// end ends a request that has begun.
func (c *counted) end() {
	l := c.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.requests--; c.requests > 0 {
		l.give(c.who)
	}
}

// note keeps how a connection of the HTTP server is used.
func note(c net.Conn, s http.ConnState) {
	k := countedOf(c)
	if k == nil {
		return
	}
	switch s {
	case http.StateActive:
		k.idle.Store(0)
	case http.StateNew, http.StateIdle:
		k.idle.Store(k.limits.now().UnixNano())
	}
}

// countedOf is the counted connection below one of TLS or of a proxy; nil when
// there is none.
func countedOf(c net.Conn) *counted {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if p, ok := c.(*proxied); ok {
		c = p.Raw()
	}
	k, ok := c.(*counted)
	if !ok {
		return nil
	}
	return k
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.limits.leave(c)
	return c.Conn.Close()
}

// CloseWrite ends what is sent. Without it net/http would cut a refusal off when
// the client is sending still.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
