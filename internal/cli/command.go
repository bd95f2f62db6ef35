package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// command describes one command or, when it has subs, a family of them.
type command struct {
	use     string // name and arguments, as "get PATH"
	short   string // one line, without a full stop
	long    string // what more there is to know
	example string // lines without the program's name; "# …" lines are comments
	args    arity
	flags   func(*pflag.FlagSet)
	raw     bool              // whether -format=raw means something here
	check   func(*call) error // what can be refused before any request
	// anyFlags takes flags that the command does not know, and ignores them.
	anyFlags bool
	run      func(*call) error
	subs     []command
	// complete suggests the first argument to a shell; nil leaves it to the shell.
	complete completer
	// fields tells that what follows the first argument, a path, is data for it.
	fields bool
	// values are those that a flag can have, where they are few, for a shell.
	values map[string][]string
}

// arity is how many arguments a command takes; a max below 0 means any number.
type arity struct{ min, max int }

func exactly(n int) arity { return arity{n, n} }
func atLeast(n int) arity { return arity{n, -1} }

func (n arity) check(got int) error {
	switch {
	case got < n.min:
		return fmt.Errorf("not enough arguments: got %d, want %s", got, n)
	case n.max >= 0 && got > n.max:
		return fmt.Errorf("too many arguments: got %d, want %s", got, n)
	}
	return nil
}

func (n arity) String() string {
	switch {
	case n.max < 0:
		return fmt.Sprintf("at least %d", n.min)
	case n.min == n.max:
		return fmt.Sprint(n.min)
	}
	return fmt.Sprintf("%d to %d", n.min, n.max)
}

// call is one run of one command.
type call struct {
	*app
	ctx   context.Context
	args  []string
	given func(flag string) bool // whether the flag stands on the command line
}

// connected turns a function that needs a client into a command's run.
func connected(run func(*call, *client.Client) error) func(*call) error {
	return func(c *call) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		return run(c, cl)
	}
}

// cobra builds the command and its subs.
func (d command) cobra(a *app) *cobra.Command {
	out := &cobra.Command{
		Use:     d.use,
		Short:   d.short,
		Long:    a.guise.worded(strings.TrimSpace(d.short + ".\n\n" + d.long)),
		Example: d.examples(a.name),
		// Unknown subcommands are told from arguments here, not by cobra.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return d.start(a, cmd, args) },

		ValidArgsFunction: d.completion(a),
	}
	if d.flags != nil {
		d.flags(out.Flags())
	}
	out.Flags().SortFlags = false
	d.completeFlags(out)
	out.FParseErrWhitelist.UnknownFlags = d.anyFlags
	out.SuggestionsMinimumDistance = 2
	for _, sub := range d.subs {
		out.AddCommand(sub.cobra(a))
	}
	return out
}

func (d command) examples(program string) string {
	if d.example == "" {
		return ""
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(d.example), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			line = program + " " + line
		}
		lines = append(lines, "  "+line)
	}
	return strings.Join(lines, "\n")
}

func (d command) start(a *app, cmd *cobra.Command, args []string) error {
	if d.run == nil {
		return family(cmd, args)
	}
	if err := d.args.check(len(args)); err != nil {
		return &exit{exitLocal, "Error: " + err.Error(), fmt.Sprintf("usage: %s", cmd.UseLine())}
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	if format == formatRaw && !d.raw {
		return usagef("-format=raw: only read has it")
	}
	c := &call{
		app: a, ctx: cmd.Context(), args: args,
		given: func(flag string) bool { return cmd.Flags().Changed(flag) },
	}
	if d.check != nil {
		if err := d.check(c); err != nil {
			return err
		}
	}
	return d.run(c)
}

// family answers a family of commands named without one of them.
func family(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		if err := cmd.Help(); err != nil {
			return err
		}
		return &exit{code: exitWithout(cmd)}
	}
	return noSuch(cmd, args[0])
}
