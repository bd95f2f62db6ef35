package member

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
)

// lines are what is logged, from several members.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

// shown is what was logged of etcd, but for the one line that a test expects, and how often
// that one was.
func (l *lines) shown(expected string) (others []string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.String()) {
		switch {
		case strings.Contains(line, expected):
			n++
		case !strings.Contains(line, "etcd: "), strings.Contains(line, "etcd: waiting for"), busy(line):
		default:
			others = append(others, line)
		}
	}
	return others, n
}

// busy reports whether a line is of a machine that is too slow for the quick heartbeats of
// tests, as one that does other work may be.
func busy(line string) bool {
	return strings.Contains(line, "failed to send out heartbeat on time") || strings.Contains(line, "slow fdatasync") || strings.Contains(line, "since quorum is not active")
}

// TestEverydayLifeIsQuiet starts members, kills the leader, and starts it again: what is
// logged is that it was away, and nothing of etcd's own work.
func TestEverydayLifeIsQuiet(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	log := &lines{}
	f.config.Logger = slog.New(slog.NewTextHandler(log, nil))
	f.start("a", "b", "c")
	leader := f.leader(t)
	s := f.open(t, f.others(leader)[0], etcd.Options{})
	put(t, s, "k", "v")
	f.kill(leader)
	for range 20 { // what was sent to the leader is lost with it
		if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}}); err == nil {
			break
		}
	}
	f.start(leader)
	put(t, f.open(t, leader, etcd.Options{}), "k", "x")
	others, n := log.shown("peer became inactive")
	if n == 0 {
		t.Error("nobody says that a member was away")
	}
	for _, line := range others {
		t.Errorf("logged besides: %s", line)
	}
}
