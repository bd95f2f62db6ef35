package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/postgres"
	postgrestest "github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/process"
)

// blank is a server that waits to be initialised.
func blank(c *server.Config) { c.DevRoot = api.Secret{} }

// on has a server keep its data in an engine.
func on(engine store.Engine) servertest.Option {
	return func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return engine, nil }}
	}
}

// moved is a cluster that goes from store to store.
type moved struct {
	key, root, token, lease string
}

// furnish initialises a server and fills it.
func furnish(t *testing.T, s *servertest.Server) *moved {
	t.Helper()
	made := s.Want(t, 200, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
	m := &moved{key: made.Field("keys").([]any)[0].(string), root: made.String("root_token")}
	m.unseal(t, s)
	s.Want(t, 204, "POST", "sys/mounts/kv", m.root, `{"type":"kv","options":{"version":"2"}}`)
	s.Want(t, 204, "POST", "sys/mounts/lend", m.root, `{"type":"lender"}`)
	s.Want(t, 204, "PUT", "sys/policies/acl/reader", m.root, `{"policy":"path \"kv/*\" { capabilities = [\"read\"] }"}`)
	for i := range 30 {
		s.Want(t, 200, "POST", fmt.Sprintf("kv/data/a%d", i), m.root, fmt.Sprintf(`{"data":{"n":"%d"}}`, i))
	}
	m.token = s.Want(t, 200, "POST", "auth/token/create", m.root, `{"policies":["reader"],"ttl":"1h"}`).String("auth", "client_token")
	m.lease = s.Want(t, 200, "GET", "lend/creds/bob", m.root, "").String("lease_id")
	return m
}

func (m *moved) unseal(t *testing.T, s *servertest.Server) {
	t.Helper()
	if a := s.Want(t, 200, "PUT", "sys/unseal", "", `{"key":"`+m.key+`"}`); a.Field("sealed") != false {
		t.Fatalf("unsealing: %s", a.Body)
	}
}

// holds fails unless a server has what furnish made.
func (m *moved) holds(t *testing.T, s *servertest.Server) {
	t.Helper()
	for i := range 30 {
		if got := s.Want(t, 200, "GET", fmt.Sprintf("kv/data/a%d", i), m.token, "").String("data", "data", "n"); got != fmt.Sprint(i) {
			t.Fatalf("a%d holds %q", i, got)
		}
	}
	s.Want(t, 403, "GET", "sys/mounts", m.token, "")
	s.Want(t, 200, "PUT", "sys/leases/lookup", m.root, `{"lease_id":"`+m.lease+`"}`)
	s.Want(t, 200, "PUT", "sys/leases/renew", m.root, `{"lease_id":"`+m.lease+`"}`)
}

const archive = "sys/storage/raft/snapshot"

// TestMovingAcrossEngines takes one cluster from memory to pebble, PostgreSQL and etcd,
// each time by a snapshot of the store before, unsealed by the same key.
func TestMovingAcrossEngines(t *testing.T) {
	lender := &servertest.Lender{}
	s := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(lender))
	m := furnish(t, s)
	for _, next := range []struct {
		name string
		at   servertest.Option
	}{{"pebble", servertest.OnDisk(t)}, {"postgres", onPostgres(t)}, {"etcd", onEtcd(t)}} {
		for _, path := range []string{"sys/snapshot", archive} {
			if a := s.Do(t, "GET", path, m.token, ""); a.Status != 403 {
				t.Errorf("%s: %s without rights: %d", next.name, path, a.Status)
			}
		}
		saved := s.Want(t, 200, "GET", archive, m.root, "").Body
		s = servertest.Start(t, blank, next.at, servertest.WithLender(lender))
		a := s.Want(t, 200, "POST", archive, "", string(saved))
		if slots, _ := a.Field("data", "key_slots").([]any); len(slots) != 1 {
			t.Errorf("%s: what unseals is not told: %s", next.name, a.Body)
		}
		if a := s.Want(t, 200, "GET", "sys/seal-status", "", ""); a.Field("sealed") != true || a.Field("initialized") != true || a.Field("t") != 1.0 {
			t.Errorf("%s: after the restore: %s", next.name, a.Body)
		}
		s.Want(t, 400, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
		m.unseal(t, s)
		m.holds(t, s)
		s.Want(t, 200, "POST", "kv/data/after", m.root, `{"data":{"in":"`+next.name+`"}}`)
	}
}

func onPostgres(t *testing.T) servertest.Option {
	db, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Remove(); err != nil {
			t.Error(err)
		}
	})
	return func(c *server.Config) {
		c.Shared = &server.Shared{Postgres: &postgres.Options{Conn: postgres.NewConnString(db.URL())}}
	}
}

func onEtcd(t *testing.T) servertest.Option {
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "etcd")
	return func(c *server.Config) {
		c.Shared = &server.Shared{Member: &member.Config{Dir: dir, Members: []member.Peer{{Name: "a", URL: "http://" + addr}}}}
	}
}

// TestWhatExpiredMeanwhileIsEnded restores a copy three hours later.
func TestWhatExpiredMeanwhileIsEnded(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	lender := &servertest.Lender{}
	s := servertest.StartAt(t, now, blank, on(mem.Open()), servertest.WithLender(lender))
	m := furnish(t, s)
	short := s.Want(t, 200, "POST", "lend/creds/eve", m.root, `{"ttl":"1h"}`)
	saved := s.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	later := func() time.Time { return now().Add(3 * time.Hour) }
	to := servertest.StartAt(t, later, blank, on(mem.Open()), servertest.WithLender(lender))
	to.Want(t, 200, "POST", archive+"?source_is_gone=true", "", string(saved))
	m.unseal(t, to)
	to.Want(t, 403, "GET", "kv/data/a1", m.token, "")
	to.Want(t, 200, "GET", "kv/data/a1", m.root, "")
	soon(t, "a lease that expired meanwhile to be gone", func() bool {
		return to.Do(t, "PUT", "sys/leases/lookup", m.root, `{"lease_id":"`+short.String("lease_id")+`"}`).Status == 400
	})
	to.Want(t, 200, "PUT", "sys/leases/lookup", m.root, `{"lease_id":"`+m.lease+`"}`)
}

// failing is an engine whose views fail in the middle.
type failing struct {
	store.Engine
	after atomic.Int64 // lists until they fail
}

type failingView struct {
	store.View
	of *failing
}

var errGone = errors.New("the connection is gone")

func (f *failing) View(ctx context.Context) (store.View, error) {
	v, err := f.Engine.View(ctx)
	return &failingView{v, f}, err
}

func (v *failingView) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if v.of.after.Add(-1) < 0 {
		return nil, errGone
	}
	return v.View.List(ctx, r)
}

// TestAnAnswerThatIsCutOffHasNoEnd fails reading the store at each page: no client
// takes what it got for an answer.
func TestAnAnswerThatIsCutOffHasNoEnd(t *testing.T) {
	f := &failing{Engine: mem.Open()}
	s := servertest.Start(t, blank, on(f), servertest.WithLender(&servertest.Lender{}))
	m := furnish(t, s)
	for _, path := range []string{"sys/snapshot", archive} {
		f.after.Store(1 << 40)
		whole := s.Want(t, 200, "GET", path, m.root, "").Body
		if _, err := framed.Verify(bytes.NewReader(whole)); err != nil {
			t.Fatalf("the control: %v", err)
		}
		for pages := range int64(2) {
			f.after.Store(pages)
			if a, err := s.Try("GET", path, m.root, ""); err == nil {
				t.Errorf("%s failed at page %d, and was answered in full: %d, %d bytes", path, pages, a.Status, len(a.Body))
			} else if _, err := framed.Verify(bytes.NewReader(a.Body)); err == nil {
				t.Errorf("%s failed at page %d, and what came is taken for whole", path, pages)
			}
		}
	}
}

// slowly is a body that comes in two parts.
type slowly struct {
	first  io.Reader
	reach  func() // called between the parts
	second io.Reader
}

func (s *slowly) Read(p []byte) (int, error) {
	n, err := s.first.Read(p)
	if err == nil || !errors.Is(err, io.EOF) {
		return n, err
	}
	if s.reach != nil {
		s.reach()
		s.reach = nil
	}
	return s.second.Read(p)
}

// TestARestoreThatIsCutOff breaks an upload off: the server can be neither initialised
// nor unsealed until a restore has finished, and only one is under way at a time.
func TestARestoreThatIsCutOff(t *testing.T) {
	s := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(&servertest.Lender{}))
	m := furnish(t, s)
	saved := s.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	to := servertest.Start(t, blank, on(mem.Open()))
	half := len(saved) / 2
	broken := &slowly{first: bytes.NewReader(saved[:half]), second: failingReader{}, reach: func() {
		awaitLog(t, to, "a snapshot is being restored")
		if a := to.Do(t, "POST", archive, "", string(saved)); a.Status != 429 {
			t.Errorf("a second one meanwhile: %d %s", a.Status, a.Body)
		}
	}}
	if resp, err := http.Post(to.URL+"/v1/"+archive, "application/octet-stream", broken); err == nil {
		t.Errorf("the broken upload was answered: %d", resp.StatusCode)
	}
	awaitLog(t, to, "a snapshot was not restored")
	for path, body := range map[string]string{"sys/init": `{"secret_shares":1,"secret_threshold":1}`, "sys/unseal": `{"key":"` + m.key + `"}`} {
		if a := to.Want(t, 400, "PUT", path, "", body); !strings.Contains(a.Text(), "restore the snapshot again") {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	for name, bad := range map[string]string{"cut": string(saved[:len(saved)-1]), "longer": string(saved) + "x", "nothing": "", "text": "hello"} {
		to.Want(t, 400, "POST", archive, "", bad)
		if a := to.Want(t, 400, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`); !strings.Contains(a.Text(), "restore") {
			t.Errorf("after one that is %s: %s", name, a.Body)
		}
	}
	to.Want(t, 200, "POST", archive, "", string(saved))
	m.unseal(t, to)
	to.Want(t, 200, "GET", "kv/data/a3", m.root, "")
	if a := to.Want(t, 400, "POST", archive, "", string(saved)); !strings.Contains(a.Text(), "not empty") {
		t.Errorf("over data: %s", a.Body)
	}
	to.Want(t, 400, "POST", archive+"-force", "", string(saved))
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errGone }

func awaitLog(t *testing.T, s *servertest.Server, text string) {
	t.Helper()
	soon(t, "the log to say "+text, func() bool { return strings.Contains(string(s.Log.Bytes()), text) })
}

// TestAForgedSnapshotDoesNotOpen restores one that somebody without keys has made.
func TestAForgedSnapshotDoesNotOpen(t *testing.T) {
	s := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(&servertest.Lender{}))
	m := furnish(t, s)
	r, err := framed.NewReader(bytes.NewReader(s.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body))
	if err != nil {
		t.Fatal(err)
	}
	var forged bytes.Buffer
	w, err := framed.NewWriter(&forged, r.Header())
	for dropped := false; err == nil; {
		var key string
		var value []byte
		if key, value, err = r.Next(); err == nil && (dropped || !strings.HasPrefix(key, "d/")) {
			err = w.Row(key, value)
		} else {
			dropped = true
		}
	}
	_, mac := r.Claim()
	if !errors.Is(err, io.EOF) || w.Close(func([]byte) ([]byte, error) { return mac, nil }) != nil {
		t.Fatal(err)
	}
	to := servertest.Start(t, blank, on(mem.Open()))
	to.Want(t, 200, "POST", archive, "", forged.String())
	a := to.Want(t, 400, "PUT", "sys/unseal", "", `{"key":"`+m.key+`"}`)
	if !strings.Contains(a.Text(), "is not what was saved") {
		t.Errorf("%s", a.Body)
	}
	if a := to.Want(t, 200, "GET", "sys/seal-status", "", ""); a.Field("sealed") != true {
		t.Errorf("it opened: %s", a.Body)
	}
	to.Want(t, 503, "GET", "kv/data/a3", m.root, "")
}
