package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// collector is a peer that keeps the ids of the entries it reads, in order.
type collector struct {
	t    *testing.T
	addr string
	l    net.Listener

	mu    sync.Mutex
	conns []net.Conn
	ids   []string
	seen  map[string]bool
	stall chan struct{} // not nil: nothing is read until it is closed
	room  int           // of a connection's unread bytes; 0: the system's choice
	work  sync.WaitGroup
}

func newCollector(t *testing.T) *collector {
	c := &collector{t: t, addr: "127.0.0.1:0", seen: map[string]bool{}}
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *collector) start() {
	l, err := net.Listen("tcp", c.addr)
	must(c.t, err)
	c.l, c.addr = l, l.Addr().String()
	c.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			if c.room > 0 {
				if err := conn.(*net.TCPConn).SetReadBuffer(c.room); err != nil {
					c.t.Error(err)
				}
			}
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			c.work.Go(func() { c.read(conn) })
		}
	})
}

// read takes whole entries: of one that was cut short, nothing is kept. It hangs
// up when the server has.
func (c *collector) read(conn net.Conn) {
	defer func() {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			c.t.Error(err)
		}
	}()
	for r := bufio.NewReader(conn); ; {
		c.mu.Lock()
		stall := c.stall
		c.mu.Unlock()
		if stall != nil {
			<-stall
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var e struct{ Request struct{ ID string } }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "@cee: ")), &e); err != nil {
			c.t.Errorf("%v: %.100q", err, line)
		}
		c.mu.Lock()
		c.ids = append(c.ids, e.Request.ID)
		c.seen[e.Request.ID] = true
		c.mu.Unlock()
	}
}

// stop ends the peer as a kill does: what it has not read is lost.
func (c *collector) stop() {
	c.cut()
	c.work.Wait()
}

// cut is stop without the wait.
func (c *collector) cut() {
	err := c.l.Close()
	c.mu.Lock()
	for _, conn := range c.conns {
		if e := conn.(*net.TCPConn).SetLinger(0); e == nil {
			err = errors.Join(err, conn.Close())
		}
	}
	c.conns = nil
	c.mu.Unlock()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Error(err)
	}
}

// missing are those of n ids that have not arrived.
func (c *collector) missing(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for i := range n {
		if !c.seen[strconv.Itoa(i)] {
			out = append(out, strconv.Itoa(i))
		}
	}
	return out
}

// arrived waits until all of n ids have arrived.
func (c *collector) arrived(n int) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for {
		missing := c.missing(n)
		if len(missing) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			c.t.Fatalf("%d of %d entries have not arrived, such as %s", len(missing), n, missing[0])
		}
	}
}

func spoolOptions(dir, addr string) map[string]string {
	return map[string]string{"address": addr, "deadline": "200ms", "spool_path": filepath.Join(dir, "line.spool"), "spool_size": "8MiB"}
}

func openSocket(t *testing.T, options map[string]string) *Sink {
	t.Helper()
	s, err := Open(&Declaration{Path: "line/", Type: "socket", Options: options, Key: testKey(), Configured: true}, Env{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	return s
}

// logged logs the ids from first to last, many at a time, and fails the test
// when one is refused.
func logged(t *testing.T, b *Broker, first, last int) (refused int) {
	return loggedWith(t, b, first, last, "")
}

// loggedWith is logged of entries whose paths end so.
func loggedWith(t *testing.T, b *Broker, first, last int, end string) (refused int) {
	var mu sync.Mutex
	var work sync.WaitGroup
	ids := make(chan int)
	for range 8 {
		work.Go(func() {
			for id := range ids {
				e := b.Entry()
				fill(e)
				e.Request.ID = strconv.Itoa(id)
				e.Request.Path += end
				start := time.Now()
				if err := b.LogRequest(context.Background(), moment, e, nil); err != nil {
					mu.Lock()
					refused++
					mu.Unlock()
				}
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("waited %v", d)
				}
				e.Release()
			}
		})
	}
	for i := first; i < last; i++ {
		ids <- i
	}
	close(ids)
	work.Wait()
	return refused
}

// The peer stops reading, is killed with what it had not read, is away, and
// comes back, all under load: no request is refused, and every entry arrives.
// The control is the same without a spool.
func TestSpoolOutlivesItsPeer(t *testing.T) {
	for _, spooled := range []bool{true, false} {
		t.Run(fmt.Sprint("spooled=", spooled), func(t *testing.T) {
			c := newCollector(t)
			options := spoolOptions(t.TempDir(), c.addr)
			if !spooled {
				delete(options, "spool_path")
				delete(options, "spool_size")
			}
			s := openSocket(t, options)
			b := NewBroker()
			b.Replace([]*Sink{s}, nil)
			refused := logged(t, b, 0, 200)
			stall := make(chan struct{})
			c.mu.Lock()
			c.stall = stall
			c.mu.Unlock()
			refused += logged(t, b, 200, 400)
			c.mu.Lock()
			c.stall = nil
			c.mu.Unlock()
			close(stall)
			c.stop()
			refused += logged(t, b, 400, 600)
			c.start()
			refused += logged(t, b, 600, 800)
			if spooled {
				c.arrived(800)
			}
			must(t, s.line.close())
			if missing := len(c.missing(800)); spooled != (refused == 0) || spooled != (missing == 0) {
				t.Errorf("%d refused, %d missing", refused, missing)
			}
		})
	}
}

// A peer that stops reading, and is killed after much was written to it: what the
// buffers between held is no more than what is kept.
func TestSpoolKeepsWhatBuffersHold(t *testing.T) {
	c := newCollector(t)
	options := spoolOptions(t.TempDir(), c.addr)
	options["deadline"] = "10s" // of a busy disk
	s := openSocket(t, options)
	b := NewBroker()
	b.Replace([]*Sink{s}, nil)
	stall := make(chan struct{})
	c.mu.Lock()
	c.stall, c.room = stall, 64<<10
	c.mu.Unlock()
	if refused := loggedWith(t, b, 0, 500, strings.Repeat("x", 8000)); refused > 0 {
		t.Errorf("%d refused", refused)
	}
	c.cut()
	close(stall)
	c.work.Wait()
	c.mu.Lock()
	c.stall = nil
	c.mu.Unlock()
	c.start()
	c.arrived(500)
	must(t, s.line.close())
}

// What a peer never took is there after a restart, in order.
func TestSpoolOutlivesTheServer(t *testing.T) {
	c := newCollector(t)
	c.stop()
	dir := t.TempDir()
	for i := range 3 {
		s := openSocket(t, spoolOptions(dir, c.addr))
		s.line.out.(*spooled).draining = time.Millisecond
		b := NewBroker()
		b.Replace([]*Sink{s}, nil)
		for id := i * 10; id < i*10+10; id++ {
			e := b.Entry()
			fill(e)
			e.Request.ID = strconv.Itoa(id)
			must(t, b.LogRequest(t.Context(), moment, e, nil))
		}
		must(t, s.line.close())
	}
	c.start()
	s := openSocket(t, spoolOptions(dir, c.addr))
	must(t, s.line.out.ready())
	c.arrived(30)
	must(t, s.line.close())
	for i, id := range c.ids {
		if id != strconv.Itoa(i) {
			t.Fatalf("out of order: %v", c.ids)
		}
	}
	// The peer has read everything and hung up when it was told to: nothing comes twice.
	s = openSocket(t, spoolOptions(dir, c.addr))
	must(t, s.line.out.ready())
	must(t, s.line.close())
	if n := len(c.ids); n != 30 {
		t.Errorf("%d entries for 30", n)
	}
}

// A spool that is full refuses in time, and takes entries again once the peer
// has taken some.
func TestFullSpoolRefusesAndHeals(t *testing.T) {
	c := newCollector(t)
	c.stop()
	options := spoolOptions(t.TempDir(), c.addr)
	options["spool_size"], options["deadline"] = "1MiB", "10s" // of a busy disk; a full spool refuses at once
	s := openSocket(t, options)
	b := NewBroker()
	b.Replace([]*Sink{s}, nil)
	e := b.Entry()
	fill(e)
	e.Auth.Metadata = map[string]string{"a": strings.Repeat("x", 8000)}
	n := 0
	var err error
	for ; err == nil && n < 1000; n++ {
		e.Request.ID = strconv.Itoa(n)
		e.set = nil
		err = b.LogRequest(t.Context(), moment, e, nil)
	}
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), errSpoolFull.Error()) {
		t.Fatal(n, err)
	}
	c.start()
	c.arrived(n - 1)
	must(t, b.LogRequest(t.Context(), moment, e, nil))
	c.arrived(n)
	must(t, s.line.close())
}

// A spool that cannot be used fails its device and says why.
func TestSpoolIsOneDevices(t *testing.T) {
	c := newCollector(t)
	dir := t.TempDir()
	s := openSocket(t, spoolOptions(dir, c.addr))
	must(t, s.line.out.ready())
	other := openSocket(t, spoolOptions(dir, c.addr))
	b := NewBroker()
	b.Replace([]*Sink{other}, nil)
	err := b.LogRequest(t.Context(), moment, b.Entry(), nil)
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), errSpoolTaken.Error()) {
		t.Error(err)
	}
	must(t, errors.Join(other.line.close(), s.line.close()))
}

func TestBatchesAreCutForTheSpool(t *testing.T) {
	for text, want := range map[string]int{"a\n": 2, "aaaa\n": 5, "a\nb\nc\n": 4, "aaaaaaaaa\nb\n": 10} {
		if got := wholeLines([]byte(text), 5); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// What was delivered last comes again after a connection was cut, more of it
// than after the peer hung up.
func TestShipperGoesBack(t *testing.T) {
	for _, c := range []struct {
		orderly bool
		want    uint64
	}{{true, 136_000}, {false, 50_000}} {
		s := &shipper{at: 200_000, window: 150_000}
		for at := uint64(0); at < s.at; at += 2000 {
			s.sent = append(s.sent, at)
		}
		s.trim(s.window)
		s.back(c.orderly)
		if s.at != c.want || s.safe() != c.want {
			t.Errorf("orderly %v: %d, want %d", c.orderly, s.at, c.want)
		}
	}
}
