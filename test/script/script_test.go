// Package script runs sessions of the real binary as people have them in a terminal: each testdata/*.txtar is a script of
// commands with what they print and how they end. See commands_test.go for the commands that scripts have beside testscript's
// own.
package script

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/test/process"
)

// bin is the binary under test, built once.
var bin string

func TestMain(m *testing.M) {
	process.Main(func(dir string) (int, error) {
		var err error
		if bin, err = process.Build(dir); err != nil {
			return 1, err
		}
		for _, name := range []string{"vault", "bao"} { // it can stand in for these
			if err := os.Symlink(bin, filepath.Join(dir, name)); err != nil {
				return 1, err
			}
		}
		return m.Run(), nil
	})
}

// patience bounds all scripts together, so that a command that never ends is told as such.
const patience = 3 * time.Minute

func TestScripts(t *testing.T) {
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(patience),
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("DOCS", docs)
			env.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
			s := &session{env: env}
			env.Values[sessionKey{}] = s
			env.Defer(s.close)
			return nil
		},
		Cmds: commands(),
	})
}
