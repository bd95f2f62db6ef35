// Package compat drives the real server with the unmodified Go clients of Vault and OpenBao, over everything Strongroom
// claims to answer as they do: what the helpers of those clients ask for, what they parse out of answers, and what they make
// of errors, of empty lists, of second calls and of what is gone.
package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/test/engine"
	"github.com/strongroom/strongroom/test/process"
)

// rootToken is the root token of every server these tests start in memory.
const rootToken = "root"

// world is what one run of the tests shares: the binary, built once, and one server in memory, which tests that neither seal
// nor cripple it share by working on mounts, policies and tokens of their own.
var world struct {
	bin    string
	shared *process.Server
}

func TestMain(m *testing.M) {
	if how := os.Getenv(loginVariable); how != "" {
		os.Exit(logIn(how))
	}
	process.Main(func(dir string) (int, error) {
		var err error
		if world.bin, err = process.Build(dir); err != nil {
			return 1, err
		}
		if world.shared, err = startDev(dir, ""); err != nil {
			return 1, err
		}
		return m.Run(), world.shared.Kill()
	})
}

// startDev starts a development server in memory or, where the environment chooses a store, one like it on that store. Its
// files lie in dir.
func startDev(dir, settings string) (*process.Server, error) {
	if storage := engine.Chosen(); storage != "" {
		return storage.Dev(world.bin, filepath.Join(dir, "server"), rootToken, settings)
	}
	config := filepath.Join(dir, "config.hcl")
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	return process.DevConfigured(world.bin, rootToken, config)
}

// startDurable starts a server on the embedded store or on the one that the environment chooses.
func startDurable(dir, settings string) (*process.Server, error) {
	storage := engine.Chosen()
	if storage == "" {
		storage = `storage "pebble" { path = "DIR" }`
	}
	return storage.Durable(world.bin, dir, settings)
}

// devServer starts a server in memory that the test has for itself, and that may write audit files below the directory.
func devServer(t *testing.T) (s *process.Server, auditDir string) {
	t.Helper()
	auditDir = t.TempDir()
	s, err := startDev(t.TempDir(), fmt.Sprintf("audit_directory = %q", auditDir))
	return owned(t, s, err), auditDir
}

// owned ends the server with the test, printing what it said where the test failed.
func owned(t *testing.T, s *process.Server, err error) *process.Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", s.Output())
		}
	})
	return s
}
