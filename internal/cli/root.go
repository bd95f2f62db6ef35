package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// commands lists what the program can do.
func commands() []command {
	return []command{
		statusCommand(), loginCommand(), kvCommands(),
		readCommand(), writeCommand(), patchCommand(), listCommand(), scanCommand(), deleteCommand(),
		unwrapCommand(), tokenCommands(), policyCommands(), secretsCommands(), authCommands(),
		auditCommands(), namespaceCommands(), leaseCommands(), operatorCommands(),
		pathHelpCommand(), printCommands(), versionCommand(), optionsCommand(),
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           a.name,
		Short:         "Keep and manage secrets",
		Long:          "Strongroom keeps secrets and manages them: who may use them, who did, and how they change.",
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
		return &exit{exitLocal, "Error: " + err.Error(), fmt.Sprintf("see %s --help", cmd.CommandPath())}
	})
	a.flags.register(root.PersistentFlags())
	for _, c := range commands() {
		root.AddCommand(c.cobra(a))
	}
	return root
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

Flags work with one dash or two. Run "{{.Root.Name}} options" for those that every command takes.
`

func optionsCommand() command {
	return command{
		use: "options", short: "Show the flags that every command takes",
		long:    "Each can come from the environment, too; see the names in brackets.",
		example: "options",
		run: func(c *call) error {
			root := c.root()
			return c.println(strings.TrimRight(root.PersistentFlags().FlagUsages(), "\n"))
		},
	}
}
