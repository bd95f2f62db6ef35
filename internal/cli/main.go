package cli

import (
	"cmp"
	"context"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// app is one run of the program: where it reads and writes, and the flags every
// command takes.
type app struct {
	name   string // as the program was called
	called string // with the path, if there was one
	guise  guise
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	flags  globals
	told   map[string]bool // warnings that were shown
	asks   bool            // it asks for second factors itself, and need not be told that they are needed
	// unknown is the command that help was asked for though it does not exist.
	unknown error
}

// Main runs the program with args, of which the first is the program's name, and
// returns its exit code. The extra commands are added beside this package's own.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string, extra ...*cobra.Command) int {
	return Run(context.Background(), args, stdin, stdout, stderr, getenv, extra...)
}

// Run is Main with a context, which ends requests under way when it is done.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string, extra ...*cobra.Command) int {
	a := newApp(args, stdin, stdout, stderr, getenv)
	root := a.root()
	for _, cmd := range extra {
		cmd.Example = strings.ReplaceAll(cmd.Example, "  strongroom ", "  "+a.name+" ")
		familyOf(root, cmd).AddCommand(cmd)
	}
	a.completionFamily(root)
	a.autocomplete(root)
	a.strictHelp(root)
	strictHelpCommand(root)
	if line := getenv("COMP_LINE"); line != "" && !asksCobra(args) {
		return a.completeLine(ctx, root, line, getenv("COMP_POINT"), args)
	}
	if asksCobra(args) {
		return a.completeForScript(ctx, root, args[1:])
	}
	root.SetArgs(rewrite(root, args[min(1, len(args)):]))
	err := cmp.Or(root.ExecuteContext(ctx), a.unknown)
	if err != nil {
		a.report(err)
	}
	return exitCode(err)
}

// asksCobra tells the calls that cobra's own completion scripts make.
func asksCobra(args []string) bool {
	return len(args) > 1 && (args[1] == cobra.ShellCompRequestCmd || args[1] == cobra.ShellCompNoDescRequestCmd)
}

// FamilyAnnotation names, on a command from elsewhere, the family that it joins, with
// the families that this one is in before it.
const FamilyAnnotation = "family"

func familyOf(root, cmd *cobra.Command) *cobra.Command {
	family := root
	for word := range strings.FieldsSeq(cmd.Annotations[FamilyAnnotation]) {
		for _, sub := range family.Commands() {
			if sub.Name() == word {
				family = sub
			}
		}
	}
	return family
}

func newApp(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *app {
	name := programName(args)
	g := guiseOf(name)
	return &app{name: name, called: called(args), guise: g, stdin: stdin, stdout: stdout, stderr: stderr, getenv: g.environment(getenv)}
}

func programName(args []string) string {
	return strings.TrimSuffix(filepath.Base(called(args)), ".exe")
}

func called(args []string) string {
	if len(args) == 0 {
		return "strongroom"
	}
	return args[0]
}
