package server

import (
	"net"
	"sync"
	"sync/atomic"
)

// limited is a listener with a bound on the connections that are open at once.
// One too many is closed, so that its client hears of it and does not wait.
type limited struct {
	net.Listener
	most int64
	open atomic.Int64
}

// Accept waits for a connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &counted{Conn: c, left: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		c.Close() // nothing was said on it
	}
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
