package server

import (
	"bytes"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/test/engine"
)

// slotted is a server that unseals itself, and by shares, on a store that lasts.
type slotted struct {
	t      *testing.T
	config Config
	log    bytes.Buffer
	*Server
}

func newSlotted(t *testing.T, name string) *slotted {
	t.Helper()
	e, err := engine.StartUnsynced(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	block, err := e.Template().Block(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig("engine", []byte(block))
	if err != nil {
		t.Fatal(err)
	}
	c.Listeners, c.LocalSlot, c.SlotPath = []Listener{{Address: "127.0.0.1:0"}}, true, filepath.Join(dir, "keys")
	s := &slotted{t: t, config: *c}
	s.start()
	return s
}

func (s *slotted) start() {
	s.t.Helper()
	s.log.Reset()
	var err error
	if s.Server, err = Open(s.t.Context(), &s.config, slog.New(slog.NewTextHandler(&s.log, nil)), io.Discard, time.Now); err != nil {
		s.t.Fatalf("the server does not start: %v", err)
	}
}

func (s *slotted) end() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// asks is what a path answers.
func (s *slotted) asks(method, path, body string) (int, string) {
	rec := httptest.NewRecorder()
	s.door.ServeHTTP(rec, httptest.NewRequestWithContext(s.t.Context(), method, "/v1/"+path, strings.NewReader(body)))
	return rec.Code, rec.Body.String()
}

// with damages rows beneath the server, runs a check on a server that is started on them, and
// puts them back.
func (s *slotted) with(value func(key string, v []byte) store.Write, keys []string, check func()) {
	s.t.Helper()
	var put []store.Write
	var damage []store.Write
	for _, key := range keys {
		e, err := s.phys.Get(s.t.Context(), key)
		if err != nil || !e.Exists() {
			s.t.Fatalf("row %s: %v", key, err)
		}
		put, damage = append(put, store.Write{Key: key, Value: bytes.Clone(e.Value)}), append(damage, value(key, bytes.Clone(e.Value)))
	}
	commit := func(ws []store.Write) {
		if _, err := s.phys.Commit(s.t.Context(), nil, ws); err != nil {
			s.t.Fatal(err)
		}
	}
	commit(damage)
	s.end()
	s.start()
	check()
	commit(put)
	s.end()
	s.start()
}

func flipped(key string, v []byte) store.Write {
	v[0] ^= 0x40
	return store.Write{Key: key, Value: v}
}

func missing(key string, _ []byte) store.Write { return store.Write{Key: key, Delete: true} }

// wantSealed checks that the server is sealed, answers so, and tells which rows are damaged.
func (s *slotted) wantSealed(what string, keys ...string) {
	s.t.Helper()
	code, text := s.asks("GET", "sys/seal-status", "")
	health, _ := s.asks("GET", "sys/health", "")
	if code != 200 || !strings.Contains(text, `"sealed":true`) || health != 503 {
		s.t.Errorf("%s: seal-status %d %s, health %d", what, code, text, health)
	}
	for _, key := range keys {
		if !strings.Contains(text, `"`+key+`"`) || !strings.Contains(s.log.String(), key) {
			s.t.Errorf("%s: nobody is told that %s is damaged: %s %s", what, key, text, s.log.String())
		}
	}
}

// wantOpen checks that the server is unsealed and well.
func (s *slotted) wantOpen(what string) {
	s.t.Helper()
	code, text := s.asks("GET", "sys/seal-status", "")
	if health, body := s.asks("GET", "sys/health", ""); code != 200 || !strings.Contains(text, `"sealed":false`) || health != 200 {
		s.t.Errorf("%s: seal-status %d %s, health %d %s", what, code, text, health, body)
	}
}

// TestDamagedKeySlots starts a server, on each engine, whose key slots are damaged or missing:
// it starts, stays sealed, tells which they are, and is unsealed by any other.
func TestDamagedKeySlots(t *testing.T) {
	for _, name := range []string{"pebble", "postgres", "etcd"} {
		t.Run(name, func(t *testing.T) {
			s := newSlotted(t, name)
			defer func() { s.end() }()
			made, err := s.seal.AddSlot(t.Context(), seal.SlotSpec{Kind: seal.KindShamir, Shares: 1, Threshold: 1})
			if err != nil {
				t.Fatal(err)
			}
			slots, err := s.seal.ListSlots(t.Context())
			if err != nil || len(slots) != 2 {
				t.Fatalf("%v %v", slots, err)
			}
			key := `{"key":"` + string(made.Handed[0].Base64().Disclose()) + `"}`
			file, people := "core/slot/"+slots[0].ID, "core/slot/"+slots[1].ID
			for what, how := range map[string]func(string, []byte) store.Write{"damaged": flipped, "missing": missing} {
				s.with(how, []string{file}, func() {
					s.wantSealed("the local slot is "+what, file)
					s.asks("PUT", "sys/unseal", key)
					s.wantOpen("by the other slot while the local one is " + what)
				})
				s.with(how, []string{people}, func() {
					s.wantOpen("by itself while the shares' slot is " + what)
					if !strings.Contains(s.log.String(), people) {
						t.Errorf("nobody is told that %s is %s: %s", people, what, s.log.String())
					}
				})
				s.with(how, []string{file, people}, func() { s.wantSealed("all slots are "+what, file, people) })
				s.with(how, []string{"core/seal"}, func() {
					s.wantSealed("the list of slots is "+what, "core/seal")
					s.asks("PUT", "sys/unseal", key)
					s.wantSealed("after a share, while the list of slots is "+what, "core/seal")
				})
				s.wantOpen("after the rows were put back")
			}
		})
	}
}
