package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/postgres"
)

// site is a fleet whose store lies on one disk, which loses its power.
type site struct {
	f     *fleet
	d     *disk
	token string
}

// newSite starts a fleet whose store is on a disk of its own. Lying makes the store's syncs do nothing.
func newSite(t *testing.T, engine string, lying bool) *site {
	t.Helper()
	return newSiteOf(t, engine, lying, func(int, *spec) {})
}

// newSiteOf is newSite with nodes that change makes what they are.
func newSiteOf(t *testing.T, engine string, lying bool, change func(i int, s *spec)) *site {
	t.Helper()
	s := &site{d: newDisk(t)}
	for _, dir := range []string{s.d.dir, filepath.Dir(s.d.dir), filepath.Dir(filepath.Dir(s.d.dir))} {
		must(t, os.Chmod(dir, 0o755)) // PostgreSQL runs as somebody else
	}
	switch engine {
	case "postgres":
		var env []string
		if lying {
			dir := t.TempDir()
			must(t, os.Chmod(filepath.Dir(dir), 0o755))
			var err error
			env, err = postgres.Unsynced(dir)
			must(t, err)
		}
		pg, err := postgres.StartIn(s.d.dir, env)
		must(t, err)
		s.f = (&fleet{engine: engine, pg: pg}).begin(t, change)
	case "external":
		s.f = (&fleet{engine: engine, cluster: spec{Dir: filepath.Join(s.d.dir, "etcd"), NoSync: lying}}).begin(t, change)
	default:
		s.f = newFleet(t, engine, func(i int, sp *spec) {
			sp.Dir = filepath.Join(s.d.dir, sp.Name)
			change(i, sp)
		})
	}
	s.token = s.f.root
	must(t, s.d.sync()) // what was set up is not what is tested
	return s
}

// sync writes everything on the disk down.
func (d *disk) sync() error {
	fd, err := unix.Open(d.dir, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(fd), unix.Close(fd))
}

// outage takes the power of the store's disk away; all processes end. Then everything is started again.
func (s *site) outage() error {
	err := s.d.cut()
	for _, n := range s.f.nodes {
		err = errors.Join(err, n.kill())
	}
	off, on := func() error { return nil }, func() error { return nil }
	switch {
	case s.f.pg != nil:
		off, on = s.f.pg.Kill, s.f.pg.Restart
	case s.f.etcd != nil:
		off, on = s.f.etcd.Kill, s.f.startEtcd
	}
	if err = errors.Join(err, off(), s.d.unmount(), s.d.mount(), on()); err != nil {
		return err
	}
	started := make(chan error, fleetSize)
	for _, n := range s.f.nodes {
		go func() { started <- s.f.restart(n) }()
	}
	for range s.f.nodes {
		err = errors.Join(err, <-started)
	}
	return err
}

// outages cuts the power under load again and again, and returns what was lost.
func outages(t *testing.T, engine string, lying bool) (lost []string, acked int) {
	t.Helper()
	s, next, l := newSite(t, engine, lying), moments(t), newLedger()
	for k := range *cuts + 1 {
		c := s.f.client(k%fleetSize, s.token)
		if err := awaitFor(10*time.Second, "the node works again", func() bool { return c.call("PUT", "cubbyhole/whole", `{"n":1}`, nil) == nil }); err != nil {
			return append(lost, err.Error()), l.total
		}
		if k == *cuts {
			l.ending()
		}
		if lost = c.losses(t, l); len(lost) > 0 || k == *cuts {
			break
		}
		l.power(true)
		finished, before := make(chan error, 1), l.sum()
		go func() { finished <- c.load(l) }()
		<-time.After(next() + 300*time.Millisecond)
		l.grows(before, finished)
		l.power(false)
		if err := s.outage(); err != nil {
			return []string{fmt.Sprintf("after power cut %d it does not start again: %v", k+1, err)}, l.total
		}
		<-finished
	}
	return lost, l.total
}

// TestOutage cuts the power of the disk that a fleet's store is on.
func TestOutage(t *testing.T) {
	for _, engine := range []string{"postgres", "etcd"} {
		t.Run(engine, func(t *testing.T) {
			if !possible(t) {
				return
			}
			lost, acked := outages(t, engine, false)
			report(t, lost)
			t.Logf("%d power cuts, %d acknowledged writes", *cuts, acked)
			if acked < *cuts*writers {
				t.Errorf("only %d writes were acknowledged: this shows nothing", acked)
			}
		})
	}
}

// TestOutageControl must lose writes: the same, with syncs that do nothing.
func TestOutageControl(t *testing.T) {
	for _, engine := range []string{"postgres", "external"} {
		t.Run(engine, func(t *testing.T) {
			if !possible(t) {
				return
			}
			lost, acked := outages(t, engine, true)
			if len(lost) == 0 {
				t.Fatalf("a store that never syncs lost none of %d acknowledged writes in %d power cuts: the test sees nothing", acked, *cuts)
			}
			t.Logf("the control lost as it must: %s", brief(lost))
		})
	}
}
