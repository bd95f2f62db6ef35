package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// leaves are the commands that do something, by their full names.
func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	var out []*cobra.Command
	for _, sub := range cmd.Commands() {
		out = append(out, leaves(sub)...)
	}
	return out
}

func TestEveryCommandIsExplained(t *testing.T) {
	for _, cmd := range leaves(testApp().root()) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", cmd.CommandPath(), cmd.Short)
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: no example of it", cmd.CommandPath())
		}
	}
}

// TestFamiliesAreShown has the help of each family of commands show how it is used, and that
// of operator say what exit codes mean.
func TestFamiliesAreShown(t *testing.T) {
	for _, cmd := range everyCommand(testApp().root()) {
		if !cmd.HasSubCommands() || !cmd.HasParent() {
			continue
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()+" ") {
			t.Errorf("%s: no example", cmd.CommandPath())
		}
	}
	for _, line := range []string{"operator --help", "options"} {
		if r := run(t, newFake(t, nil), t.TempDir(), line); !strings.Contains(r.stdout, "Exit codes: 0 ") {
			t.Errorf("%s does not say what exit codes mean", line)
		}
	}
}

// TestExamplesParse runs each example as far as its flags: help that shows a flag
// which does not exist is worse than none.
func TestExamplesParse(t *testing.T) {
	for _, cmd := range leaves(testApp().root()) {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			words := strings.Fields(line)
			if len(words) == 0 || words[0] != "strongroom" {
				continue
			}
			if end := slices.IndexFunc(words, func(w string) bool { return w == "<<<" || w == "<" }); end > 0 {
				words = words[:end]
			}
			root := testApp().root()
			found, rest, err := root.Find(rewrite(root, words[1:]))
			if err != nil {
				t.Errorf("%q: %v", line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if found.CommandPath() != cmd.CommandPath() {
				t.Errorf("%q is an example of %s, not of %s", line, found.CommandPath(), cmd.CommandPath())
			}
		}
	}
}

// TestCommandsOfTheDialect names what people type out of habit.
func TestCommandsOfTheDialect(t *testing.T) {
	const known = `status login read write patch list scan delete unwrap path-help version
		kv:get kv:put kv:patch kv:delete kv:undelete kv:destroy kv:list kv:scan kv:rollback kv:enable-versioning
		kv:metadata:get kv:metadata:put kv:metadata:patch kv:metadata:delete
		token:create token:lookup token:renew token:revoke token:capabilities
		policy:list policy:read policy:write policy:delete policy:fmt policy:test policy:explain
		secrets:list secrets:enable secrets:disable secrets:tune secrets:move
		auth:list auth:enable auth:disable auth:tune auth:move auth:help audit:list audit:enable audit:disable
		namespace:list namespace:create namespace:delete namespace:lookup namespace:patch
		operator:init operator:unseal operator:seal operator:key-status operator:rotate
		lease:lookup lease:renew lease:revoke print:token`
	for name := range strings.FieldsSeq(known) {
		words := strings.Split(name, ":")
		found, rest, err := testApp().root().Find(words)
		if err != nil || len(rest) > 0 || found.Name() != words[len(words)-1] {
			t.Errorf("%s: not there", name)
		}
	}
}

// TestLackingCommands: who types a command that there is not is told what there is.
func TestLackingCommands(t *testing.T) {
	f := newFake(t, nil)
	for name, want := range map[string]string{"logout": "token revoke -self", "agent": "programs ask the server themselves", "lgin": "strongroom login?"} {
		if r := run(t, f, t.TempDir(), name); r.code != exitLocal || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %d %s", name, r.code, r.stderr)
		}
	}
}

func TestCompletionIsThere(t *testing.T) {
	f := newFake(t, nil)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := run(t, f, t.TempDir(), "completion "+shell)
		if r.code != 0 || !strings.Contains(r.stdout, "strongroom") {
			t.Errorf("%s: %d %s", shell, r.code, r.stderr)
		}
	}
	r := run(t, f, t.TempDir(), "__complete kv me")
	if !strings.HasPrefix(r.stdout, "metadata\t") {
		t.Errorf("completing kv me: %q", r.stdout)
	}
}

func TestStandInVersions(t *testing.T) {
	for program, want := range map[string]string{
		"vault": "Vault v1.17.0 (", "bao": "OpenBao v2.0.0 (", "strongroom": "Strongroom ",
	} {
		if got := versionText(program); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", program, got)
		}
	}
}
