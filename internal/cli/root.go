package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/internal/spelling"
)

// commands lists what the program can do.
func commands() []command {
	return []command{
		statusCommand(), loginCommand(), mfaCommands(), kvCommands(),
		readCommand(), writeCommand(), patchCommand(), listCommand(), scanCommand(), deleteCommand(),
		unwrapCommand(), tokenCommands(), policyCommands(), secretsCommands(), authCommands(),
		auditCommands(), namespaceCommands(), leaseCommands(), withSubs(operatorCommands(), nodeCommands()),
		pluginCommands(), debugCommand(), monitorCommand(), versionHistoryCommand(),
		pathHelpCommand(), printCommands(), versionCommand(), optionsCommand(),
	}
}

// withSubs adds to a family what is kept elsewhere.
func withSubs(family command, subs []command) command {
	family.subs = append(family.subs, subs...)
	return family
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           a.name,
		Short:         "Keep and manage secrets",
		Long:          "Strongroom keeps secrets and manages them: who may use them, who did, and how they change.",
		Example:       rootExample(a.name),
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionText(a.name),
		Args:          cobra.ArbitraryArgs,
		RunE:          family,

		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exit{exitLocal, "Error: " + flagError(err), flagHint(cmd, err)}
	})
	a.flags.register(root.PersistentFlags(), a.guise.worded)
	for _, c := range commands() {
		root.AddCommand(c.cobra(a))
	}
	return root
}

// rootExample is how somebody begins.
func rootExample(program string) string {
	return command{example: `
		# a server to try things with, which ends with its secrets; then, in another terminal
		dev -root-token=root
		login root
		kv put secret/db user=app password=@password.txt
		kv get -field=password secret/db
		# a server that keeps them
		server -data=data`}.examples(program)
}

// flagError words a flag's refusal for people; that of a number or a switch would
// name a function of Go's.
func flagError(err error) string {
	var value *pflag.InvalidValueError
	var number *strconv.NumError
	if !errors.As(err, &value) || !errors.As(err, &number) {
		return err.Error()
	}
	want := "a whole number"
	switch {
	case number.Func == "ParseBool":
		want = "true or false"
	case errors.Is(err, strconv.ErrRange):
		want = "a smaller number"
	}
	return fmt.Sprintf("-%s=%s: want %s", value.GetFlag().Name, value.GetValue(), want)
}

// flagHint names the flag of a command that was probably meant by one that it has not.
func flagHint(cmd *cobra.Command, err error) string {
	see := fmt.Sprintf("see %s --help", cmd.CommandPath())
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return see
	}
	flags := map[string]string{} // by names as spelling compares them
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.InheritedFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				flags[strings.ReplaceAll(f.Name, "-", "_")] = f.Name
			}
		})
	}
	if meant := spelling.Meant(unknown.GetSpecifiedName(), sortedKeys(flags)); meant != "" {
		return fmt.Sprintf("did you mean -%s? %s", flags[meant], see)
	}
	return see + ", and " + cmd.Root().Name() + " options"
}

// usageTemplate leaves the flags that every command takes to the options command.
const usageTemplate = `Usage:
  {{.UseLine}}{{if .HasAvailableSubCommands}} COMMAND{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Flags work with one dash or two. Run "{{.Root.Name}} options" for those that every command takes, and for exit codes.
`

func optionsText(g guise) string {
	return fmt.Sprintf(`The names in brackets are environment variables, which count where the flag is not
given. Each is also read with %[2]s or %[3]s in place of %[1]s, in this order.
The token is %[1]sTOKEN's, or else the one that login stored. There are also
%[1]sCLIENT_TIMEOUT, %[1]sMAX_RETRIES, %[1]sRATE_LIMIT (requests a second, or
rate:burst), %[1]sPROXY_ADDR, %[1]sHEADERS (a JSON object), %[1]sTOKEN_PATH
and %[1]sCONFIG_PATH, the file that names a token helper.

Exit codes: 0 it is done; 1 the command is wrong, or something on this machine failed;
2 the server refused it, is not reached, or has nothing there.
status, operator init -status and operator validate-config say in their help what theirs mean.`, g.prefixes[0], g.prefixes[1], g.prefixes[2])
}

func optionsCommand() command {
	return command{
		use: "options", short: "Show the flags that every command takes",
		example: "options",
		run: func(c *call) error {
			flags := c.root().PersistentFlags().FlagUsages()
			return c.println(strings.TrimRight(flags, "\n") + "\n\n" + optionsText(c.guise))
		},
	}
}
