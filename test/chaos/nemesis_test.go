package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

// nemesis is one kind of trouble. It makes it, lasts, and puts everything right again.
type nemesis struct {
	name string
	make func(f *fleet, r *rand.Rand, lasts time.Duration) error
}

// nemeses are what can befall a fleet on an engine.
func nemeses(engine string) []nemesis {
	all := []nemesis{{"kill", killOne}, {"pause", pauseOne}, {"partition", cutOne}, {"resets", resets}, {"delay", delay}, {"kill all", killAll}}
	switch engine {
	case "postgres":
		all = append(all, nemesis{"kill PostgreSQL", killPostgres}, nemesis{"restart PostgreSQL", restartPostgres}, nemesis{"pause PostgreSQL", pausePostgres}, nemesis{"fail-over", failOver})
	case "external":
		all = append(all, nemesis{"kill etcd", killEtcd})
	case "etcd":
		all = append(all, nemesis{"kill the leader", killEach})
	}
	return all
}

func (f *fleet) any(r *rand.Rand) *node { return f.nodes[r.IntN(len(f.nodes))] }

func killOne(f *fleet, r *rand.Rand, lasts time.Duration) error {
	n := f.any(r)
	err := n.kill()
	<-time.After(lasts)
	return errors.Join(err, f.restart(n))
}

// killEach kills one node after another: whichever leads an etcd within is among them.
func killEach(f *fleet, _ *rand.Rand, lasts time.Duration) error {
	var errs []error
	for _, n := range f.nodes {
		errs = append(errs, n.kill())
		<-time.After(lasts / fleetSize)
		errs = append(errs, f.restart(n))
	}
	return errors.Join(errs...)
}

// killAll kills all nodes and starts them at the same time.
func killAll(f *fleet, _ *rand.Rand, _ time.Duration) error {
	return errors.Join(f.killNodes(), f.restartNodes())
}

func (f *fleet) killNodes() error {
	var err error
	for _, n := range f.nodes {
		err = errors.Join(err, n.kill())
	}
	return err
}

func (f *fleet) restartNodes() error {
	errs := make([]error, fleetSize)
	var wg sync.WaitGroup
	for i, n := range f.nodes {
		wg.Go(func() { errs[i] = f.restart(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func pauseOne(f *fleet, r *rand.Rand, lasts time.Duration) error {
	n := f.any(r)
	err := n.pause()
	<-time.After(lasts)
	return errors.Join(err, n.resume())
}

// cutOne cuts a node off from its store; a member within from what the others send it. What was under way is lost or comes
// late, as it happens.
func cutOne(f *fleet, r *rand.Rand, lasts time.Duration) error {
	n := f.any(r)
	n.proxy.Hold()
	<-time.After(lasts)
	if r.IntN(2) == 0 {
		n.proxy.Reset()
	}
	n.proxy.Release()
	return nil
}

// resets ends the connections of all nodes, again and again.
func resets(f *fleet, r *rand.Rand, lasts time.Duration) error {
	end := time.After(lasts)
	for {
		f.any(r).proxy.Reset()
		select {
		case <-end:
			return nil
		case <-time.After(time.Duration(r.IntN(100)) * time.Millisecond):
		}
	}
}

func delay(f *fleet, r *rand.Rand, lasts time.Duration) error {
	for _, n := range f.nodes {
		n.proxy.Slow(time.Duration(r.IntN(40)) * time.Millisecond)
	}
	<-time.After(lasts)
	for _, n := range f.nodes {
		n.proxy.Slow(0)
	}
	return nil
}

func killPostgres(f *fleet, _ *rand.Rand, lasts time.Duration) error {
	err := f.pg.Kill()
	<-time.After(lasts / 2)
	return errors.Join(err, f.pg.Restart())
}

func restartPostgres(f *fleet, _ *rand.Rand, _ time.Duration) error {
	return errors.Join(f.pg.Stop(), f.pg.Restart())
}

func pausePostgres(f *fleet, _ *rand.Rand, lasts time.Duration) error {
	err := f.pg.Pause()
	<-time.After(lasts)
	return errors.Join(err, f.pg.Resume())
}

// failOver makes a synchronous standby, kills the primary, and promotes the standby in its place.
func failOver(f *fleet, _ *rand.Rand, lasts time.Duration) error {
	old := f.pg
	standby, err := old.Standby("b")
	if err != nil {
		return err
	}
	if err := errors.Join(old.Set("synchronous_standby_names=b"), old.Reload()); err != nil {
		return err
	}
	if err := await("the standby is synchronous", func() bool {
		out, err := old.SQL("select sync_state from pg_stat_replication")
		return err == nil && out == "sync"
	}); err != nil {
		return err
	}
	<-time.After(lasts / 2)
	err = errors.Join(old.Kill(), standby.Promote(), standby.Set("synchronous_standby_names="), standby.Reload())
	for _, n := range f.nodes {
		n.proxy.Turn(standby.Addr)
	}
	f.pg = standby
	f.former = append(f.former, old)
	return err
}

func killEtcd(f *fleet, _ *rand.Rand, lasts time.Duration) error {
	err := f.etcd.Kill()
	<-time.After(lasts / 2)
	return errors.Join(err, f.startEtcd())
}

// startEtcd begins a life of the etcd by itself.
func (f *fleet) startEtcd() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if f.etcd, err = process.Launch(f.cluster.Listen, f.cluster.reborn(), exe); err != nil {
		return err
	}
	return awaitPort(f.cluster.Listen)
}

// await waits until something holds.
func await(what string, holds func() bool) error { return awaitFor(30*time.Second, what, holds) }

func awaitFor(d time.Duration, what string, holds func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		if holds() {
			return nil
		}
	}
	return fmt.Errorf("it never comes about that %s", what)
}

// troubles makes one trouble of each kind after the other, in an order that is drawn, rounds times over.
func (f *fleet) troubles(t *testing.T, s uint64, rounds int, short, long time.Duration) func() {
	r := rand.New(rand.NewPCG(s, 1))
	return func() {
		all := nemeses(f.engine)
		for range rounds {
			for _, i := range r.Perm(len(all)) {
				lasts := short + time.Duration(r.Int64N(int64(long-short)))
				start := time.Now()
				if err := all[i].make(f, r, lasts); err != nil {
					t.Errorf("%s: %v", all[i].name, err)
					return
				}
				t.Logf("%s: %v", all[i].name, time.Since(start).Round(time.Millisecond))
				f.whole(t)
			}
		}
	}
}

// heals is how long a fleet may take after a trouble until every node reads and writes again.
const heals = 5 * time.Second

// whole waits until all nodes read and write again.
func (f *fleet) whole(t testing.TB) {
	t.Helper()
	start := time.Now()
	for i, n := range f.nodes {
		c := f.client(i, f.root)
		if err := await("node "+n.spec.Name+" works again", func() bool {
			return c.call("PUT", "cubbyhole/whole", `{"n":1}`, nil) == nil && c.call("GET", "cubbyhole/whole", "", nil) == nil
		}); err != nil {
			t.Error(err)
		}
		c.http.CloseIdleConnections()
	}
	if took := time.Since(start); took > heals {
		t.Errorf("the fleet works again after %v, want %v at most", took, heals)
	}
}
