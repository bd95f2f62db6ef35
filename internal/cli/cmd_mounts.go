package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// mountKind is what the commands of secret engines and of auth methods differ in.
type mountKind struct {
	family   string // the command family
	what     string // what one is called
	api      string // where they are listed, enabled and tuned
	prefix   string // before their paths elsewhere in the API
	examples struct{ typ, path string }
	columns  []column // of the short list
	auth     bool
}

func secretsKind() mountKind {
	k := mountKind{family: "secrets", what: "secrets engine", api: "sys/mounts"}
	k.examples.typ, k.examples.path = "kv", "team"
	k.columns = []column{
		{"Path", mountField("path")}, {"Type", mountField("type")},
		{"Accessor", mountField("accessor")}, {"Description", mountField("description")},
	}
	return k
}

func authKind() mountKind {
	k := mountKind{family: "auth", what: "auth method", api: "sys/auth", prefix: "auth", auth: true}
	k.examples.typ, k.examples.path = "userpass", "people"
	k.columns = append(secretsKind().columns, column{"Version", mountField("plugin_version")})
	return k
}

func secretsCommands() command {
	return secretsKind().commands("Enable, tune, move and disable secret engines")
}

func authCommands() command {
	d := authKind().commands("Enable, tune, move and disable auth methods")
	d.subs = append(d.subs, authHelp())
	return d
}

// one is what one is called, with its article.
func (k mountKind) one() string {
	if k.auth {
		return "an " + k.what
	}
	return "a " + k.what
}

func (k mountKind) commands(short string) command {
	return command{
		use: k.family, short: short,
		example: fmt.Sprintf("%[1]s enable %[2]s\n%[1]s list -detailed\n%[1]s tune -max-lease-ttl=24h %[2]s", k.family, k.examples.typ),
		subs:    []command{k.list(), k.enable(), k.disable(), k.tune(), k.move()},
	}
}

// column is a column of a list of mounts; value gets the mount as the server
// tells it, with its path added.
type column struct {
	title string
	value func(mount map[string]any) string
}

func mountField(name string) func(map[string]any) string {
	return func(m map[string]any) string { return cell(m[name]) }
}

func configField(name string) func(map[string]any) string {
	return func(m map[string]any) string {
		config, _ := m["config"].(map[string]any)
		return cell(config[name])
	}
}

// cell is plain but leaves absent values empty.
func cell(v any) string {
	if v == nil {
		return ""
	}
	return plain(v)
}

// ttlField shows the system's TTL as such; mounts of the server's own have none.
func ttlField(name string) func(map[string]any) string {
	return func(m map[string]any) string {
		switch m["type"] {
		case "system", "cubbyhole", "identity", "ns_system", "ns_cubbyhole", "ns_identity":
			return ""
		}
		seconds, err := strconv.ParseInt(configField(name)(m), 10, 64)
		if err != nil || seconds == 0 {
			return "system"
		}
		return humanSeconds(seconds)
	}
}

func replication(m map[string]any) string {
	if m["local"] == true {
		return "local"
	}
	return "replicated"
}

func optionsOf(m map[string]any) string {
	if m["options"] == nil {
		return "map[]"
	}
	return fmt.Sprint(m["options"]) // as scripts look for it: map[version:2]
}

func (k mountKind) detailed() []column {
	out := []column{
		{"Path", mountField("path")}, {"Plugin", mountField("type")}, {"Accessor", mountField("accessor")},
		{"Default TTL", ttlField("default_lease_ttl")}, {"Max TTL", ttlField("max_lease_ttl")},
	}
	if k.auth {
		out = append(out, column{"Token Type", configField("token_type")})
	} else {
		out = append(out, column{"Force No Cache", configField("force_no_cache")})
	}
	return append(out,
		column{"Replication", replication}, column{"Seal Wrap", mountField("seal_wrap")},
		column{"External Entropy Access", mountField("external_entropy_access")}, column{"Options", optionsOf},
		column{"Description", mountField("description")}, column{"UUID", mountField("uuid")},
		column{"Version", mountField("plugin_version")}, column{"Running Version", mountField("running_plugin_version")},
		column{"Running SHA256", mountField("running_sha256")}, column{"Deprecation Status", mountField("deprecation_status")},
	)
}

func (k mountKind) list() command {
	var detailed bool
	return command{
		use: "list", short: fmt.Sprintf("List the %ss", k.what), example: k.family + " list -detailed",
		flags: func(f *pflag.FlagSet) { f.BoolVar(&detailed, "detailed", false, "show all that is known of each") },
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Read(c.ctx, k.api, nil)
			if err != nil {
				return failed(err, "listing %ss", k.what)
			}
			columns := k.columns
			if detailed {
				columns = k.detailed()
			}
			return c.show(s.Data, s.Data, func() error { return c.byPath(s.Data, columns) })
		}),
	}
}

// byPath prints a table of objects that a map holds by their paths.
func (c *call) byPath(objects map[string]any, columns []column) error {
	header := make([]string, len(columns))
	for i, col := range columns {
		header[i] = col.title
	}
	var rows [][]string
	for _, path := range sortedKeys(objects) {
		object, ok := objects[path].(map[string]any)
		if !ok {
			continue
		}
		with := map[string]any{"path": path}
		for k, v := range object {
			if k != "path" {
				with[k] = v
			}
		}
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = col.value(with)
		}
		rows = append(rows, row)
	}
	return c.table(header, rows)
}

// mountFlags are what enable and tune can set. Only those given are sent.
type mountFlags struct {
	path, description       string
	defaultTTL, maxTTL      ttl
	requestKeys, answerKeys []string
	requestHeaders, headers []string
	visibility, tokenType   string
	options                 keyValues
	version                 int
	local, sealWrap         bool
	noCache, entropy        bool
	plugin, pluginVersion   string
	lockout                 lockoutFlags
}

func (m *mountFlags) tuning(f *pflag.FlagSet, k mountKind) {
	f.StringVar(&m.description, "description", "", "`text` for people")
	f.Var(&m.defaultTTL, "default-lease-ttl", "default lifetime of leases and tokens; negative means the system's")
	f.Var(&m.maxTTL, "max-lease-ttl", "longest lifetime of leases and tokens; negative means the system's")
	f.StringSliceVar(&m.requestKeys, "audit-non-hmac-request-keys", nil, "`field` of requests to write to the audit log as it is; may be repeated")
	f.StringSliceVar(&m.answerKeys, "audit-non-hmac-response-keys", nil, "the same for `field`s of answers")
	f.StringVar(&m.visibility, "listing-visibility", "", "`who` sees the mount in lists: unauth is anyone, hidden only who may ask for all")
	f.StringSliceVar(&m.requestHeaders, "passthrough-request-headers", nil, "`header` of requests to hand on; may be repeated")
	f.StringSliceVar(&m.headers, "allowed-response-headers", nil, "`header` that answers may set; may be repeated")
	f.Var(&m.options, "options", "`key=value` option of the mount; may be repeated")
	f.IntVar(&m.version, "version", 0, "`number` of the engine's version, as 2 for versioned kv")
	f.StringVar(&m.pluginVersion, "plugin-version", "", "`version` of the plugin")
	if k.auth {
		m.lockout.register(f)
		f.StringVar(&m.tokenType, "token-type", "", "`kind` of token to give: default-service, default-batch, service or batch")
	}
}

func (m *mountFlags) enabling(f *pflag.FlagSet, k mountKind) {
	f.StringVar(&m.path, "path", "", "`path` to enable it at; the type's name when not given")
	m.tuning(f, k)
	f.BoolVar(&m.local, "local", false, "do not replicate it")
	f.BoolVar(&m.sealWrap, "seal-wrap", false, "wrap critical values with the seal, too")
	f.BoolVar(&m.noCache, "force-no-cache", false, "do not cache it")
	f.BoolVar(&m.entropy, "external-entropy-access", false, "let it use the server's external source of entropy")
	f.StringVar(&m.plugin, "plugin-name", "", "`name` of the plugin, for the type plugin")
}

// lockoutFlags say when an auth method locks people out who fail to log in.
type lockoutFlags struct {
	threshold       int
	duration, reset ttl
	disable         bool
}

func (l *lockoutFlags) register(f *pflag.FlagSet) {
	f.IntVar(&l.threshold, "user-lockout-threshold", 0, "`number` of failed logins that lock a person out")
	f.Var(&l.duration, "user-lockout-duration", "how long a person stays locked out")
	f.Var(&l.reset, "user-lockout-counter-reset-duration", "how long after a failed login it is forgotten")
	f.BoolVar(&l.disable, "user-lockout-disable", false, "lock nobody out")
}

func (l *lockoutFlags) body(given func(string) bool) map[string]any {
	out := map[string]any{}
	for flag, f := range map[string]struct {
		field string
		value any
	}{
		"user-lockout-threshold":              {"lockout_threshold", strconv.Itoa(l.threshold)},
		"user-lockout-duration":               {"lockout_duration", l.duration.text},
		"user-lockout-counter-reset-duration": {"lockout_counter_reset_duration", l.reset.text},
		"user-lockout-disable":                {"lockout_disable", l.disable},
	} {
		if given(flag) {
			out[f.field] = f.value
		}
	}
	return out
}

// config is the body that tune sends, and the config part of what enable sends.
func (m *mountFlags) config(given func(string) bool) map[string]any {
	all := map[string]struct {
		field string
		value any
	}{
		"default-lease-ttl":            {"default_lease_ttl", m.defaultTTL.api()},
		"max-lease-ttl":                {"max_lease_ttl", m.maxTTL.api()},
		"audit-non-hmac-request-keys":  {"audit_non_hmac_request_keys", m.requestKeys},
		"audit-non-hmac-response-keys": {"audit_non_hmac_response_keys", m.answerKeys},
		"listing-visibility":           {"listing_visibility", m.visibility},
		"passthrough-request-headers":  {"passthrough_request_headers", m.requestHeaders},
		"allowed-response-headers":     {"allowed_response_headers", m.headers},
		"token-type":                   {"token_type", m.tokenType},
		"plugin-version":               {"plugin_version", m.pluginVersion},
		"force-no-cache":               {"force_no_cache", m.noCache},
	}
	out := map[string]any{}
	for flag, f := range all {
		if given(flag) {
			out[f.field] = f.value
		}
	}
	if lockout := m.lockout.body(given); len(lockout) > 0 {
		out["user_lockout_config"] = lockout
	}
	return out
}

func (m *mountFlags) mountOptions() map[string]string {
	out := map[string]string{}
	for k, v := range m.options {
		out[k] = v
	}
	if m.version > 0 {
		out["version"] = strconv.Itoa(m.version)
	}
	return out
}

func (k mountKind) enable() command {
	var m mountFlags
	return command{
		use: "enable TYPE", short: "Enable " + k.one(), args: exactly(1), complete: k.completeType,
		example: fmt.Sprintf("%s enable %s\n%[1]s enable -path=%[3]s -description=\"for the team\" %[2]s",
			k.family, k.examples.typ, k.examples.path),
		flags: func(f *pflag.FlagSet) { m.enabling(f, k) },
		run: connected(func(c *call, cl *client.Client) error {
			typ := strings.TrimSpace(c.args[0])
			if typ == "plugin" {
				typ = m.plugin
			}
			path := m.path
			if path == "" {
				path = typ
			}
			body := map[string]any{
				"type": typ, "description": m.description, "local": m.local, "seal_wrap": m.sealWrap,
				"external_entropy_access": m.entropy, "config": m.config(c.given), "options": m.mountOptions(),
			}
			if _, err := cl.Write(c.ctx, client.JoinPath(k.api, path), body); err != nil {
				return failed(err, "enabling the %s %s at %s", typ, k.what, mountPath(path))
			}
			return c.say("Success! Enabled the %s %s at: %s", typ, k.what, mountPath(path))
		}),
	}
}

func (k mountKind) disable() command {
	var dry dryRun
	long := "All that it holds is deleted, and what it gave out is revoked."
	if k.auth {
		long = "The tokens that it gave out are revoked."
	}
	return command{
		use: "disable PATH", short: "Disable " + k.one(), long: long, args: exactly(1), complete: k.complete,
		example: fmt.Sprintf("%s disable -dry-run %s\n%[1]s disable %[2]s", k.family, k.examples.path),
		flags:   dry.flag,
		run: connected(func(c *call, cl *client.Client) error {
			path := mountPath(c.args[0])
			if dry.on {
				return k.wouldDisable(c, cl, path)
			}
			if _, err := cl.Delete(c.ctx, client.JoinPath(k.api, path), nil); err != nil {
				return failed(err, "disabling %s", path)
			}
			return c.say("Success! Disabled the %s (if it existed) at: %s", k.what, path)
		}),
	}
}

// wouldDisable names the mount and, where the server can tell, what is in it.
func (k mountKind) wouldDisable(c *call, cl *client.Client, path string) error {
	s, err := cl.Read(c.ctx, k.api, nil)
	if err != nil {
		return failed(err, "listing %ss", k.what)
	}
	m, ok := s.Data[path].(map[string]any)
	if !ok {
		return &exit{exitServer, fmt.Sprintf("There is no %s at %s", k.what, path), fmt.Sprintf("check the path's spelling: %s list shows those there are", k.family)}
	}
	what := fmt.Sprintf("the %v %s at %s", m["type"], k.what, path)
	if m["type"] != "kv" {
		return c.wouldGo(what, "secrets", nil)
	}
	target := kvTarget{mount: path}
	if options, ok := m["options"].(map[string]any); ok {
		target.v2 = options["version"] == "2"
	}
	s, err = cl.Scan(c.ctx, target.at("metadata"), client.Page{})
	names, err := orEmpty(s.Keys(), err)
	if err != nil {
		return failed(err, "listing what is in %s", path)
	}
	return c.wouldGo(what, "secrets", names)
}

func (k mountKind) tune() command {
	var m mountFlags
	return command{
		use: "tune PATH", short: fmt.Sprintf("Change how %s is configured", k.one()), args: exactly(1), complete: k.complete,
		long:    "Only the flags given are changed.",
		example: fmt.Sprintf("%s tune -max-lease-ttl=24h %s", k.family, k.examples.path),
		flags:   func(f *pflag.FlagSet) { m.tuning(f, k) },
		run: connected(func(c *call, cl *client.Client) error {
			path := mountPath(c.args[0])
			body := m.config(c.given)
			if c.given("description") {
				body["description"] = m.description
			}
			if options := m.mountOptions(); len(options) > 0 {
				body["options"] = options
			}
			if _, err := cl.Write(c.ctx, client.JoinPath(k.api, path, "tune"), body); err != nil {
				return failed(err, "tuning %s", path)
			}
			return c.say("Success! Tuned the %s at: %s", k.what, path)
		}),
	}
}

func (k mountKind) move() command {
	return command{
		use: "move FROM TO", short: fmt.Sprintf("Move %s to another path", k.one()), args: exactly(2), complete: k.complete,
		long:    "What it gave out is revoked. The command waits until the move is done.",
		example: fmt.Sprintf("%s move %s archive", k.family, k.examples.path),
		run: connected(func(c *call, cl *client.Client) error {
			from, to := client.JoinPath(k.prefix, c.args[0])+"/", client.JoinPath(k.prefix, c.args[1])+"/"
			id, err := cl.Sys().Move(c.ctx, from, to)
			from, to = mountPath(c.args[0]), mountPath(c.args[1])
			if err != nil {
				return failed(err, "moving %s to %s", from, to)
			}
			if err := waitForMove(c.ctx, cl, id); err != nil {
				return failed(err, "moving %s to %s (move %s)", from, to, id)
			}
			return c.say("Success! Moved the %s %s to: %s", k.what, from, to)
		}),
	}
}

// waitForMove asks each second; the server gives no way to be told.
func waitForMove(ctx context.Context, cl *client.Client, id string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		status, err := cl.Sys().MoveStatus(ctx, id)
		switch {
		case err != nil || status == "success":
			return err
		case status == "failure":
			return &exit{code: exitServer, text: "Error: the server could not move it; its log says why"}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func authHelp() command {
	return command{
		use: "help TYPE|PATH", short: "Show how to log in with an auth method", args: exactly(1), complete: oneOf(sortedKeys(loginMethods())...),
		example: "auth help userpass",
		run: connected(func(c *call, cl *client.Client) error {
			typ := cleanPath(c.args[0])
			if method, ok := loginMethods()[typ]; ok {
				return c.help(c.name + " " + method.help)
			}
			auths, err := cl.Sys().Auths(c.ctx)
			if err != nil {
				return failed(err, "listing auth methods")
			}
			method, ok := loginMethods()[auths[mountPath(typ)].Type]
			if !ok {
				return &exit{exitLocal, "Error: no method this program can log in with is at " + mountPath(typ), "auth list shows what is enabled"}
			}
			return c.help(c.name + " " + method.help)
		}),
	}
}
