package server

import (
	"errors"
	"fmt"

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
			return tellChecked(cmd, config)
		},
	}
	c.Flags().StringArrayVar(&files, "config", nil, "configuration `FILE` in HCL or JSON; may be repeated")
	return c
}

// soundness is what a configuration without mistakes comes to.
type soundness struct {
	Valid    bool     `json:"valid"`
	NoEffect []string `json:"no_effect"`
	Notes    []string `json:"notes"`
}

// tellChecked tells of a configuration without mistakes.
func tellChecked(cmd *cobra.Command, c *Config) error {
	found, text := soundness{Valid: true, NoEffect: append([]string{}, c.Ignored...), Notes: []string{}}, ""
	if len(c.Ignored) > 0 {
		text = fmt.Sprintf("No effect: %q\n", c.Ignored)
	}
	if s := c.Shared; s != nil && s.Member != nil && s.Member.Name == "" {
		found.Notes = append(found.Notes, "Which of the members a node is, it finds by its machine's addresses, or is told by -node-id.")
		text += found.Notes[0] + "\n"
	}
	return report(cmd, found, text+"Success! A server would start with this configuration.\n")
}
