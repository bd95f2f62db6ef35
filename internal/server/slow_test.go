package server

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// timed is a connection that keeps when it was closed.
type timed struct {
	net.Conn
	once sync.Once
	at   time.Time
}

// Close closes the connection.
func (c *timed) Close() error {
	c.once.Do(func() { c.at = time.Now() })
	return c.Conn.Close()
}

// trickle sends a text, and then one byte every second until it is cut off.
func trickle(c net.Conn, text string) {
	for _, err := io.WriteString(c, text); err == nil; _, err = c.Write([]byte(" ")) {
		time.Sleep(time.Second)
	}
}

// lasts is how long a server keeps a connection whose client does as it is told.
func lasts(t *testing.T, client func(net.Conn)) time.Duration {
	w := start(t, Config{DevRoot: api.NewSecret("root")})
	in := &doorway{make(chan net.Conn)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.serve(ctx, w.http(), []net.Listener{in}) }()
	near, far := net.Pipe()
	from, c := time.Now(), &timed{Conn: far}
	in.come <- c
	done := make(chan struct{})
	go func() { client(near); close(done) }()
	time.Sleep(time.Hour)
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	<-done
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	w.end()
	return c.at.Sub(from)
}

// TestSlowClientsAreCutOff has clients be slow at every step of a request.
func TestSlowClientsAreCutOff(t *testing.T) {
	const ask, body = "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/secret/data/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: root\r\n"
	send := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			go trickle(c, text)
			io.Copy(io.Discard, c) // until it is cut off
		}
	}
	for name, c := range map[string]struct {
		client func(net.Conn)
		want   time.Duration
	}{
		"sends nothing":       {func(c net.Conn) { io.Copy(io.Discard, c) }, headerTimeout},
		"a header in pieces":  {send("GET /v1/sys/health HTTP/1.1\r\nX-Slow: "), headerTimeout},
		"a small body":        {send(body + "Content-Length: 1000\r\n\r\n{"), readTimeout},
		"a large body":        {send(body + "Content-Length: 5242880\r\n\r\n{"), 15 * time.Second},
		"a body of any size":  {send(body + "Transfer-Encoding: chunked\r\n\r\n10000\r\n{"), readTimeout},
		"asks and then rests": {func(c net.Conn) { go io.WriteString(c, ask); io.Copy(io.Discard, c) }, idleTimeout},
		"reads no answer":     {func(c net.Conn) { io.WriteString(c, ask) }, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := lasts(t, c.client); got < c.want || got > c.want+2*time.Second {
					t.Errorf("it had %v, want %v", got, c.want)
				}
			})
		})
	}
	// What remains cannot be seen from a pipe: a handler that never answers, and
	// an HTTP/2 connection that takes no byte.
	if hs := (&Server{log: quiet()}).http(); hs.WriteTimeout != writeTimeout || hs.HTTP2.WriteByteTimeout != stuckTimeout {
		t.Errorf("no end to answers: %v, %v", hs.WriteTimeout, hs.HTTP2.WriteByteTimeout)
	}
}
