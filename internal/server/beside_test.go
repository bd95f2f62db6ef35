package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/test/process"
)

// What tells the test's own binary to be a server, and with what.
const (
	besideData  = "STRONGROOM_TEST_BESIDE_DATA"
	besideWorld = "STRONGROOM_TEST_BESIDE_WORLD"
	besideAddr  = "STRONGROOM_TEST_BESIDE_ADDR"
)

func TestMain(m *testing.M) {
	if os.Getenv(besideData) == "" {
		os.Exit(m.Run())
	}
	if err := serveBeside(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveBeside is a server with an engine that lends users of a system which several
// servers reach.
func serveBeside() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := &server.Config{DataDir: os.Getenv(besideData), Listeners: []server.Listener{{Address: os.Getenv(besideAddr)}},
		Engines: []api.Engine{users(os.Getenv(besideWorld)).engine()}}
	s, err := server.Open(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)), os.Stdout, time.Now)
	if err != nil {
		return err
	}
	ls, err := server.Listen(c)
	if err == nil {
		err = s.Serve(ctx, ls)
	}
	return errors.Join(err, s.Close())
}

// users is a system in which users exist: a directory with a file for each.
type users string

// named is a user to be lent.
type named struct {
	Name string       `path:"name"` // Of the user.
	TTL  api.Duration `json:"ttl"`  // For how long.
}

func (u users) engine() api.Engine {
	eps, err := api.Bind(u, []api.Route[users]{api.Handle(api.Write, "creds/{name}", users.lend)})
	if err != nil {
		panic(err)
	}
	return api.Engine{Type: "users", Endpoints: eps, Leases: map[string]api.LeaseKind{"user": {Revoke: func(_ *api.Call, h *api.Held) error {
		err := os.Remove(filepath.Join(string(u), string(h.Private)))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return err
	}}}}
}

func (u users) lend(_ *api.Call, q *named) (*lentUser, error) {
	return &lentUser{q.Name, q.TTL.Std()}, os.WriteFile(filepath.Join(string(u), q.Name), nil, 0o600)
}

type lentUser struct {
	Name string `json:"name"`
	ttl  time.Duration
}

// Lease is the lease of the user.
func (l *lentUser) Lease() *api.Lease {
	return &api.Lease{Kind: "user", TTL: l.ttl, Renewable: true, Private: []byte(l.Name)}
}

func (u users) has(name string) bool {
	_, err := os.Stat(filepath.Join(string(u), name))
	return err == nil
}

// besides starts a server as a process of its own on a new store.
func (u users) besides(t *testing.T) *servertest.Server {
	t.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), besideData+"="+t.TempDir(), besideWorld+"="+string(u), besideAddr+"="+addr)
	p, err := process.StartIn("", env, addr, os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Output())
		}
		http.DefaultClient.CloseIdleConnections()
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &servertest.Server{URL: p.URL, Addr: p.Addr}
}

// TestACopyBesideItsSource restores a snapshot of a living cluster into a server beside it,
// in which a lease has run out that the cluster has renewed since. The copy leaves the
// user alone until it is told that the source is gone, and takes back what it has lent
// itself. The control is a copy that was told so from the start: it takes the living
// cluster's user away.
func TestACopyBesideItsSource(t *testing.T) {
	u := users(t.TempDir())
	from := u.besides(t)
	m := &moved{}
	made := from.Want(t, 200, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
	m.key, m.root = made.Field("keys").([]any)[0].(string), made.String("root_token")
	m.unseal(t, from)
	from.Want(t, 204, "POST", "sys/mounts/db", m.root, `{"type":"users"}`)
	token := from.Want(t, 200, "POST", "auth/token/create", m.root, `{"ttl":"6s"}`).String("auth", "client_token")
	lease := from.Want(t, 200, "PUT", "db/creds/bob", m.root, `{"ttl":"6s"}`).String("lease_id")
	saved := from.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	from.Want(t, 200, "PUT", "sys/leases/renew", m.root, servertest.LeaseBody(lease, `,"increment":"2h"`))
	from.Want(t, 200, "PUT", "auth/token/renew", m.root, `{"token":"`+token+`","increment":"2h"}`)

	copied := u.besides(t)
	if a := copied.Want(t, 200, "POST", archive, "", string(saved)); a.Field("data", "leases_held") != true {
		t.Errorf("the restore does not tell that leases are held: %s", a.Body)
	}
	m.unseal(t, copied)
	m.toldHeld(t, copied, true)
	soon(t, "the token's end", func() bool { return copied.Do(t, "GET", "auth/token/lookup-self", token, "").Status == 403 })
	copied.Want(t, 200, "PUT", "db/creds/own", m.root, `{"ttl":"1s"}`)
	soon(t, "the end of the copy's own user", func() bool { return !u.has("own") })
	if !u.has("bob") {
		t.Fatal("the copy took back what its source lends")
	}
	from.Want(t, 200, "GET", "auth/token/lookup-self", token, "")
	from.Want(t, 200, "PUT", "sys/leases/renew", m.root, servertest.LeaseBody(lease, `,"increment":"2h"`))
	copied.Want(t, 400, "PUT", "sys/leases/renew", m.root, servertest.LeaseBody(lease, ""))
	if a := copied.Want(t, 503, "PUT", "sys/leases/revoke", m.root, servertest.LeaseBody(lease, `,"sync":true`)); !strings.Contains(a.Text(), "snapshot resume") {
		t.Errorf("who waits is not told how to go on: %s", a.Body)
	}

	control := u.besides(t)
	control.Want(t, 200, "POST", archive+"?source_is_gone=true", "", string(saved))
	m.unseal(t, control)
	m.toldHeld(t, control, false)
	soon(t, "the harm that a copy does which is told that its source is gone", func() bool { return !u.has("bob") })

	from.Want(t, 200, "PUT", "db/creds/bob", m.root, `{"ttl":"2h"}`) // the name is there again
	reader := copied.Want(t, 200, "POST", "auth/token/create", m.root, `{"policies":["default"]}`).String("auth", "client_token")
	copied.Want(t, 403, "DELETE", "sys/leases/quarantine", reader, "")
	copied.Want(t, 200, "DELETE", "sys/leases/quarantine", m.root, "")
	m.toldHeld(t, copied, false)
	soon(t, "the end of what was held", func() bool { return !u.has("bob") })
	soon(t, "the end of its lease", func() bool {
		return copied.Do(t, "PUT", "sys/leases/lookup", m.root, servertest.LeaseBody(lease, "")).Status == 400
	})
}

// toldHeld fails unless a server says everywhere whether leases are held.
func (m *moved) toldHeld(t *testing.T, s *servertest.Server, held bool) {
	t.Helper()
	for _, path := range []string{"sys/health", "sys/seal-status"} {
		soon(t, path+" to tell it", func() bool { // which does not wait for what the node has to catch up with
			return (s.Want(t, 200, "GET", path, "", "").Field("leases_held") == true) == held
		})
	}
	if a := s.Want(t, 200, "GET", "sys/nodes", m.root, ""); strings.Contains(a.Text(), "operator snapshot resume") != held {
		t.Errorf("sys/nodes: %s", a.Body)
	}
	if a := s.Want(t, 200, "GET", "sys/leases/quarantine", m.root, ""); a.Field("data", "held") != held {
		t.Errorf("%s", a.Body)
	}
}

// TestAMountThatIsDroppedWaits disables a mount while its leases are held: its settings,
// without which they could not be taken back, stay until they were, and that a deletion
// waits does not use up the tries after which leases are forgotten.
func TestAMountThatIsDroppedWaits(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	lender := &servertest.Lender{}
	from := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(lender))
	m := furnish(t, from)
	saved := from.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	data := mem.New(mem.Options{})
	to := servertest.StartAt(t, now, blank, on(data.Open()), servertest.WithLender(lender))
	to.Want(t, 200, "POST", archive, "", string(saved))
	m.unseal(t, to)
	before := lender.Live()
	to.Want(t, 204, "DELETE", "sys/mounts/lend", m.root, "")
	later := func() { // the schedule of a server that was unsealed looks at the clock
		to.Want(t, 204, "PUT", "sys/seal", m.root, "")
		ahead.Add(int64(20 * time.Minute)) // more than the schedule ever waits, and than anything is claimed that the seal cut short
		m.unseal(t, to)
	}
	for range stubborn + 3 {
		soon(t, "the deletion to be put off", func() bool { return putOff(t, data, now()) })
		later()
	}
	if lender.Live() != before {
		t.Error("what was held was taken back")
	}
	lender.Break(errGone)
	to.Want(t, 200, "DELETE", "sys/leases/quarantine", m.root, "")
	later()
	awaitLog(t, to, "a lease was not taken back")
	lender.Break(nil)
	soon(t, "the end of what was held", func() bool { return lender.Live() == before-1 })
}

// stubborn is how often a deletion is tried before leases are forgotten.
const stubborn = 11

// putOff reports whether the deletion of a mount is due later, and was never tried in vain.
func putOff(t *testing.T, data *mem.Data, now time.Time) bool {
	t.Helper()
	s := data.Open()
	defer s.Close()
	es, err := s.List(t.Context(), store.Range{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(es, func(e store.Entry) bool {
		_, rest, ok := strings.Cut(e.Key, "/due/")
		return ok && strings.Contains(rest, "/mount-delete/") && rest[:19] > fmt.Sprintf("%019d", now.Add(30*time.Second).UnixNano())
	})
}
