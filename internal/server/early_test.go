package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/test/process"
)

// waiter is a node of a fleet of two, with a member of etcd in it, that is being started.
type waiter struct {
	listeners *Listeners
	end       context.CancelFunc
	ended     chan error
}

// waiters are two nodes that list each other, of which none has started.
func waiters(t *testing.T) [2]func() *waiter {
	dir := t.TempDir()
	var members []member.Peer
	for _, name := range []string{"a", "b"} {
		addr, err := process.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member.Peer{Name: name, URL: "http://" + addr})
	}
	start := func(i int) func() *waiter {
		return func() *waiter {
			c := &Config{Listeners: []Listener{{Address: "127.0.0.1:0"}},
				Shared: &Shared{Member: &member.Config{Members: members, Name: members[i].Name, Dir: filepath.Join(dir, members[i].Name)}}}
			return startWaiter(t, c)
		}
	}
	return [2]func() *waiter{start(0), start(1)}
}

func startWaiter(t *testing.T, c *Config) *waiter {
	ls, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &waiter{listeners: ls, ended: make(chan error, 1)}
	ctx, end := context.WithCancel(context.Background())
	w.end = end
	go func() { w.ended <- runWaiter(ctx, c, ls) }()
	t.Cleanup(end)
	return w
}

// runWaiter does what the command does once it listens.
func runWaiter(ctx context.Context, c *Config, ls *Listeners) error {
	log := slog.New(slog.DiscardHandler)
	s, err := (&flags{}).openAnswering(ctx, c, log, ls, io.Discard)
	if err != nil {
		if err := ls.Close(); err != nil {
			return err
		}
		return endedEarly(ctx, log, err)
	}
	if err := s.Serve(ctx, ls); err != nil {
		return err
	}
	return s.Close()
}

// until asks a node for a while, until an answer has the status and the text.
func (w *waiter) until(t *testing.T, path string, status int, text string) {
	t.Helper()
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, enough := "", time.After(time.Minute)
	for {
		if resp, err := client.Get(w.listeners.URLs[0] + path); err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == status && strings.Contains(string(body), text) {
				return
			}
			last = resp.Status + " " + string(body)
		}
		select {
		case <-tick.C:
		case <-enough:
			t.Fatalf("%s was never answered with %d and %q, at last with %s", path, status, text, last)
		}
	}
}

// stop tells the node to end, as SIGTERM does.
func (w *waiter) stop(t *testing.T) {
	t.Helper()
	w.end()
	select {
	case err := <-w.ended:
		if err != nil {
			t.Errorf("the node ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the node does not end")
	}
}

// TestWaitingNodeAnswers starts one of two members: it says whom it waits for, and ends
// when it is told to. With both they serve, on the same listeners. Alone again, one says
// that a majority lacks.
func TestWaitingNodeAnswers(t *testing.T) {
	start := waiters(t)
	a := start[0]()
	a.until(t, "/v1/sys/health", 503, "waiting for members b: a new cluster begins")
	a.until(t, "/v1/sys/seal-status", 503, "waiting for members b")
	a.stop(t)

	a, b := start[0](), start[1]()
	a.until(t, "/v1/sys/seal-status", 200, `"initialized":false`)
	b.until(t, "/v1/sys/seal-status", 200, `"initialized":false`)
	a.stop(t)
	b.stop(t)

	b = start[1]()
	b.until(t, "/v1/sys/health", 503, "waiting for members a: more than half")
	b.stop(t)
}
