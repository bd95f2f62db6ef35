package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func auditCommands() command {
	return command{
		use: "audit", short: "Enable, list and disable audit devices",
		example: "audit enable file file_path=/var/log/strongroom/audit.log\naudit list -detailed",
		subs:    []command{auditList(), auditEnable(), auditDisable()},
	}
}

func auditList() command {
	var detailed bool
	return command{
		use: "list", short: "List the audit devices", example: "audit list -detailed",
		flags: func(f *pflag.FlagSet) { f.BoolVar(&detailed, "detailed", false, "show all that is known of each") },
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Read(c.ctx, "sys/audit", nil)
			if err != nil {
				return failed(err, "listing audit devices")
			}
			columns := []column{
				{"Path", mountField("path")}, {"Type", mountField("type")}, {"Description", mountField("description")},
			}
			if detailed {
				columns = append(columns, column{"Replication", replication}, column{"Options", settingsOf})
			}
			return c.show(s.Data, s.Data, func() error {
				if len(s.Data) == 0 {
					return errors.Join(c.println("No audit device is enabled."), &exit{code: exitServer})
				}
				return c.byPath(s.Data, columns)
			})
		}),
	}
}

// settingsOf are the options of an audit device as they are given: NAME=VALUE.
func settingsOf(m map[string]any) string {
	options, _ := m["options"].(map[string]any)
	var out []string
	for _, name := range sortedKeys(options) {
		out = append(out, name+"="+cell(options[name]))
	}
	return strings.Join(out, " ")
}

func auditEnable() command {
	var a client.Audit
	var path string
	return command{
		use: "enable TYPE [OPTION=VALUE...]", short: "Enable an audit device", args: atLeast(1), complete: oneOf("file", "socket", "stdout", "syslog"),
		long:    "TYPE is file, stdout, socket or another that the server knows.",
		example: "audit enable file file_path=$PWD/data/audit/audit.log\naudit enable -path=second file file_path=stdout",
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&path, "path", "", "`path` to enable it at; the type's name when not given")
			f.StringVar(&a.Description, "description", "", "`text` for people")
			f.BoolVar(&a.Local, "local", false, "do not replicate it")
		},
		run: connected(func(c *call, cl *client.Client) error {
			options, err := parseStringPairs("", c.input(), c.args[1:])
			if err != nil {
				return err
			}
			a.Type, a.Options = c.args[0], options
			at := mountPath(path)
			if path == "" {
				at = mountPath(a.Type)
			}
			if err := cl.Sys().EnableAudit(c.ctx, at, a); err != nil {
				return failed(err, "enabling the audit device")
			}
			return c.say("Success! Enabled the %s audit device at: %s", a.Type, at)
		}),
	}
}

func auditDisable() command {
	return command{
		use: "disable PATH", short: "Disable an audit device", example: "audit disable file", args: exactly(1), complete: completeAudit,
		run: connected(func(c *call, cl *client.Client) error {
			path := mountPath(c.args[0])
			if err := cl.Sys().DisableAudit(c.ctx, path); err != nil {
				return failed(err, "disabling %s", path)
			}
			return c.say("Success! Disabled the audit device (if it existed) at: %s", path)
		}),
	}
}

func namespaceNames(verb, short string, recursive bool) command {
	var detailed bool
	return command{
		use: verb, short: short, example: "namespace " + verb,
		flags: func(f *pflag.FlagSet) { f.BoolVar(&detailed, "detailed", false, "show all that is known of each") },
		run: connected(func(c *call, cl *client.Client) error {
			get := cl.List
			if recursive {
				get = cl.Scan
			}
			s, err := get(c.ctx, "sys/namespaces", client.Page{})
			if f, _ := c.format(); f == formatTable && nothing(err) {
				return &exit{exitServer, "No namespace lies below the one in force", "namespace create makes one"}
			}
			return c.listDetailed(s, err, "sys/namespaces", c.wantsDetails(detailed))
		}),
	}
}

func namespaceLookup() command {
	return command{
		use: "lookup PATH", short: "Tell about a namespace", example: "namespace lookup team", args: exactly(1), complete: completeNamespace,
		run: connected(func(c *call, cl *client.Client) error {
			path := cleanPath(c.args[0])
			s, err := cl.Read(c.ctx, client.JoinPath("sys/namespaces", path), nil)
			if err != nil {
				return notNamed(err, "reading", "namespace", mountPath(path))
			}
			return c.data(s)
		}),
	}
}

// data prints only the data of an envelope.
func (c *call) data(s *client.Secret) error {
	if s == nil || s.WrapInfo != nil {
		return c.secret(s)
	}
	c.warn(s)
	return c.object(s.Data)
}

func namespacePatch() command {
	var m kvMetadataFlags
	var seal sealFlags
	return command{
		use: "patch PATH", short: "Change a namespace's metadata, or give it a seal", args: exactly(1), complete: completeNamespace,
		long:    "With -key-shares it has a seal of its own from then on, as create makes one: while\nthere are no namespaces below it.",
		example: "namespace patch -custom-metadata=owner=bob -remove-custom-metadata=old team\nnamespace patch -key-shares=5 -key-threshold=3 team",
		flags: func(f *pflag.FlagSet) {
			f.Var(&m.custom, "custom-metadata", "`key=value` to keep; may be repeated")
			f.StringSliceVar(&m.remove, "remove-custom-metadata", nil, "`key` to remove; may be repeated")
			seal.register(f)
		},
		run: connected(func(c *call, cl *client.Client) error {
			path, body := cleanPath(c.args[0]), m.body(func(string) bool { return false })
			seal.into(body)
			s, err := cl.Patch(c.ctx, client.JoinPath("sys/namespaces", path), body)
			if err != nil {
				return failed(err, "changing namespace %s", mountPath(path))
			}
			return c.namespaceMade(s, seal.threshold)
		}),
	}
}

func namespaceDelete() command {
	var dry dryRun
	var yes bool
	return command{
		use: "delete PATH", short: "Delete a namespace and all it holds", args: exactly(1), complete: completeNamespace,
		long:    "What was lent in it is taken back, its key destroyed and its data removed, in the\nbackground. At a terminal its name is asked for first.",
		example: "namespace delete -dry-run team\nnamespace delete team\nnamespace delete -yes team",
		flags: func(f *pflag.FlagSet) {
			dry.flag(f)
			yesFlag(f, &yes)
		},
		run: connected(func(c *call, cl *client.Client) error {
			path := mountPath(c.args[0])
			if dry.on {
				return wouldDeleteNamespace(c, cl, path)
			}
			if err := c.agreed(yes, path, fmt.Sprintf("The namespace %s and all that is in it will be gone for good.", path)); err != nil {
				return err
			}
			if err := cl.Sys().DeleteNamespace(c.ctx, path[:len(path)-1]); err != nil {
				return failed(err, "deleting namespace %s", path)
			}
			return c.say("Success! Deleting namespace (if it existed): %s", path)
		}),
	}
}

// wouldDeleteNamespace lists the mounts within; a namespace that holds others is not deleted.
func wouldDeleteNamespace(c *call, cl *client.Client, path string) error {
	if _, err := cl.Sys().Namespace(c.ctx, cleanPath(path)); err != nil {
		return notNamed(err, "reading", "namespace", path)
	}
	within := cl.WithNamespace(client.JoinPath(cl.Namespace(), path))
	mounts, err := within.Sys().Mounts(c.ctx)
	if err != nil {
		return failed(err, "listing what is in %s", path)
	}
	below, err := orEmpty(within.Sys().Namespaces(c.ctx))
	if err != nil {
		return failed(err, "listing what is in %s", path)
	}
	if len(below) > 0 {
		return &exit{exitServer, fmt.Sprintf("Namespace %s would not be deleted: it holds the namespaces %s", path, someOf(below)), "delete those first"}
	}
	return c.wouldGo(fmt.Sprintf("the namespace %s", path), "mounts", sortedKeys(mounts))
}
