package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/strongroom/strongroom/internal/store"
)

// ErrKilled is what a Mortal store answers from its end on.
var ErrKilled = errors.New("storetest: the process has been killed")

// Mortal is a store that dies at a chosen commit, before or after its effect, and
// fails every commit from then on: as a process does that is killed there. The
// zero Mortal over a Store lives for ever. Closing it leaves the store below to
// the next process.
type Mortal struct {
	store.Store

	mu     sync.Mutex
	doomed bool
	left   int  // commits before the fatal one
	after  bool // the fatal commit takes effect
	dead   bool
}

// Doom makes the commit after so many fatal, and whether it takes effect.
func (m *Mortal) Doom(commits int, after bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doomed, m.left, m.after, m.dead = true, commits, after, false
}

// Revive lets it live for ever.
func (m *Mortal) Revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doomed, m.dead = false, false
}

// Dead reports whether it has died.
func (m *Mortal) Dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// Commit implements store.Store.
func (m *Mortal) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return 0, ErrKilled
	}
	m.dead = m.doomed && m.left == 0
	m.left--
	if m.dead && !m.after {
		return 0, ErrKilled
	}
	rev, err := m.Store.Commit(ctx, c, w)
	if m.dead {
		return 0, ErrKilled
	}
	return rev, err
}

// Close does nothing.
func (m *Mortal) Close() error { return nil }
