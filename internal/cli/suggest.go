package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/spelling"
)

// strictHelp makes the help of a command that does not exist an error, which cobra
// answers with that of the family it would be in.
func (a *app) strictHelp(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
			a.unknown = family(cmd, words)
			return
		}
		help(cmd, args)
	})
}

// strictHelpCommand makes "help COMMAND" tell, too, when there is no such command.
func strictHelpCommand(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.RunE = helpOn
		}
	}
}

func helpOn(help *cobra.Command, words []string) error {
	cmd, rest, err := help.Root().Find(words)
	switch {
	case err != nil:
		return err
	case cmd.HasSubCommands() && len(rest) > 0:
		return noSuch(cmd, rest[0])
	}
	cmd.InitDefaultHelpFlag()
	return cmd.Help()
}

// noSuch is the error for a command that is not there.
func noSuch(cmd *cobra.Command, name string) error {
	hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %s %s?", cmd.CommandPath(), spelling.Nearest(name, near))
	}
	if lack := lacking(name); lack != "" && !cmd.HasParent() {
		hint = lack
	}
	return &exit{exitWithout(cmd), fmt.Sprintf("Error: %s has no command %q", cmd.CommandPath(), name), hint}
}

// exitWithout is the exit code where a command that there is was wanted: of all
// commands, vault and bao have their own.
func exitWithout(cmd *cobra.Command) int {
	if !cmd.HasParent() && guiseOf(cmd.Name()).prefixes[0] != ownPrefix {
		return exitNoCommand
	}
	return exitLocal
}

// lacking says of a command that people know from the dialect's programs, and this
// version lacks, what there is instead; empty for other words.
func lacking(name string) string {
	switch name {
	case "agent", "proxy":
		return "this version has no " + name + ": programs ask the server themselves, or are handed what read -field prints"
	case "pki", "ssh", "transit", "transform":
		return "this version has no such engine: plugin list shows those there are"
	case "events":
		return "this version sends no events: monitor shows the log, and an audit device what was asked"
	case "logout":
		return "token revoke -self ends the token in force, and forgets it where login has kept it"
	case "quota", "quotas":
		return "write sys/quotas/rate-limit/NAME and sys/quotas/lease-count/NAME set one; list shows them, and path-help what they take"
	case "identity", "entity", "group":
		return "read, write and list do it: list identity/entity/name, list identity/group/name; path-help shows what a path takes"
	case "hcp":
		return "there is no such service: VAULT_ADDR says which server is asked"
	}
	return ""
}
