package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
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
func lasts(t *testing.T, config Config, client func(net.Conn)) time.Duration {
	w := start(t, config)
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
				if got := lasts(t, Config{DevRoot: api.NewSecret("root")}, c.client); got < c.want || got > c.want+2*time.Second {
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

// TestSlowUploadsAreCutOff has who uploads a snapshot, to a server that waits to be
// initialised, be slow or stop: it holds the server no longer than it takes at the slowest pace
// that is allowed. The control keeps to that pace, and is served far longer.
func TestSlowUploadsAreCutOff(t *testing.T) {
	const upload = "POST /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	const begun = "1b\r\nstrongroom snapshot 1\nH\x00\x0f\xff\x00\r\n" // a frame that is 1 MiB long
	at := func(rate int) func(net.Conn) {
		return func(c net.Conn) {
			go paced(c, upload+begun, rate)
			io.Copy(io.Discard, c)
		}
	}
	for name, c := range map[string]struct {
		client      func(net.Conn)
		least, most time.Duration
	}{
		"stops":    {at(0), 30 * time.Second, 33 * time.Second},
		"trickles": {at(1), 60 * time.Second, 95 * time.Second},
		"control":  {at(10 << 10), 96 * time.Second, 110 * time.Second}, // until the frame has come, and is damaged
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := lasts(t, Config{}, c.client); got < c.least || got > c.most {
					t.Errorf("it had %v, want from %v to %v", got, c.least, c.most)
				}
			})
		})
	}
}

// paced sends a text, and then chunks of a body, so many bytes a second.
func paced(c net.Conn, text string, rate int) {
	_, err := io.WriteString(c, text)
	for rate > 0 && err == nil {
		time.Sleep(time.Second)
		_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", rate, strings.Repeat(" ", rate))
	}
}
