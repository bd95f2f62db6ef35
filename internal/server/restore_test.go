package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// TestRestoreIntoAFleet restores through one of three nodes, on PostgreSQL and on etcd with
// a member in each node, and unseals all three: each has everything, and one quarantine
// holds for all of them until one of them is told to end it.
func TestRestoreIntoAFleet(t *testing.T) {
	lender := &servertest.Lender{}
	from := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(lender))
	m := furnish(t, from)
	short := from.Want(t, 200, "POST", "lend/creds/eve", m.root, `{"ttl":"1s"}`).String("lease_id")
	saved := from.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	soon(t, "the source to take back what it lent", func() bool {
		return from.Do(t, "PUT", "sys/leases/lookup", m.root, servertest.LeaseBody(short, "")).Status == 400
	})
	pg := onPostgres(t)
	for name, at := range map[string][]servertest.Option{"postgres": {pg, pg, pg}, "etcd": threeMembers(t)} {
		t.Run(name, func(t *testing.T) {
			nodes := together(t, at, servertest.WithLender(lender))
			nodes[0].Want(t, 200, "POST", archive, "", string(saved))
			var work sync.WaitGroup
			for _, n := range nodes { // at once: each looks at the rows, and one ends the restore
				work.Go(func() {
					if a, err := n.Try("PUT", "sys/unseal", "", `{"key":"`+m.key+`"}`); err != nil || a.Field("sealed") != false {
						t.Errorf("unsealing: %v, %+v", err, a)
					}
				})
			}
			work.Wait()
			for i, n := range nodes {
				m.holds(t, n)
				m.toldHeld(t, n, true)
				n.Want(t, 200, "PUT", "sys/leases/lookup", m.root, servertest.LeaseBody(short, ""))
				n.Want(t, 200, "POST", fmt.Sprintf("kv/data/by%d", i), m.root, `{"data":{"a":"b"}}`)
			}
			nodes[1].Want(t, 200, "DELETE", "sys/leases/quarantine", m.root, "")
			for i, n := range nodes {
				m.toldHeld(t, n, false)
				n.Want(t, 200, "GET", fmt.Sprintf("kv/data/by%d", (i+1)%len(nodes)), m.root, "")
			}
			soon(t, "the end of what was held", func() bool {
				return nodes[2].Do(t, "PUT", "sys/leases/lookup", m.root, servertest.LeaseBody(short, "")).Status == 400
			})
		})
	}
}

// threeMembers are the stores of three nodes with a member of one etcd in each.
func threeMembers(t *testing.T) []servertest.Option {
	var peers []member.Peer
	for _, name := range []string{"a", "b", "c"} {
		peers = append(peers, member.Peer{Name: name, URL: peerURL(t)})
	}
	var all []servertest.Option
	for _, p := range peers {
		c := &member.Config{Dir: t.TempDir(), Name: p.Name, Members: peers}
		all = append(all, func(to *server.Config) { to.Shared = &server.Shared{Member: c} })
	}
	return all
}

// together starts servers that wait for each other.
func together(t *testing.T, at []servertest.Option, more ...servertest.Option) []*servertest.Server {
	nodes := make([]*servertest.Server, len(at))
	var work sync.WaitGroup
	for i, o := range at {
		work.Go(func() { nodes[i] = servertest.Start(t, append([]servertest.Option{blank, o}, more...)...) })
	}
	work.Wait()
	for _, n := range nodes {
		if n == nil {
			t.Fatal("a node did not start")
		}
	}
	return nodes
}

// TestRestoreIsRefusedUntouched sends what is not to be restored: a snapshot of a newer
// format, frames and headers without end, and an archive that unfolds. Nothing is written,
// nothing is read without end, and a good one is restored afterwards.
func TestRestoreIsRefusedUntouched(t *testing.T) {
	from := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(&servertest.Lender{}))
	m := furnish(t, from)
	saved := from.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	data := mem.New(mem.Options{})
	to := servertest.Start(t, blank, func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return data.Open(), nil }}
	})
	first := saved[:bytes.IndexByte(saved, '\n')+1]
	for name, c := range map[string]struct {
		body string
		says string
	}{
		"a newer format":    {newer(t, saved), "newer version"},
		"a newer form":      {strings.Replace(string(saved), "1\n", "2\n", 1), "newer strongroom"},
		"a huge frame":      {string(first) + "h\xff\xff\xff\xff" + strings.Repeat("x", 1<<20), "damaged"},
		"zeroes":            {strings.Repeat("\x00", 8<<20), "not a snapshot"},
		"a newline at last": {strings.Repeat("a", 8<<20) + "\n", "not a snapshot"},
	} {
		a := to.Want(t, 400, "POST", archive, "", c.body)
		if !strings.Contains(a.Text(), c.says) {
			t.Errorf("%s: %s", name, a.Body)
		}
		if n := rowsOf(t, data); n > 0 {
			t.Errorf("%s: %d rows were written", name, n)
		}
		to.Want(t, 501, "GET", "sys/health", "", "")
	}
	to.Want(t, 200, "POST", archive, "", string(saved))
	m.unseal(t, to)
	to.Want(t, 200, "GET", "kv/data/a3", m.root, "")
}

// rowsOf is how many rows a store has that are not of its nodes.
func rowsOf(t *testing.T, data *mem.Data) (n int) {
	t.Helper()
	s := data.Open()
	defer s.Close()
	es, err := s.List(t.Context(), store.Range{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if !fleet.Owns(e.Key) {
			n++
		}
	}
	return n
}

// newer is a snapshot in the next stored format.
func newer(t *testing.T, saved []byte) string {
	t.Helper()
	r, err := framed.NewReader(bytes.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header()
	h.Format = fleet.Format + 1
	var out bytes.Buffer
	w, err := framed.NewWriter(&out, h)
	for err == nil {
		var key string
		var value []byte
		if key, value, err = r.Next(); err == nil {
			err = w.Row(key, value)
		}
	}
	_, mac := r.Claim()
	if !errors.Is(err, io.EOF) || w.Close(func([]byte) ([]byte, error) { return mac, nil }) != nil {
		t.Fatal(err)
	}
	return out.String()
}
