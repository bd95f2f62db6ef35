package server_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// lossy is an engine that is lost sight of at a commit.
type lossy struct {
	store.Engine
	left  atomic.Int64          // commits of requests until then; negative: never
	fails atomic.Pointer[error] // with what
	made  bool                  // that commit is made all the same
	gone  atomic.Bool           // reads fail from then on
}

// Commit implements store.Store.
func (l *lossy) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if l.gone.Load() {
		return 0, store.ErrUnreachable
	}
	if len(writes) == 0 || strings.HasPrefix(writes[0].Key, "core/nodes/") || l.left.Load() < 0 || l.left.Add(-1) >= 0 {
		return l.Engine.Commit(ctx, checks, writes)
	}
	l.gone.Store(true)
	if l.made {
		if _, err := l.Engine.Commit(ctx, checks, writes); err != nil {
			return 0, err
		}
	}
	return 0, *l.fails.Load()
}

// Get implements store.Reader.
func (l *lossy) Get(ctx context.Context, key string) (store.Entry, error) {
	if l.gone.Load() {
		return store.Entry{}, store.ErrUnreachable
	}
	return l.Engine.Get(ctx, key)
}

// TestUnknownOutcomesAreTold: a write that was under way when the store was lost sight of is answered so that nobody takes it for
// done, nor for not done; one that was not made is answered so.
func TestUnknownOutcomesAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		left int64 // commits that are made before
		want string
	}{
		"an unknown outcome":                   {store.Unknown(errors.New("EOF")), 0, "it is not known whether this was done"},
		"an unknown outcome of a second one":   {store.Unknown(context.DeadlineExceeded), 1, "it is not known whether this was done"},
		"one that stopped waiting":             {context.DeadlineExceeded, 0, "it is not known whether this was done"},
		"one that was not made":                {store.ErrUnreachable, 0, "nothing was done"},
		"one that was not made, after another": {store.ErrUnreachable, 1, "it is not known whether this was done"},
	} {
		l := &lossy{Engine: mem.Open()}
		l.left.Store(-1)
		s := servertest.Start(t, func(cfg *server.Config) {
			cfg.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return l, nil }}
		})
		l.fails.Store(&c.err)
		l.left.Store(c.left)
		path, body := "cubbyhole/a", `{"a":"b"}`
		if c.left > 0 { // makes a mount's row, and more
			path, body = "sys/namespaces/team", `{}`
		}
		a := s.Want(t, 503, "PUT", path, servertest.Root, body)
		if !strings.Contains(a.Text(), c.want) || strings.Contains(a.Text(), "EOF") {
			t.Errorf("%s: answered %s", name, a.Body)
		}
		if told := strings.Contains(a.Text(), "before you repeat it"); told != strings.HasPrefix(c.want, "it is") {
			t.Errorf("%s: says to read first: %v", name, told)
		}
		if a := s.Want(t, 503, "GET", "cubbyhole/a", servertest.Root, ""); !strings.Contains(a.Text(), "nothing was done") {
			t.Errorf("%s: a read afterwards is answered %s", name, a.Body)
		}
	}
}

// TestRefusedAfterAnother: a request whose first commit was made and whose second one the store has refused has not written
// nothing, and its answer does not say so.
func TestRefusedAfterAnother(t *testing.T) {
	for _, refusal := range []error{store.ErrFull, store.ErrTooLarge} {
		for left, want := range []string{"nothing was written", "a part of this may have been written before"} {
			l := &lossy{Engine: mem.Open()}
			l.left.Store(-1)
			s := servertest.Start(t, func(cfg *server.Config) {
				cfg.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return l, nil }}
			})
			l.fails.Store(&refusal)
			l.left.Store(int64(left))
			if a := s.Do(t, "PUT", "sys/namespaces/team", servertest.Root, `{}`); a.Status < 400 || !strings.Contains(a.Text(), want) {
				t.Errorf("%v after %d commits is answered %s", refusal, left, a.Body)
			}
		}
	}
}
