package cli

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

const catalogPath = "sys/plugins/catalog"

func pluginCommands() command {
	const why, remedy = "plugins are no programs of their own here: engines and auth methods are built in",
		"plugin list shows those there are; secrets enable and auth enable use them"
	return command{
		use: "plugin", short: "Show which engines and auth methods there are", example: "plugin list\nplugin info secret kv",
		subs: append([]command{pluginList(), pluginInfo()}, in("plugin",
			refusal("register", "Refused: nothing is added to what is built in", why, remedy),
			refusal("deregister", "Refused: nothing is taken from what is built in", why, remedy),
			refusal("reload", "Refused: what is built in is never reloaded", why, remedy),
			refusal("reload-status", "Refused: what is built in is never reloaded", why, remedy),
			refusal("runtime", "Refused: there are no plugin runtimes", why, remedy),
			refusal("init", "Refused: no plugin is downloaded", why, remedy),
		)...),
	}
}

// pluginKinds are the types as the server lists them, by what people may call them.
func pluginKinds() map[string]string {
	return map[string]string{"auth": "auth", "secret": "secret", "secrets": "secret", "database": "database"}
}

func pluginKind(given string) (string, error) {
	if kind, ok := pluginKinds()[given]; ok {
		return kind, nil
	}
	return "", usagef("%q is no type of plugin: want auth, database or secret", given)
}

func pluginList() command {
	var detailed bool
	return command{
		use: "list [TYPE]", short: "List the engines and auth methods", args: arity{0, 1},
		long:    "TYPE is auth, database or secret.",
		example: "plugin list\nplugin list -detailed secret",
		flags:   func(f *pflag.FlagSet) { f.BoolVar(&detailed, "detailed", false, "show all that is known of each") },
		run: connected(func(c *call, cl *client.Client) error {
			only := ""
			if len(c.args) == 1 {
				kind, err := pluginKind(c.args[0])
				if err != nil {
					return err
				}
				only = kind
			}
			s, err := cl.Read(c.ctx, catalogPath, nil)
			if err != nil {
				return failed(err, "listing the plugins")
			}
			plugins := pluginsOf(s, only)
			return c.show(pluginView(s, plugins, only, detailed), s.Data, func() error {
				return c.table(pluginTable(plugins, detailed))
			})
		}),
	}
}

// pluginsOf are the catalogue's details, of one type or of all.
func pluginsOf(s *client.Secret, only string) []map[string]any {
	var out []map[string]any
	list, _ := s.Data["detailed"].([]any)
	for _, v := range list {
		if p, ok := v.(map[string]any); ok && (only == "" || p["type"] == only) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int {
		return slices.Compare([]string{cell(a["type"]), cell(a["name"])}, []string{cell(b["type"]), cell(b["name"])})
	})
	return out
}

// pluginView is what programs get: details, or the names by type.
func pluginView(s *client.Secret, plugins []map[string]any, only string, detailed bool) any {
	if detailed {
		return append([]map[string]any{}, plugins...)
	}
	names := map[string]any{}
	for _, kind := range []string{"auth", "database", "secret"} {
		if v, ok := s.Data[kind]; ok && (only == "" || only == kind) {
			names[kind] = v
		}
	}
	return names
}

func pluginTable(plugins []map[string]any, detailed bool) (header []string, rows [][]string) {
	header = []string{"Name", "Type", "Version"}
	if detailed {
		header = append(header, "Deprecation Status")
	}
	for _, p := range plugins {
		row := []string{cell(p["name"]), cell(p["type"]), cell(p["version"])}
		if detailed {
			row = append(row, cell(p["deprecation_status"]))
		}
		rows = append(rows, row)
	}
	return header, rows
}

func pluginInfo() command {
	var version string
	return command{
		use: "info TYPE NAME", short: "Tell about one engine or auth method", args: exactly(2),
		example: "plugin info secret kv",
		flags:   func(f *pflag.FlagSet) { f.StringVar(&version, "version", "", "`version` to tell about") },
		run: connected(func(c *call, cl *client.Client) error {
			kind, err := pluginKind(c.args[0])
			if err != nil {
				return err
			}
			data := map[string]any{}
			if version != "" {
				data["version"] = version
			}
			path := client.JoinPath(catalogPath, kind, c.args[1])
			s, err := cl.Read(c.ctx, path, query(data))
			if err != nil {
				return notNamed(err, "reading", "plugin", kind+"/"+c.args[1])
			}
			return c.data(s)
		}),
	}
}
