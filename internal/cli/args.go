package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rewrite doubles the dash of every long flag written with one, following the
// commands as they are named so that it knows which flags take a value: such a
// value is passed through whatever it looks like. What comes after "--" is left
// alone, and so is a lone "-", which means standard input.
func rewrite(root *cobra.Command, args []string) []string {
	if asksCobra(append([]string{""}, args...)) {
		return rewriteCompletion(root, args)
	}
	out := make([]string, 0, len(args))
	at := root
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return append(out, args[i:]...)
		case !strings.HasPrefix(arg, "-") || arg == "-":
			at = descend(at, arg)
			out = append(out, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag, short := lookup(at, name)
		if short {
			arg = "-" + strings.TrimLeft(arg, "-")
		} else {
			arg = "--" + strings.TrimLeft(arg, "-")
		}
		out = append(out, arg)
		if flag != nil && !hasValue && flag.NoOptDefVal == "" && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

// rewriteCompletion leaves the word that is being completed as it is.
func rewriteCompletion(root *cobra.Command, args []string) []string {
	last := len(args) - 1
	if last < 1 {
		return args
	}
	out := append([]string{args[0]}, rewrite(root, args[1:last])...)
	return append(out, args[last])
}

// descend returns the subcommand of at that is called name, or at itself. Once a
// command without subcommands is reached, all words are its arguments.
func descend(at *cobra.Command, name string) *cobra.Command {
	for _, sub := range at.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return at
}

// lookup finds a flag of command at, or of its parents, by its long name or by
// its letter.
func lookup(at *cobra.Command, name string) (flag *pflag.Flag, short bool) {
	at.InitDefaultHelpFlag()
	at.InitDefaultVersionFlag()
	for _, set := range []*pflag.FlagSet{at.Flags(), at.PersistentFlags(), at.InheritedFlags()} {
		if f := set.Lookup(name); f != nil {
			return f, false
		}
		if len(name) == 1 {
			if f := set.ShorthandLookup(name); f != nil {
				return f, true
			}
		}
	}
	return nil, false
}
