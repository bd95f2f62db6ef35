package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/audit"
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
			if err := config.absent(); err != nil {
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
	Warnings []string `json:"warnings"`
	NoEffect []string `json:"no_effect"`
	Notes    []string `json:"notes"`
}

// tellChecked tells of a configuration without mistakes.
func tellChecked(cmd *cobra.Command, c *Config) error {
	found, text := soundness{Valid: true, Warnings: append([]string{}, c.exposed()...), NoEffect: append([]string{}, c.Ignored...), Notes: []string{}}, ""
	for _, w := range found.Warnings {
		text += "Warning: " + w + "\n"
	}
	if len(c.Ignored) > 0 {
		text += fmt.Sprintf("No effect: %q\n", c.Ignored)
	}
	if s := c.Shared; s != nil && s.Member != nil && s.Member.Name == "" {
		const which = "Which of the members a node is, it finds by its machine's addresses, or is told by -node-id."
		found.Notes = append(found.Notes, which)
		text += which + "\n"
	}
	return report(cmd, found, text+"Success! A server would start with this configuration.\n")
}

// absent tells of directories for audit files that a start needs and does not make.
func (c *Config) absent() error {
	var errs []error
	for _, dir := range audit.Directories(c.Audit) {
		inside := slices.ContainsFunc(c.AuditDirs, func(made string) bool { return made == dir && c.own(made) })
		if info, err := os.Stat(dir); !inside && (err != nil || !info.IsDir()) {
			errs = append(errs, fmt.Errorf("audit: the directory %s is not there; make it: mkdir -p %s", dir, dir))
		}
	}
	return errors.Join(errs...)
}

// own reports whether a directory lies in the data directory, in which the server makes what it needs.
func (c *Config) own(dir string) bool {
	rel, err := filepath.Rel(c.DataDir, dir)
	return err == nil && c.DataDir != "" && filepath.IsLocal(rel)
}

// exposed tells of files with secrets that all users of the machine can read.
func (c *Config) exposed() (out []string) {
	for _, file := range c.secretFiles() {
		if info, err := os.Stat(file); err == nil && info.Mode()&fs.ModePerm&0o007 != 0 {
			out = append(out, fmt.Sprintf("%s holds a secret, and every user of this machine can read it: chmod 600 %s", file, file))
		}
	}
	return out
}

// secretFiles are the files that hold secrets, each once: private keys, and what has passwords of the store.
func (c *Config) secretFiles() (files []string) {
	files = slices.Clone(c.withPassword)
	for _, l := range c.Listeners {
		files = append(files, l.KeyFile)
	}
	if sh := c.Shared; sh != nil {
		switch {
		case sh.Postgres != nil:
			files = append(files, sh.Postgres.ConnFile)
		case sh.Etcd != nil:
			files = append(files, sh.Etcd.Cluster.KeyFile)
		case sh.Member != nil:
			files = append(files, sh.Member.KeyFile)
		}
	}
	slices.SortFunc(files, strings.Compare)
	return slices.DeleteFunc(slices.Compact(files), func(f string) bool { return f == "" })
}
