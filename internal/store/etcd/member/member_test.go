package member

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
	"github.com/strongroom/strongroom/internal/store/storetest"
	"github.com/strongroom/strongroom/test/process"
)

// quick is a heartbeat for tests, in milliseconds, that a busy machine still keeps.
const quick = 20

// fleet is a few members in this process, by name.
type fleet struct {
	testing.TB
	dir     string
	config  Config
	mu      sync.Mutex
	members map[string]*Member
}

func newFleet(t testing.TB, names ...string) *fleet {
	f := &fleet{TB: t, dir: t.TempDir(), members: map[string]*Member{}}
	f.config.tickMs = quick
	for _, n := range names {
		f.config.Members = append(f.config.Members, Peer{n, "http://" + freeAddr(t)})
	}
	t.Cleanup(func() { f.closeAll() })
	return f
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// of is the configuration of one member.
func (f *fleet) of(name string) Config {
	c := f.config
	c.Name, c.Dir = name, filepath.Join(f.dir, name)
	return c
}

func (f *fleet) tryStart(ctx context.Context, name string) error {
	m, err := Start(ctx, f.of(name))
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[name] = m
	return nil
}

// start starts members at once.
func (f *fleet) start(names ...string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range names {
		wg.Go(func() {
			if err := f.tryStart(ctx, n); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	if f.Failed() {
		f.FailNow()
	}
}

// kill ends a member as if its process had been killed: it tells nobody.
func (f *fleet) kill(name string) {
	f.Helper()
	f.members[name].etcd.Server.HardStop()
	f.close(name)
}

func (f *fleet) close(name string) {
	f.Helper()
	if err := f.members[name].Close(); err != nil {
		f.Error(err)
	}
	delete(f.members, name)
}

func (f *fleet) closeAll() {
	var wg sync.WaitGroup
	for _, m := range f.members {
		wg.Go(func() {
			if err := m.Close(); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	f.members = map[string]*Member{}
}

// open opens a store on a member, and closes it before the member.
func (f *fleet) open(t testing.TB, name string, o etcd.Options) *etcd.Store {
	t.Helper()
	s, err := f.members[name].Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

const fewCommits = 16

// contract runs the contract's tests, with stores on the members in turn.
func (f *fleet) contract(t *testing.T, names ...string) {
	turn := 0
	storetest.RunEngine(t, storetest.Config{
		Open: func(t testing.TB, dir string) store.Store {
			turn++
			sum := sha256.Sum256([]byte(dir))
			return f.open(t, names[turn%len(names)], etcd.Options{Prefix: hex.EncodeToString(sum[:8]) + "/", KeepCommits: fewCommits})
		},
		Compact: forget,
	})
}

// forget makes the store and etcd forget what Watch could report.
func forget(t testing.TB, s store.Store) {
	t.Helper()
	var rev store.Rev
	for i := range 2*fewCommits + 2 {
		rev = put(t, s, "forget", fmt.Sprint(i))
	}
	f, err := s.Watch(t.Context(), rev-1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.(*etcd.Store).Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s store.Store, key, value string) store.Rev {
	t.Helper()
	rev, err := s.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestContractOneMember(t *testing.T) {
	f := newFleet(t, "a")
	f.start("a")
	f.contract(t, "a")
}

func TestContractThreeMembers(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	f.contract(t, "a", "b", "c")
}
