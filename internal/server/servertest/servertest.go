// Package servertest starts whole servers inside tests: in memory or on the
// embedded store, initialised and unsealed, with a known root token, on a real
// loopback listener, and with an audit device and a log that tests can read and
// break. It is for tests alone.
package servertest

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/test/engine"
)

// Root is the root token of every server started here.
const Root = "root-token-of-a-test"

// Server is a running server.
type Server struct {
	*server.Server
	URL   string // http://127.0.0.1:PORT
	Addr  string // 127.0.0.1:PORT
	Dir   string // of the embedded store; empty in memory
	Audit *Tap   // what the audit device was given
	Log   *Tap   // what was logged, at debug level

	config *server.Config
	end    context.CancelFunc
	ended  chan struct{} // closed when Serve has returned
}

// Option changes the configuration before the server starts.
type Option func(*server.Config)

// OnDisk keeps the store in a directory of the test instead of in memory.
func OnDisk(t testing.TB) Option {
	dir := t.TempDir()
	return func(c *server.Config) { c.DataDir = dir }
}

// On keeps the store in an engine. The template is that of a started one.
func On(t testing.TB, template engine.Template) Option {
	t.Helper()
	block, err := template.Block(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := server.ParseConfig("engine", []byte(block))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *server.Config) {
		c.DataDir, c.Shared, c.InMemory = parsed.DataDir, parsed.Shared, parsed.InMemory
	}
}

// Silent leaves the audit device out.
func Silent(c *server.Config) { c.Audit = nil }

// Start starts a server that ends with the test. It is in memory, unless an option or the environment (engine.Variable)
// chooses another store.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	return StartAt(t, time.Now, options...)
}

// StartAt is Start with a clock.
func StartAt(t testing.TB, now func() time.Time, options ...Option) *Server {
	t.Helper()
	c := &server.Config{
		Listeners: []server.Listener{{Address: "127.0.0.1:0"}},
		DevRoot:   api.NewSecret(Root),
		Audit:     []*audit.Declaration{{Path: "tap/", Type: "stdout", Options: map[string]string{}}},
		LogLevel:  "debug",
	}
	for _, o := range options {
		o(c)
	}
	if chosen := engine.Chosen(); chosen != "" && c.DataDir == "" && c.Shared == nil && !c.InMemory {
		On(t, chosen)(c)
	}
	s := &Server{Dir: c.DataDir, Audit: &Tap{}, Log: &Tap{}, config: c}
	var err error
	s.Server, err = server.Open(context.Background(), c, slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})), s.Audit, now)
	if err != nil {
		t.Fatal(err)
	}
	s.Audit.Reset() // the banner of a development server shows the root token
	s.serve(t)
	return s
}

// End ends the server as SIGTERM does, and waits until it has answered everything.
func (s *Server) End() {
	s.end()
	<-s.ended
}

// serve listens until the test ends.
func (s *Server) serve(t testing.TB) {
	t.Helper()
	listeners, err := server.Listen(s.config)
	if err != nil {
		t.Fatalf("the server did not listen: %v", err)
	}
	s.URL = listeners.URLs[0]
	_, s.Addr, _ = strings.Cut(s.URL, "://")
	ctx, cancel := context.WithCancel(context.Background())
	s.end, s.ended = cancel, make(chan struct{})
	var failed error
	go func() {
		defer close(s.ended)
		failed = s.Serve(ctx, listeners)
	}()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		s.End()
		if failed != nil {
			t.Errorf("serving: %v", failed)
		}
		s.Audit.Break(nil)
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
}
