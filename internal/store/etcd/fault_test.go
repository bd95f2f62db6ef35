package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/internal/store"
)

// TestTwoNodes has two stores on one prefix see each other's commits at once.
func TestTwoNodes(t *testing.T) {
	endpoint, _ := server(t, nil)
	a, b := openAt(t, endpoint, Options{}), openAt(t, endpoint, Options{})
	feed := feedAt(t, b, 0)
	for i := range 50 {
		value := fmt.Sprint(i)
		rev := put(t, a, "k", value)
		if got, err := b.Sync(t.Context()); err != nil || got < rev {
			t.Fatalf("Sync on the other node = %d, %v after commit %d", got, err, rev)
		}
		if e, err := b.Get(t.Context(), "k"); err != nil || string(e.Value) != value || e.Rev != rev {
			t.Fatalf("the other node reads %q at %d, %v", e.Value, e.Rev, err)
		}
		if c := nextOf(t, feed); c.Rev != rev || c.Keys[0] != "k" {
			t.Fatalf("the other node's feed reports %v, want commit %d", c, rev)
		}
		_, err := b.Commit(t.Context(), []store.Check{{Key: "k", Rev: rev - 1}}, []store.Write{{Key: "k"}})
		wantErr(t, "a stale check", err, store.ErrConflict)
		_, err = b.Commit(t.Context(), []store.Check{{Key: "k", Rev: rev - 1}}, nil)
		wantErr(t, "a stale check without writes", err, store.ErrConflict)
	}
}

// TestUnknownIsToldSo: a transaction whose answer is lost is not told as one that was not made, and here it is made. One that etcd refuses
// for what it asks is.
func TestUnknownIsToldSo(t *testing.T) {
	endpoint, _ := server(t, nil)
	var answer atomic.Pointer[status.Status] // of a transaction, in place of its own; nil: its own
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := invoke(ctx, method, req, reply, cc, opts...)
			if lost := answer.Load(); lost != nil && strings.HasSuffix(method, "/Txn") {
				return lost.Err()
			}
			return err
		})}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), client, client.Close, Options{Prefix: under(t.Name())})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	for code, unknown := range map[codes.Code]bool{
		codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Canceled: true, codes.Unknown: true, codes.Internal: true, codes.ResourceExhausted: true, codes.InvalidArgument: false,
	} {
		answer.Store(status.New(code, "the answer is lost"))
		_, err := s.Commit(t.Context(), nil, []store.Write{{Key: code.String()}})
		if err == nil || errors.Is(err, store.ErrUnknown) != unknown || errors.Is(err, store.ErrUnreachable) {
			t.Errorf("a commit that is answered with %v is told as %v", code, err)
		}
		if e, err := s.Get(t.Context(), code.String()); err != nil || !e.Exists() {
			t.Errorf("the control: %v, %v", e.Rev, err)
		}
	}
}

// TestOthersWrite has something else write to the same cluster: feeds reach what Sync
// returned all the same, and report nothing of it.
func TestOthersWrite(t *testing.T) {
	endpoint, e := server(t, nil)
	s := openAt(t, endpoint, Options{KeepCommits: 4})
	other := v3client.New(e.Server)
	defer other.Close()
	first := put(t, s, "k", "v")
	now, old := feedAt(t, s, first), feedAt(t, s, 0)
	for i := range 30 {
		if _, err := other.Put(t.Context(), "other/key", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		rev, err := s.Sync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reach(t, now, rev)
	}
	put(t, s, "l", "v")
	if c := nextOf(t, old); c.Rev != first {
		t.Errorf("the feed begins with %v, want %d", c, first)
	}
	if c := nextOf(t, old); c.Keys[0] != "l" {
		t.Errorf("the feed goes on with %v", c)
	}
	if c := nextOf(t, feedAt(t, s, first)); c.Keys[0] != "l" {
		t.Errorf("a feed that is behind the history begins with %v", c)
	}
}

// reach reads marks of progress until a revision is reached.
func reach(t testing.TB, f store.Feed, rev store.Rev) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for at := store.Rev(0); at < rev; {
		c, err := f.Next(ctx)
		if err != nil || len(c.Keys) > 0 {
			t.Fatalf("waiting for %d: %v, %v", rev, c, err)
		}
		at = c.Rev
	}
}

// TestForeignPrefix opens a store where something else keeps its keys.
func TestForeignPrefix(t *testing.T) {
	endpoint, e := server(t, nil)
	other := v3client.New(e.Server)
	defer other.Close()
	if _, err := other.Put(t.Context(), "strongroom/a", "v"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Cluster{Endpoints: []string{endpoint}}, Options{})
	wantErr(t, "opening", err, errForeign)
	newer := Options{Prefix: "newer/"}
	if _, err := other.Put(t.Context(), "newer/format", "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Cluster{Endpoints: []string{endpoint}}, newer); err == nil {
		t.Error("a store of a newer format is opened")
	}
}

// TestManyBigCommits reads commits of the largest size from behind the history.
func TestManyBigCommits(t *testing.T) {
	endpoint, _ := server(t, nil)
	s := openAt(t, endpoint, Options{KeepCommits: 1})
	value := bytes.Repeat([]byte("v"), store.MaxCommitBytes/store.MaxWrites-16)
	var revs []store.Rev
	for range 10 {
		var ws []store.Write
		for i := range store.MaxWrites {
			ws = append(ws, store.Write{Key: fmt.Sprintf("%03d", i), Value: value})
		}
		rev, err := s.Commit(t.Context(), nil, ws)
		if err != nil {
			t.Fatal(err)
		}
		revs = append(revs, rev)
	}
	for feed, i := feedAt(t, s, 0), 0; i < len(revs); i++ {
		if c := nextOf(t, feed); c.Rev != revs[i] || len(c.Keys) != store.MaxWrites {
			t.Fatalf("commit %d has %d keys at %d, want %d at %d", i, len(c.Keys), c.Rev, store.MaxWrites, revs[i])
		}
	}
}

// TestGoneBack restores an older etcd under a running node: nothing is answered before
// every feed from before is closed, and each of them ends.
func TestGoneBack(t *testing.T) {
	endpoint, _ := server(t, nil)
	s := openAt(t, endpoint, Options{})
	put(t, s, "k", "v")
	feed := feedAt(t, s, 0)
	s.mu.Lock()
	s.seen += 1000 // as if the node had seen what is now gone
	s.mu.Unlock()
	_, err := s.Sync(t.Context())
	wantErr(t, "Sync", err, errWentBack)
	for range 3 { // what it had is not lost before the end is told
		_, err = feed.Next(t.Context())
	}
	wantErr(t, "Next", err, store.ErrCompacted)
	_, err = s.Commit(t.Context(), nil, []store.Write{{Key: "k"}})
	wantErr(t, "Commit", err, errWentBack)
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	rev := put(t, s, "k", "w")
	if c := nextOf(t, feedAt(t, s, rev-1)); c.Rev != rev {
		t.Errorf("the new history begins with %v, want %d", c, rev)
	}
	s.mu.Lock()
	s.cluster++
	s.mu.Unlock()
	if _, err := s.Sync(t.Context()); err != nil {
		wantErr(t, "Sync in another cluster", err, errWentBack)
	}

}

// TestQuota fills a database: the warning comes first, then ErrFull, which means that
// nothing was written.
func TestQuota(t *testing.T) {
	const quota = 8 << 20
	endpoint, _ := server(t, func(c *embed.Config) { c.QuotaBackendBytes = quota })
	s := openAt(t, endpoint, Options{})
	value := string(bytes.Repeat([]byte("v"), 100<<10))
	written, warned := 0, false
	for {
		warned = warned || warning(t, s) != ""
		_, err := s.Commit(t.Context(), nil, []store.Write{{Key: fmt.Sprint("k", written), Value: []byte(value)}})
		if errors.Is(err, store.ErrFull) {
			break
		}
		if err != nil && !is(err, rpctypes.ErrGRPCNoSpace) {
			t.Fatalf("a commit beyond the quota: %v", err) // the one that crosses it may have been written
		}
		if written++; written > 200 {
			t.Fatal("the quota is never reached")
		}
	}
	if !warned {
		t.Error("no warning came before the end")
	}
	if sp, err := s.Space(t.Context()); err != nil || !sp.Full || sp.Quota != quota {
		t.Errorf("Space = %+v, %v", sp, err)
	}
	if e, err := s.Get(t.Context(), fmt.Sprint("k", written)); err != nil || e.Exists() {
		t.Errorf("what ErrFull refused is there: %v", err)
	}
	_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "small", Value: []byte("v")}})
	wantErr(t, "a commit to a full database", err, store.ErrFull)
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k0", Delete: true}}); err != nil {
		t.Errorf("removing from a full database: %v", err)
	}

}

func warning(t *testing.T, s *Store) string {
	t.Helper()
	sp, err := s.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sp.Warning()
}

// TestFull judges what "no space" means: etcd says it also of what it has written.
func TestFull(t *testing.T) {
	endpoint, _ := server(t, nil)
	s := openAt(t, endpoint, Options{})
	before := put(t, s, "k", "old")
	w := []store.Write{{Key: "k", Value: []byte("new")}}
	wantErr(t, "what was not written", s.full(t.Context(), before, w), store.ErrFull)
	put(t, s, "other", "v")
	wantErr(t, "what was not written while others wrote", s.full(t.Context(), before, w), store.ErrFull)
	put(t, s, "k", "new")
	if err := s.full(t.Context(), before, w); err == nil || errors.Is(err, store.ErrFull) {
		t.Errorf("what was written is called %v", err)
	}
}

// TestPassword has etcd refuse a password, and accept it: it is nowhere to be read.
func TestPassword(t *testing.T) {
	const canary = "canary-8b1f-password"
	endpoint, e := server(t, nil)
	admin := v3client.New(e.Server)
	defer admin.Close()
	for _, step := range []func() error{
		func() error { _, err := admin.UserAdd(t.Context(), "root", canary); return err },
		func() error { _, err := admin.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := admin.AuthEnable(t.Context()); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	log := &lines{}
	o := Options{Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug - 100})), Timeout: 20 * time.Second}
	for user, password := range map[string]string{"root": canary + "-wrong", "nobody": canary} {
		_, err := Open(t.Context(), Cluster{Endpoints: []string{endpoint}, User: user, Password: password}, o)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("logging in as %s: %v", user, err)
		}
	}
	s, err := Open(t.Context(), Cluster{Endpoints: []string{endpoint}, User: "root", Password: canary}, o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "v")
	closeStore(t, s)
	o.Timeout = time.Second
	if _, err := Open(t.Context(), Cluster{Endpoints: []string{"http://127.0.0.1:1"}, User: "root", Password: canary}, o); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("logging in where nobody is: %v", err)
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the password is in the log:\n%s", log)
	}
}

// lines is a buffer that may be written to at once.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		endpoints string
		plain, ok bool
	}{
		{"", false, false}, {"http://127.0.0.1:1", true, true}, {"http://localhost:1 http://[::1]:2", true, true},
		{"https://etcd.example:1", false, true}, {"http://etcd.example:1", false, false}, {"http://10.0.0.1:1", false, false},
		{"https://a:1 http://127.0.0.1:1", false, false}, {"etcd:2379", false, false}, {"https://u:p@a:1", false, false},
	} {
		plain, err := Cluster{Endpoints: strings.Fields(c.endpoints)}.plain()
		if (err == nil) != c.ok || err == nil && plain != c.plain {
			t.Errorf("%q: plain %v, %v", c.endpoints, plain, err)
		}
	}
}

func TestCompactor(t *testing.T) {
	c := &compactor{retain: Retain{Revisions: 100, For: time.Minute}}
	start := time.Unix(0, 0)
	for _, step := range []struct {
		after time.Duration
		rev   store.Rev
		want  store.Rev
	}{{0, 10, 0}, {30 * time.Second, 20, 0}, {60 * time.Second, 30, 10}, {61 * time.Second, 200, 100}, {95 * time.Second, 201, 101}, {5 * time.Minute, 202, 201}} {
		if got := c.target(start.Add(step.after), step.rev); got != step.want {
			t.Errorf("after %v, at %d: compact to %d, want %d", step.after, step.rev, got, step.want)
		}
	}
}

// TestCompactionSparesViews compacts as a node does while it has a view.
func TestCompactionSparesViews(t *testing.T) {
	endpoint, _ := server(t, nil)
	s := openAt(t, endpoint, Options{})
	put(t, s, "k", "old")
	v, err := s.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, s, "k", fmt.Sprint("new", i))
	}
	c := &compactor{retain: Retain{Revisions: 1, For: time.Hour}}
	if done := s.compactOnce(c, time.Unix(0, 0), 0); done != v.Rev() {
		t.Errorf("compacted to %d under a view of %d", done, v.Rev())
	}
	if e, err := v.Get(t.Context(), "k"); err != nil || string(e.Value) != "old" {
		t.Errorf("the view shows %q, %v", e.Value, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	later, err := s.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	put(t, s, "k", "last")
	if err := s.Compact(t.Context(), later.Rev()+1); err != nil {
		t.Fatal(err)
	}
	_, err = later.Get(t.Context(), "k")
	wantErr(t, "a view of what is compacted away", err, store.ErrCompacted)
}

// TestRestart restarts etcd at the same address under a feed and a reader.
func TestRestart(t *testing.T) {
	var config embed.Config
	endpoint, e := startServer(t, func(c *embed.Config) { config = *c })
	s := openAt(t, endpoint, Options{Timeout: 5 * time.Second})
	feed := feedAt(t, s, put(t, s, "k", "before"))
	e.Close()
	_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k", Value: []byte("while it is away")}})
	if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFull) {
		t.Errorf("a commit while etcd is away: %v", err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := s.Get(t.Context(), "k")
		read <- err
	}()
	again, err := embed.StartEtcd(&config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if err := <-read; err != nil {
		t.Errorf("a read that began while etcd was away: %v", err)
	}
	rev := put(t, s, "k", "after")
	for c := nextOf(t, feed); c.Rev != rev; c = nextOf(t, feed) {
		if c.Rev > rev {
			t.Fatalf("the feed reports %v, not %d", c, rev)
		}
	}
}
