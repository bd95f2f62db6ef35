// Package engine owns running tests and measurements over each store that the product has: it starts what a store needs, a
// private PostgreSQL server or an etcd, and says in the language of the configuration where a server's own part of it lies.
// Any number of servers share what was started, each with a schema or a prefix of its own, and a member of etcd runs in each
// server that asks for one. Nothing of it is part of the product.
package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/process"
)

// Variable is the variable of the environment with which tests are run over another store than their own choice. It holds a
// Template; `go run ./test/engine/with ENGINE COMMAND` sets it.
const Variable = "STRONGROOM_TEST_STORAGE"

// Names are the stores there are. In "etcd" a cluster runs by itself, in "member" it is in the server's process.
func Names() []string { return []string{"mem", "pebble", "postgres", "etcd", "member"} }

// Engine is a store that servers can use.
type Engine struct {
	Name string
	// Postgres is the database server; nil: it is none.
	Postgres *postgres.Server

	text  Template
	close func() error
}

// Template is a storage block of the configuration in which words stand for what each server has of its own: NAME for a name,
// DIR for a directory, ADDR for a free address.
type Template string

// Start starts what the store needs. It is as safe as one in production: commits are synced.
func Start(name string) (*Engine, error) { return start(name, true) }

// StartUnsynced is Start for tests of what is answered, not of what outlives a power cut: PostgreSQL and etcd do not wait for
// the disk, in which such tests would spend most of their time.
func StartUnsynced(name string) (*Engine, error) { return start(name, false) }

func start(name string, synced bool) (*Engine, error) {
	e := &Engine{Name: name, close: func() error { return nil }}
	switch name {
	case "mem":
		e.text = `storage "inmem" {}`
	case "pebble":
		e.text = `storage "pebble" { path = "DIR" }`
	case "member":
		e.text = "storage \"etcd\" {\n  path = \"DIR\"\n  node_id = \"a\"\n  member \"a\" { peer_url = \"http://ADDR\" }\n}"
	case "postgres":
		return e, e.startPostgres(synced)
	case "etcd":
		return e, e.startEtcd(synced)
	default:
		return nil, fmt.Errorf("no store is called %q: there are %s", name, strings.Join(Names(), ", "))
	}
	return e, nil
}

func (e *Engine) startPostgres(synced bool) (err error) {
	dir, env := "", []string(nil)
	clean := func() error { return os.RemoveAll(dir) }
	if !synced {
		if dir, err = os.MkdirTemp("", "unsynced"); err == nil {
			env, err = postgres.Unsynced(dir)
		}
		if err != nil {
			return errors.Join(err, clean())
		}
	}
	s, err := postgres.StartIn("", env, "max_connections=600")
	if err != nil {
		return errors.Join(err, clean())
	}
	e.Postgres, e.close = s, func() error { return errors.Join(s.Remove(), clean()) }
	e.text = Template(fmt.Sprintf("storage \"postgres\" {\n  connection_url = %q\n  schema = \"NAME\"\n}", s.URL()))
	return nil
}

// Close ends what was started.
func (e *Engine) Close() error { return e.close() }

// Template is how servers reach the store.
func (e *Engine) Template() Template { return e.text }

// Chosen is the store that the environment chooses; empty: none.
func Chosen() Template { return Template(os.Getenv(Variable)) }

// Fleet reports whether several nodes can share the store.
func (t Template) Fleet() bool {
	return strings.HasPrefix(string(t), `storage "postgres"`) || strings.HasPrefix(string(t), `storage "etcd"`)
}

// Block is the storage block of a new server whose data, where it keeps any itself, lie in dir.
func (t Template) Block(dir string) (string, error) {
	addr := ""
	if strings.Contains(string(t), "ADDR") {
		var err error
		if addr, err = process.FreeAddr(); err != nil {
			return "", err
		}
	}
	return strings.NewReplacer("NAME", "s"+strings.ToLower(rand.Text()), "DIR", dir, "ADDR", addr).Replace(string(t)), nil
}

// Config writes a configuration file, that of a server whose files lie in dir: the storage block and further settings. The
// same dir gives the same store again.
func (t Template) Config(dir, settings string) (file string, err error) {
	block, kept := "", filepath.Join(dir, "storage.hcl")
	text, err := os.ReadFile(kept)
	if block = string(text); errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			block, err = t.Block(filepath.Join(dir, "store"))
		}
		err = errors.Join(err, os.WriteFile(kept, []byte(block), 0o600))
	}
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "config.hcl")
	return file, os.WriteFile(file, []byte(block+"\n"+settings+"\n"), 0o600)
}

// LocalSlot is the setting by which a server unseals itself, with a key in dir, and prints a root token at its first start.
func LocalSlot(dir string) string {
	return fmt.Sprintf("seal \"file\" { path = %q }", filepath.Join(dir, "keys"))
}

// Durable starts a server on the store whose files lie in dir. settings are further lines of its configuration.
func (t Template) Durable(bin, dir, settings string, flags ...string) (*process.Server, error) {
	config, err := t.Config(dir, settings)
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	return process.Start(addr, bin, append([]string{"server", "-config=" + config, "-listen=" + addr}, flags...)...)
}
