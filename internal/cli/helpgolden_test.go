package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand is cmd and all below it.
func everyCommand(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		out = append(out, everyCommand(sub)...)
	}
	return out
}

// TestHelpGolden pins the help of each command in testdata/help, one file for each
// family. -update writes them anew.
func TestHelpGolden(t *testing.T) {
	root := testApp().root()
	files := map[string]bool{}
	for _, family := range root.Commands() {
		name := filepath.Join("testdata", "help", family.Name()+".txt")
		files[name] = true
		got := helpOf(t, family)
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Errorf("%v: write it with go test ./internal/cli -run TestHelpGolden -update", err)
			continue
		}
		compare(t, string(want), got)
	}
	kept, err := filepath.Glob("testdata/help/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		if !files[name] {
			t.Errorf("%s is the help of no command", name)
		}
	}
}

func helpOf(t *testing.T, family *cobra.Command) string {
	t.Helper()
	var b strings.Builder
	for _, cmd := range everyCommand(family) {
		var out, errs bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath()), "-h")
		if code := Main(args, strings.NewReader(""), &out, &errs, func(string) string { return "" }); code != 0 || errs.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", args, code, errs.String())
		}
		fmt.Fprintf(&b, "$ %s\n%s\n", strings.Join(args, " "), out.String())
	}
	return b.String()
}
