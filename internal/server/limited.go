package server

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/gate"
)

// limited is a listener with bounds on the connections that are open at once: on
// all of them, and on those of each client, so that none can have them all. One
// too many is closed, so that its client hears of it and does not wait.
type limited struct {
	net.Listener
	most, each int              // open at once: of all, and of one client
	log        *slog.Logger     // is told of refusals
	now        func() time.Time // the clock

	mu      sync.Mutex
	open    int
	from    map[netip.Prefix]int // by client; who has none open is not in it
	refused int                  // since the log was told
	told    time.Time
}

// Accept waits for a connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who := clientOf(c.RemoteAddr())
		if l.enter(who) {
			return &counted{Conn: c, left: sync.OnceFunc(func() { l.leave(who) })}, nil
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

// enter counts a client's connection, if there is room for it.
func (l *limited) enter(who netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most || who.IsValid() && l.from[who] >= l.each {
		return false
	}
	l.open++
	if who.IsValid() {
		l.from[who]++
	}
	return true
}

func (l *limited) leave(who netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if !who.IsValid() {
		return
	}
	if l.from[who]--; l.from[who] == 0 {
		delete(l.from, who)
	}
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
	l.log.Warn("connections were refused: too many are open", slog.String("listener", l.Addr().String()), slog.Int("refused", l.refused),
		slog.String("last_from", who.String()), slog.Int("most", l.most), slog.Int("most_per_client", l.each))
	l.refused, l.told = 0, now
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	left func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.left()
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
