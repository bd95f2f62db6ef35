package snapshot

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/internal/store/pebble"
	"github.com/strongroom/strongroom/internal/store/postgres"
	postgrestest "github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/process"
)

// engines opens an empty store of each kind.
func engines(b *testing.B) map[string]func() store.Engine {
	check := func(s store.Engine, err error) store.Engine {
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	return map[string]func() store.Engine{
		"pebble": func() store.Engine {
			return check(pebble.Open(filepath.Join(b.TempDir(), "p"), pebble.Options{}))
		},
		"postgres": func() store.Engine {
			db, err := postgrestest.Start()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := db.Remove(); err != nil {
					b.Error(err)
				}
			})
			return check(postgres.Open(b.Context(), postgres.Options{Conn: postgres.NewConnString(db.URL())}))
		},
		"etcd": func() store.Engine {
			addr, err := process.FreeAddr()
			if err != nil {
				b.Fatal(err)
			}
			m, err := member.Start(b.Context(), member.Config{Dir: b.TempDir(), Members: []member.Peer{{Name: "a", URL: "http://" + addr}}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := m.Close(); err != nil {
					b.Error(err)
				}
			})
			return check(m.Open(b.Context(), etcd.Options{}))
		},
	}
}

// BenchmarkMove restores so many rows of about the size that a small secret's have, saves
// them from there, and looks at them as the first unsealing does.
func BenchmarkMove(b *testing.B) {
	const rows = 200_000
	from := source(b, 0)
	value := strings.Repeat("v", 300)
	for n := 0; n < rows; n += 100 {
		var writes []store.Write
		for i := range 100 {
			writes = append(writes, store.Write{Key: fmt.Sprintf("root/kv/%07d", n+i), Value: []byte(value)})
		}
		if _, err := from.Barrier.Commit(b.Context(), nil, writes); err != nil {
			b.Fatal(err)
		}
	}
	saved := from.saved(b)
	for name, open := range engines(b) {
		to := newNode(b, open())
		b.Run(name+"/restore", func(b *testing.B) {
			b.SetBytes(int64(len(saved)))
			for range b.N {
				mustRestore(b, to, saved)
				b.StopTimer()
				if b.N > 1 {
					b.Fatal("run it with -benchtime=1x")
				}
				b.StartTimer()
			}
		})
		to.unseal(b, from.share)
		b.Run(name+"/admit", func(b *testing.B) {
			if err := to.Admit(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
		b.Run(name+"/save", func(b *testing.B) {
			for range b.N {
				if _, err := framed.Verify(bytes.NewReader(to.saved(b))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
