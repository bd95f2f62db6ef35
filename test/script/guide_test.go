package script

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/test/readme"
)

// guideCommand runs what a guide tells people to run, as they would paste it: in order and in one shell, which stops at the
// first failure.
func guideCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "guide FILE")
	text, err := os.ReadFile(filepath.Join(ts.Getenv("DOCS"), args[0]))
	ts.Check(err)
	blocks := readme.Runnable(string(text))
	if len(blocks) == 0 {
		ts.Fatalf("%s has no block that is fenced as ```sh runnable", args[0])
	}
	ts.Check(ts.Exec("bash", "-euo", "pipefail", "-c", strings.Join(blocks, "\n")))
}
