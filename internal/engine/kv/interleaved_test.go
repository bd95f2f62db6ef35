package kv

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// meddler does something once, at a moment of a test's choosing.
type meddler struct {
	store.Store
	beforeGet   func(key string) bool // reports that it has done its part
	afterCommit func() error
}

func (m *meddler) Get(ctx context.Context, key string) (store.Entry, error) {
	if f := m.beforeGet; f != nil {
		m.beforeGet = nil
		if !f(key) {
			m.beforeGet = f
		}
	}
	return m.Store.Get(ctx, key)
}

func (m *meddler) Commit(ctx context.Context, cs []store.Check, ws []store.Write) (store.Rev, error) {
	rev, err := m.Store.Commit(ctx, cs, ws)
	if f := m.afterCommit; f != nil && err == nil {
		m.afterCommit = nil
		if err := f(); err != nil {
			return 0, err
		}
	}
	return rev, err
}

// A write whose answer is lost has succeeded, also when the next one came
// before anybody could look.
func TestALostAnswerIsFoundUnderALaterWrite(t *testing.T) {
	s := &meddler{Store: openStore(t)}
	m := open(t, "2", s)
	s.afterCommit = func() error {
		m.ok("POST data/a", `{"data":{"n":2}}`)
		return errLost
	}
	if a := m.do("POST data/a", `{"data":{"n":1}}`); a.kind != success || !strings.Contains(a.body, `"version":1`) {
		t.Errorf("%+v", a)
	}
	if n := payloads(t, s); n != 2 {
		t.Errorf("%d versions, want 2", n)
	}
}

// A read between whose two Gets its version is pruned answers the next one.
func TestAReadOvertakenByAWrite(t *testing.T) {
	s := &meddler{Store: openStore(t)}
	m := open(t, "2", s)
	m.ok("POST metadata/a", `{"max_versions":1}`)
	m.ok("POST data/a", `{"data":`+padded(`"n":1`)+`}`)
	s.beforeGet = func(key string) bool {
		if !strings.HasPrefix(key, prefixPayload) {
			return false
		}
		m.ok("POST data/a", `{"data":`+padded(`"n":2`)+`}`)
		return true
	}
	if got := m.ok("GET data/a", ""); !strings.Contains(got, `{"n":2,`) {
		t.Errorf("%s", got)
	}
	s.beforeGet = func(key string) bool {
		if strings.HasPrefix(key, prefixPayload) {
			m.ok("POST destroy/a", `{"versions":[2]}`)
		}
		return strings.HasPrefix(key, prefixPayload)
	}
	if a := m.do("GET data/a", ""); a.kind != api.NotFound || !strings.Contains(a.body, `"destroyed":true`) {
		t.Errorf("%+v", a)
	}
}

// A patch is made on what is current when it lands, not on what it read.
func TestAPatchOvertakenByAWrite(t *testing.T) {
	s := &meddler{Store: openStore(t)}
	m := open(t, "2", s)
	m.ok("POST data/a", `{"data":`+padded(`"n":1`)+`}`)
	s.beforeGet = func(key string) bool {
		if !strings.HasPrefix(key, prefixPayload) {
			return false
		}
		m.ok("POST data/a", `{"data":{"n":2,"m":2}}`)
		return true
	}
	m.ok("PATCH data/a", `{"data":{"p":3}}`)
	if got := m.ok("GET data/a", ""); !strings.Contains(got, `{"n":2,"m":2,"p":3}`) {
		t.Errorf("%s", got)
	}
}

// plant stores a secret as another dialect leaves it.
func plant(t *testing.T, m *mountAt, path string, s *secret) {
	t.Helper()
	p := &payload{id: uuid{9}, body: []byte(`{"n":1}`)}
	v := version{id: p.id, created: epoch, size: uint64(len(p.body)), number: 1}
	s.created, s.updated, s.last, s.current, s.versions = epoch, epoch, 1, 1, []version{v}
	ws := []store.Write{{Key: prefixSecret + path, Value: s.encode()}, {Key: chunkKey(p.id, 0, 0), Value: payloadRow(p.id, p.body)}}
	if _, err := m.store.Commit(t.Context(), nil, ws); err != nil {
		t.Fatal(err)
	}
}

func TestADeletedOrExpiredSecretIsNotToBeSeen(t *testing.T) {
	s := openStore(t)
	two, one := open(t, "2", s), open(t, "1", s)
	plant(t, two, "deleted", &secret{deleted: epoch, purge: epoch.Add(time.Hour)})
	plant(t, two, "expired", &secret{expires: epoch})
	plant(t, two, "later", &secret{expires: epoch.Add(1)})
	for _, path := range []string{"deleted", "expired"} {
		run(t, two, []step{
			{"GET data/" + path, "", api.NotFound, "", ""},
			{"GET metadata/" + path, "", api.NotFound, "", ""},
			{"GET subkeys/" + path, "", api.NotFound, "", ""},
			{"PATCH data/" + path, `{"data":{}}`, api.NotFound, "", ""},
			{"POST data/" + path, `{"data":{}}`, api.Conflict, "", ""},
			{"DELETE metadata/" + path, "", api.Conflict, "", ""},
		})
		run(t, one, []step{{"GET " + path, "", api.NotFound, "", ""}, {"POST " + path, `{"a":1}`, api.Conflict, "", ""}})
	}
	run(t, two, []step{{"GET data/later", "", success, "", ""}})
}

// A disabled version is kept and not read; a version that is not yet current is
// not what a plain read answers.
func TestStatesAndLabelsOfOtherDialects(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST data/a", `{"data":{"n":1}}`)
	m.ok("POST data/a", `{"data":{"n":2}}`)
	edit := func(fn func(*secret)) {
		s, err := decodeSecret([]byte(rows(t, m.store, prefixSecret)[prefixSecret+"a"]))
		if err != nil {
			t.Fatal(err)
		}
		fn(s)
		if _, err := m.store.Commit(t.Context(), nil, []store.Write{{Key: prefixSecret + "a", Value: s.encode()}}); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(s *secret) { s.current, s.versions[0].labels = 1, []string{"AWSPENDING"} })
	if got := m.ok("GET data/a", ""); !strings.Contains(got, `{"n":1}`) {
		t.Errorf("a pending version is served: %s", got)
	}
	run(t, m, []step{{"POST data/a", `{"data":{"n":3},"options":{"cas":1}}`, success, info(3, "", false), ""}})
	edit(func(s *secret) { s.find(3).state = disabled })
	run(t, m, []step{
		{"GET data/a", "", api.NotFound, `{"data":null,"metadata":` + info(3, "", false) + `}`, ""},
		{"DELETE data/a", "", success, "", ""},
		{"POST undelete/a", `{"versions":[3]}`, success, "", ""},
		{"GET data/a", "", api.NotFound, `{"data":null,"metadata":` + info(3, "", false) + `}`, ""},
	})
}
