package client

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// refusing is a client of an address where nothing listens, and its pauses.
func refusing(t *testing.T) (*Client, *[]time.Duration) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	c, err := New(Config{Address: "http://" + addr, Wait: func(d time.Duration, _ <-chan struct{}) { waits = append(waits, d) }})
	if err != nil {
		t.Fatal(err)
	}
	return c, &waits
}

func TestRefusedConnectionsAreTriedAgain(t *testing.T) {
	c, waits := refusing(t)
	for name, call := range map[string]func(context.Context, *Client) error{"read": read, "write": write} {
		*waits = nil
		if err := call(t.Context(), c); err == nil || len(*waits) != DefaultMaxRetries {
			t.Errorf("%s: %v after %d pauses", name, err, len(*waits))
		}
	}
}

// TestBrokenConnections pins that a request that may have been carried out is not
// sent again.
func TestBrokenConnections(t *testing.T) {
	for name, tc := range map[string]struct {
		call     func(context.Context, *Client) error
		attempts int32
	}{"read": {read, 3}, "write": {write, 1}} {
		t.Run(name, func(t *testing.T) {
			var attempts atomic.Int32
			c, _ := serve(t, func(http.ResponseWriter, *http.Request) {
				attempts.Add(1)
				panic(http.ErrAbortHandler)
			}, nil)
			if err := tc.call(t.Context(), c); err == nil || attempts.Load() != tc.attempts {
				t.Errorf("%v after %d attempts, want %d", err, attempts.Load(), tc.attempts)
			}
		})
	}
}

func TestRateIsKept(t *testing.T) {
	c, waits := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"data":{}}`) },
		func(cfg *Config) { cfg.Rate, cfg.Burst = 4, 2 })
	for range 5 {
		if err := read(t.Context(), c.WithNamespace("copies share it")); err != nil {
			t.Fatal(err)
		}
	}
	if len(*waits) != 3 || (*waits)[0] != 250*time.Millisecond {
		t.Errorf("pauses = %v, want three of 250 ms", *waits)
	}
}

func TestProxy(t *testing.T) {
	proxied := make(chan string, 1)
	proxy, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		proxied <- r.URL.Host
		reply(w, 200, `{"data":{}}`)
	}, nil)
	c, err := New(Config{Address: "http://strongroom.example", Proxy: proxy.Address()})
	if err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context(), c); err != nil || <-proxied != "strongroom.example" {
		t.Errorf("error = %v", err)
	}
	if _, err := New(Config{Address: "http://a", Proxy: "proxy:8080"}); err == nil {
		t.Error("a proxy without a scheme was taken")
	}
}

func TestAnswerThatRepeatsItsKeys(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `{"auth":["token"],"data":{"auth":["token"]},"request_id":"r"}`)
	}, nil)
	s, err := c.Read(t.Context(), "sys/plugins/catalog", nil)
	if err != nil || s.Auth != nil || s.Data["auth"] == nil || s.RequestID != "r" {
		t.Errorf("%v %v", s, err)
	}
}

func TestStream(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/sys/monitor" {
			reply(w, 403, `{"errors":["permission denied"]}`)
			return
		}
		io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(cfg *Config) { cfg.Timeout = time.Nanosecond }) // which is for whole answers
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body, err := c.Stream(ctx, Request{Path: "sys/monitor"})
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 6)
	if _, err := io.ReadFull(body, first); err != nil || string(first) != "first\n" {
		t.Errorf("%q %v", first, err)
	}
	cancel()
	if _, err := io.ReadAll(body); err == nil {
		t.Error("the stream ended without saying that it was cut")
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Stream(t.Context(), Request{Path: "sys/else"}); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("error = %v", err)
	}
}
