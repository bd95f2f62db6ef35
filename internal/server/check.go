package server

import (
	"errors"

	"github.com/spf13/cobra"
)

// checkCommand reads a configuration as a start would, and starts nothing.
func checkCommand() *cobra.Command {
	var files []string
	c := &cobra.Command{
		Use:     "validate-config",
		Aliases: []string{"diagnose"},
		Short:   "Check a server's configuration",
		Long: `Check a server's configuration.

Every mistake is told with its file, line and remedy, and what will have no
effect is named. The exit code is 1 when a server would not start with it.
Certificates are read; no address is listened on, no store is opened and no
file is made.`,
		Example:     "  strongroom operator validate-config -config=strongroom.hcl",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{"family": "operator"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return errors.New("say which configuration: -config=FILE")
			}
			config, err := (&flags{configs: files}).config()
			if err == nil {
				err = config.Validate()
			}
			if err != nil {
				return err
			}
			if len(config.Ignored) > 0 {
				cmd.Printf("No effect: %q\n", config.Ignored)
			}
			if c := config.Shared; c != nil && c.Member != nil && c.Member.Name == "" {
				cmd.Println("Which of the members a node is, it finds by its machine's addresses, or is told by -node-id.")
			}
			cmd.Println("Success! A server would start with this configuration.")
			return nil
		},
	}
	c.Flags().StringArrayVar(&files, "config", nil, "configuration `FILE` in HCL or JSON; may be repeated")
	return c
}
