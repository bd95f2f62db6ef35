package chaos

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var fills = flag.Int("fills", 1, "how often the disk of a fleet's store is filled")

// filler is the file that takes the room.
func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill takes all the room that is left on the disk.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.filler(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	size := int64(0)
	for step := int64(64 << 20); step >= 4<<10; {
		switch err = unix.Fallocate(int(f.Fd()), 0, size, step); {
		case err == nil:
			size += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		default:
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// empty gives the room back.
func (d *disk) empty() error { return os.Remove(d.filler()) }

// ballast are large values, by the names of their secrets, that were acknowledged while a disk filled up.
type ballast struct {
	size  int // bytes of a value: each needs room of its own
	mu    sync.Mutex
	acked map[string]int
	made  int
	said  map[string]int // what requests were answered while the disk was full
	odd   []string       // and what they must not be answered
}

// newBallast are values of so many bytes.
func newBallast(size int) *ballast {
	return &ballast{size: size, acked: map[string]int{}, said: map[string]int{}}
}

// ballastBytes is how large a value is that is to fill a disk.
const ballastBytes = 40 << 10

// add writes one value through a node and reports whether it was refused.
func (b *ballast) add(c *client) (refused bool) {
	b.mu.Lock()
	b.made++
	n, name := b.made, fmt.Sprintf("ballast-%d", b.made)
	b.mu.Unlock()
	status, text, err := c.send("POST", "plain/"+name, fmt.Sprintf(`{"n":%d,"v":%q}`, n, strings.Repeat("v", b.size)))
	if err != nil || status != http.StatusNoContent {
		b.say("a write", status, text, err)
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked[name] = n
	return false
}

// say notes an answer. That there is none is right of a node that has ended; else an error says what is the matter.
func (b *ballast) say(what string, status int, text []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := fmt.Sprintf("%s: %d %s", what, status, text)
	switch {
	case err != nil:
		answer = what + ": no answer"
	case status == http.StatusOK:
		answer = what + ": 200"
	case status == http.StatusInternalServerError || status < 500 && status >= 300:
		b.odd = append(b.odd, answer)
	}
	b.said[answer]++
}

// read reports whether a read was answered.
func (b *ballast) read() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said["a read: 200"] > 0
}

// lost are the values that were acknowledged and are not there.
func (b *ballast) lost(c *client) (out []string) {
	for name, n := range b.acked {
		var got struct {
			Data struct {
				N int
				V string
			}
		}
		if err := c.call("GET", "plain/"+name, "", &got); err != nil || got.Data.N != n || len(got.Data.V) != b.size {
			out = append(out, fmt.Sprintf("%s: %d with %d bytes, %v", name, got.Data.N, len(got.Data.V), err))
		}
	}
	return out
}

// patience is how long a client waits for a node whose store is away, eager how many values it may write before a
// full disk refuses one, and looks how often it reads at most until one read is answered.
const (
	patience = 3 * time.Second
	eager    = 100
	looks    = 100
)

// fullDisk fills the disk under a load, looks at what the nodes answer meanwhile, and makes room again.
func (s *site) fullDisk(t testing.TB, b *ballast, lasts time.Duration) {
	t.Helper()
	must(t, s.d.fill())
	s.each(func(c *client) {
		for range eager {
			if b.add(c) {
				b.health(c, s.f.engine == "postgres")
				return
			}
		}
		t.Errorf("a full disk takes %d large values", eager)
	})
	end := time.Now().Add(lasts)
	s.each(func(c *client) {
		for n := 0; time.Now().Before(end) || s.f.pg != nil && !b.read() && n < looks; n++ { // on a slow machine longer
			b.add(c)
			status, text, err := c.send("GET", "plain/kept", "")
			b.say("a read", status, text, err)
			b.health(c, false)
			<-time.After(100 * time.Millisecond)
		}
	})
	if s.f.pg != nil {
		if !b.read() {
			t.Error("a full disk keeps PostgreSQL's rows from being read")
		}
		must(t, s.logIsFull())
		s.each(func(c *client) { b.health(c, false) })
	}
	must(t, s.d.empty())
	must(t, s.revive())
}

// each does something with a client of each node, at the same time.
func (s *site) each(do func(c *client)) {
	var wg sync.WaitGroup
	for i := range s.f.nodes {
		wg.Go(func() {
			c := s.f.client(i, s.token)
			c.http.Timeout = patience
			defer c.http.CloseIdleConnections()
			do(c)
		})
	}
	wg.Wait()
}

// health asks a node how it is, which it says within heals. Where told is set, it is to say that there is no room.
func (b *ballast) health(c *client, told bool) {
	own := newClient(c.url, "")
	own.http.Timeout = 2 * heals
	defer own.http.CloseIdleConnections()
	began := time.Now()
	status, text, err := own.send("GET", "sys/health", "")
	b.mu.Lock()
	defer b.mu.Unlock()
	if took := time.Since(began); took > heals {
		b.odd = append(b.odd, fmt.Sprintf("sys/health takes %v", took))
	}
	if told && !strings.Contains(string(text), "no room") {
		b.odd = append(b.odd, fmt.Sprintf("sys/health does not tell that there is no room: %d %s %v", status, text, err))
	}
	b.said[fmt.Sprintf("sys/health: %d", status)]++
}

// logIsFull has PostgreSQL write its log until it finds no room for it, at which it ends.
func (s *site) logIsFull() error {
	for range 200 {
		if _, err := s.f.pg.SQL("select pg_logical_emit_message(false, 'fill', repeat('x', 4000000))"); err != nil {
			return nil
		}
	}
	return errors.New("PostgreSQL finds room for its log on a full disk")
}

// revive starts what has ended for want of room, also what ends only now: PostgreSQL and etcd are ending, and nodes that answer nothing may be.
func (s *site) revive() error {
	var err error
	if s.f.pg != nil && s.f.pg.Ended(30*time.Second) {
		err = s.f.pg.Restart()
	}
	if s.f.etcd != nil && awaitFor(10*time.Second, "etcd ends", s.f.etcd.Ended) == nil {
		err = errors.Join(err, s.f.startEtcd())
	}
	revived := make(chan error, fleetSize)
	for i, n := range s.f.nodes {
		go func() {
			c := s.f.client(i, "")
			defer c.http.CloseIdleConnections()
			err := await("a node works, or has ended", func() bool {
				if n.life().Ended() {
					return true
				}
				status, _, err := c.send("GET", "sys/health", "")
				return err == nil && status == http.StatusOK
			})
			if n.life().Ended() {
				err = s.f.restart(n)
			}
			revived <- err
		}()
	}
	for range s.f.nodes {
		err = errors.Join(err, <-revived)
	}
	return err
}

// fullDisks fills the disk under a history, again and again.
func (s *site) fullDisks(t testing.TB, seed uint64, n int) {
	t.Helper()
	b := newBallast(ballastBytes)
	c := s.f.client(0, s.token)
	must(t, c.call("POST", "plain/kept", `{"n":1}`, nil))
	must(t, c.call("POST", "chaos/data/kept", `{"data":{"n":1}}`, nil))
	if s.f.engine == "etcd" { // whose nodes end on a full disk: it is told while there is little room
		must(t, warns(c, "the disk of this node's etcd"))
	}
	r := rand.New(rand.NewPCG(seed, 5))
	h := perform(s.f, seed, 100, func() {
		<-time.After(time.Second / 2)
		for range n {
			s.fullDisk(t, b, time.Second/2+time.Duration(r.Int64N(int64(*longest))))
			s.f.whole(t)
		}
	})
	h.judge(t)
	for answer, n := range b.said {
		t.Logf("%d times %.300s", n, answer)
	}
	for _, odd := range b.odd[:min(3, len(b.odd))] {
		t.Error(odd)
	}
	t.Logf("%d of %d large values were acknowledged", len(b.acked), b.made)
	if lost := b.lost(s.f.client(1, s.token)); len(lost) > 0 {
		t.Errorf("lost on a full disk: %s", brief(lost))
	}
	s.f.readable(t)
}

// TestFull fills the disk that a fleet's store is on. Who is refused is told why; what is acknowledged is kept; and once
// there is room the fleet works again.
func TestFull(t *testing.T) {
	for engine := range strings.SplitSeq(*engines, ",") {
		t.Run(engine, func(t *testing.T) {
			if possible(t) {
				newSite(t, engine, false).fullDisks(t, drawn(t), *fills)
			}
		})
	}
}

// TestFullControl is the control: nodes that take a write for done which the store had no room for.
func TestFullControl(t *testing.T) {
	if !possible(t) {
		return
	}
	s, drew := newSiteOf(t, "postgres", false, everyNode(boastful)), drawn(t)
	caught(t, func(t testing.TB) { s.fullDisks(t, drew, 1) }, "lost on a full disk")
}
