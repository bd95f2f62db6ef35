package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/test/process"
)

// nodeRows is what nodes tell of themselves.
const nodeRows = "core/nodes/"

// storedFormat is the format that the store is in, as a node tells it.
func (f *fleet) storedFormat(t testing.TB, node int) int {
	t.Helper()
	var got struct{ Data struct{ Format int } }
	must(t, f.client(node, f.root).call("GET", "sys/nodes", "", &got))
	return got.Data.Format
}

// rotation is the nodes that requests are sent to, as by a load balancer, and what came of those.
type rotation struct {
	f      *fleet
	out    [fleetSize]atomic.Bool  // is sent nothing more
	inside [fleetSize]atomic.Int64 // who is sending it something
	stop   chan struct{}
	work   sync.WaitGroup
	mu     sync.Mutex
	acked  map[string]int
	failed []string
	done   int
	doubts int // writes whose outcome was not known, and was told as such
}

// begin has clients write and read through the nodes that are in rotation.
func (r *rotation) begin() {
	for w := range writers {
		r.work.Go(func() {
			all := r.f.clients()
			defer closeIdle(all)
			for n := 1; ; n++ {
				select {
				case <-r.stop:
					return
				default:
				}
				i := (w + n) % fleetSize
				r.inside[i].Add(1)
				if !r.out[i].Load() {
					r.one(all[i], i, fmt.Sprintf("plain/upgrade-%d", w), n)
				}
				r.inside[i].Add(-1)
			}
		})
	}
}

func (r *rotation) one(c *client, i int, path string, n int) {
	status, text, err := c.send("POST", path, fmt.Sprintf(`{"n":%d}`, n))
	// A member that ends and leads hands over, and what is on its way to it then may be dropped (Raft): who sent it is told that nobody knows.
	if r.f.engine == "etcd" && status == http.StatusServiceUnavailable && strings.Contains(string(text), "it is not known whether this was done") {
		r.mu.Lock()
		r.doubts++
		r.mu.Unlock()
		return
	}
	r.note(i, path, n, status == http.StatusNoContent, fmt.Sprintf("a write: %d %s %v", status, text, err))
	var got struct{ Data struct{ N int } }
	err = c.call("GET", path, "", &got)
	r.note(i, "", 0, err == nil && got.Data.N == n, fmt.Sprintf("a read of %d: %d %v", n, got.Data.N, err))
}

func (r *rotation) note(i int, path string, n int, right bool, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	switch {
	case !right:
		r.failed = append(r.failed, fmt.Sprintf("node %d: %s", i, what))
	case right && path != "":
		r.acked[path] = n
	}
}

// perNode is how many requests come through before a node is replaced, and after the last one: fewer show nothing.
const perNode = 200

// goesOn waits until so many requests more have come through, however slow the machine.
func (r *rotation) goesOn(t testing.TB) {
	t.Helper()
	count := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.done
	}
	enough := count() + perNode
	if err := await("clients go on", func() bool { return count() >= enough }); err != nil {
		t.Error(err)
	}
}

// take takes a node out of rotation, and waits until what was sent to it was answered.
func (r *rotation) take(t testing.TB, i int) {
	t.Helper()
	r.out[i].Store(true)
	must(t, await("what is on its way arrives", func() bool { return r.inside[i].Load() == 0 }))
}

// upgrade replaces the nodes one by one under load. Meanwhile happens before the last one is replaced.
func (f *fleet) upgrade(t testing.TB, program string, meanwhile func()) {
	t.Helper()
	r := &rotation{f: f, stop: make(chan struct{}), acked: map[string]int{}}
	r.begin()
	for i, n := range f.nodes {
		r.goesOn(t)
		if i == fleetSize-1 {
			meanwhile()
		}
		if v := f.storedFormat(t, i); v != 1 {
			t.Errorf("the store is in format %d while a node lives that reads 1", v)
		}
		r.take(t, i)
		if err := n.life().Stop(); err != nil {
			t.Errorf("node %d does not end: %v", i, err)
		}
		n.program = program
		must(t, f.restart(n))
		r.out[i].Store(false)
	}
	if err := await("the store moves to the new format", func() bool { return f.storedFormat(t, 0) == 2 }); err != nil {
		t.Error(err)
	}
	r.goesOn(t)
	close(r.stop)
	r.work.Wait()
	t.Logf("%d requests, %d failed, %d of unknown outcome", r.done, len(r.failed), r.doubts)
	if r.doubts > fleetSize*writers { // what is on its way when a member ends that leads may be lost on it
		t.Errorf("the outcome of %d requests is not known", r.doubts)
	}
	for _, what := range r.failed[:min(3, len(r.failed))] {
		t.Errorf("a request failed: %s", what)
	}
	for path, n := range r.acked {
		var got struct{ Data struct{ N int } }
		if err := f.client(0, f.root).call("GET", path, "", &got); err != nil || got.Data.N < n {
			t.Errorf("%s is %d after %d was acknowledged: %v", path, got.Data.N, n, err)
		}
	}
}

// tooOld starts a node of the old build, which must refuse and change nothing.
func (f *fleet) tooOld(t testing.TB) {
	t.Helper()
	must(t, f.nodes[0].life().Stop())
	before := f.kept(t)
	f.nodes[0].program = bin
	err := f.nodes[0].start()
	if err == nil || !strings.Contains(err.Error(), "start a newer version on it") {
		t.Errorf("a node that is too old for the store starts, or does not say why not: %v", err)
	}
	after := f.kept(t)
	if !slices.EqualFunc(before, after, func(a, b row) bool { return a.key == b.key && string(a.value) == string(b.value) }) {
		t.Errorf("a node that is too old has changed the store: %d rows before, %d after", len(before), len(after))
	}
	if v := f.storedFormat(t, 1); v != 2 {
		t.Errorf("after a node that is too old the store is in format %d", v)
	}
}

// kept are all rows but those that nodes which live go on writing. Of members within, which nobody else reaches, they are those of a snapshot.
func (f *fleet) kept(t testing.TB) (rows []row) {
	t.Helper()
	if f.engine == "postgres" {
		return slices.DeleteFunc(postgresEditor{f}.rows(t), func(r row) bool { return strings.HasPrefix(r.key, nodeRows) && f.tells(r) })
	}
	status, saved, err := f.client(1, f.root).send("GET", "sys/snapshot", "")
	must(t, err)
	r, err := framed.NewReader(bytes.NewReader(saved))
	if err != nil {
		t.Fatalf("a snapshot: %d, %v", status, err)
	}
	for {
		key, value, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows
		}
		must(t, err)
		rows = append(rows, row{key, bytes.Clone(value)})
	}
}

// tells reports whether a row is of a node that lives, which goes on telling of itself.
func (f *fleet) tells(r row) bool {
	var m struct{ Address string }
	return json.Unmarshal(r.value, &m) == nil && m.Address != f.nodes[0].url()
}

// TestUpgrade replaces the nodes of a fleet, one by one and under load, by those of a build that stores in a newer format. The
// control takes the rows of the nodes that live away, so that the new ones do not know of the old.
func TestUpgrade(t *testing.T) {
	next, err := process.Build(t.TempDir(), "nextformat")
	must(t, err)
	for _, engine := range []string{"postgres", "etcd"} {
		t.Run(engine, func(t *testing.T) {
			f := newFleet(t, engine, nil)
			f.upgrade(t, next, nothing)
			f.tooOld(t)
		})
	}
	t.Run("control", func(t *testing.T) {
		f := newFleet(t, "postgres", nil)
		hide := func() {
			must(t, await("the old node is overlooked", func() bool {
				_, err := f.pg.SQL(fmt.Sprintf(`delete from strongroom.entries where front >= '\x%x' and front < '\x%x'`, nodeRows, "core/nodes0"))
				return err == nil && f.storedFormat(t, 0) == 2
			}))
		}
		caught(t, func(t testing.TB) { f.upgrade(t, next, hide) }, "in format 2 while a node lives that reads 1")
	})
}
