package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func kvCommands() command {
	return command{
		use: "kv", short: "Work with key/value secrets",
		example: "kv put secret/db user=app password=@password.txt\nkv get -field=password secret/db\nkv list secret",
		long: "The same commands serve both versions of the engine; the version is looked up.\n" +
			"A path is MOUNT/PATH, or PATH with -mount=MOUNT.",
		subs: []command{
			kvGet(), kvPut(), kvPatch(), kvDelete(), kvUndelete(), kvDestroy(), kvList(), kvScan(),
			kvMetadata(), kvRollback(), kvEnableVersioning(),
		},
	}
}

// kvAt is the -mount flag and what follows from it.
type kvAt struct{ mount string }

func (k *kvAt) flags(f *pflag.FlagSet) {
	f.StringVar(&k.mount, "mount", "", "`path` the engine is mounted at; the argument is then the path below it")
}

// kvTarget is a path within a KV mount.
type kvTarget struct {
	mount, path string
	v2          bool
}

// at is the API path of the target: version 2 puts its kinds of data apart.
func (t kvTarget) at(kind string) string {
	if !t.v2 {
		kind = ""
	}
	return client.JoinPath(t.mount, kind, t.path)
}

// on builds the run of a command on one KV path.
func (k *kvAt) on(run func(*call, *client.Client, kvTarget) error) func(*call) error {
	return connected(func(c *call, cl *client.Client) error {
		path := ""
		if len(c.args) > 0 {
			path = cleanPath(c.args[0])
		}
		t, err := k.resolve(c.ctx, cl, path)
		if err != nil {
			return err
		}
		return run(c, cl, t)
	})
}

// onSecret is on for commands that are about one secret: the mount alone is none.
func (k *kvAt) onSecret(run func(*call, *client.Client, kvTarget) error) func(*call) error {
	return k.on(func(c *call, cl *client.Client, t kvTarget) error {
		if t.path == "" {
			return &exit{
				exitLocal, fmt.Sprintf("Error: no path below the mount %s is given", mountPath(t.mount)),
				fmt.Sprintf("%s kv list %s shows what is there", c.name, mountPath(t.mount)),
			}
		}
		return run(c, cl, t)
	})
}

// onV2 is onSecret for commands that only versioned secrets have.
func (k *kvAt) onV2(run func(*call, *client.Client, kvTarget) error) func(*call) error {
	return k.onSecret(func(c *call, cl *client.Client, t kvTarget) error {
		if !t.v2 {
			return &exit{
				exitServer, fmt.Sprintf("Error: %s keeps no versions", mountPath(t.mount)),
				fmt.Sprintf("%s kv enable-versioning %s", c.name, t.mount),
			}
		}
		return run(c, cl, t)
	})
}

func (k *kvAt) resolve(ctx context.Context, cl *client.Client, arg string) (kvTarget, error) {
	whole := arg
	if k.mount != "" {
		whole = client.JoinPath(k.mount, arg)
	}
	lookup := whole
	if k.mount != "" {
		lookup = cleanPath(k.mount)
	}
	mount, version, err := cl.WithWrapTTL("").Sys().KVMount(alwaysSent(ctx), lookup)
	if errors.Is(err, client.ErrNotFound) {
		return kvTarget{path: whole}, nil // a server that cannot tell has version 1 only
	}
	if err != nil {
		return kvTarget{}, failed(err, "looking up the mount of %s", lookup)
	}
	mount, path, ok := split(whole, mount)
	if !ok || (k.mount != "" && cleanPath(mount) != lookup) {
		return kvTarget{}, usagef("%s is in the mount %s: give that in -mount", lookup, mountPath(mount))
	}
	return kvTarget{mount: mount, path: path, v2: version == 2}, nil
}

// split takes mount off the front of whole. A server may tell the mount with the
// namespace before it; whole, then, may begin anywhere in it.
func split(whole, mount string) (at, path string, ok bool) {
	for rest := cleanPath(mount); rest != ""; _, rest, _ = strings.Cut(rest, "/") {
		if whole == rest {
			return rest, "", true
		}
		if path, ok := strings.CutPrefix(whole, rest+"/"); ok {
			return rest, path, true
		}
	}
	return mount, "", false
}

func kvGet() command {
	var at kvAt
	var version int
	return command{
		use: "get PATH", short: "Show a secret", args: exactly(1),
		long: "With -field, one value is printed bare; the field data is the whole object.",
		example: `
			kv get secret/db
			kv get -mount=secret -version=2 -field=password db`,
		flags: func(f *pflag.FlagSet) {
			at.flags(f)
			f.IntVar(&version, "version", 0, "`number` of the version; 0 is the current one")
		},
		check: func(*call) error {
			if version < 0 {
				return usagef("-version=%d: want a version's number, or 0 for the current one", version)
			}
			return nil
		},
		complete: at.complete,
		run: at.onSecret(func(c *call, cl *client.Client, t kvTarget) error {
			if err := c.needsVersions(t, "version"); err != nil {
				return err
			}
			s, err := kvRead(c.ctx, cl, t, version)
			if err != nil {
				return err
			}
			return c.kvShow(s, t)
		}),
	}
}

// needsVersions refuses a flag that would have no effect on a mount of version 1.
func (c *call) needsVersions(t kvTarget, flag string) error {
	if t.v2 || !c.given(flag) {
		return nil
	}
	return usagef("-%s: %s keeps no versions", flag, mountPath(t.mount))
}

// kvRead reads a version. A deleted one comes without data but with metadata.
func kvRead(ctx context.Context, cl *client.Client, t kvTarget, version int) (*client.Secret, error) {
	data := map[string]any{}
	if t.v2 && version > 0 {
		data["version"] = version
	}
	path := t.at("data")
	s, err := cl.Read(ctx, path, query(data))
	var api *client.Error
	switch {
	case err == nil && s != nil:
		return s, nil
	case errors.As(err, &api) && api.Secret != nil && api.Secret.Data != nil:
		return api.Secret, nil
	case (err == nil || nothing(err)) && data["version"] != nil:
		return nil, noVersion(path, version)
	case err == nil:
		return nil, absent(path)
	}
	return nil, notThere(err, "reading", path)
}

// inner is an object within an envelope's data, or nil.
func inner(s *client.Secret, name string) map[string]any {
	m, _ := s.Data[name].(map[string]any)
	return m
}

func (c *call) kvShow(s *client.Secret, t kvTarget) error {
	if s.WrapInfo != nil || !t.v2 {
		return c.kvShowV1(s)
	}
	data, metadata := inner(s, "data"), inner(s, "metadata")
	if c.flags.field != "" && data == nil {
		return &exit{code: exitServer, text: "No data found at " + t.at("data")}
	}
	return c.show(s, kvFields(data), func() error {
		c.warn(s)
		sections := []section{{"Metadata", mapRows(metadata)}, {"Data", mapRows(data)}}
		if data == nil {
			sections = sections[:1]
		}
		return c.sections("Secret Path", t.at("data"), sections)
	})
}

func (c *call) kvShowV1(s *client.Secret) error {
	if s.WrapInfo != nil {
		return c.secret(s)
	}
	return c.show(s, kvFields(s.Data), func() error {
		c.warn(s)
		return c.println(section{"Data", mapRows(s.Data)}.String())
	})
}

// kvFields lets -field name each key, and "data" the whole where no key is
// called so.
func kvFields(data map[string]any) map[string]any {
	fields := map[string]any{"data": data}
	for k, v := range data {
		fields[k] = v
	}
	return fields
}

// section is a titled table.
type section struct {
	title string
	rows  [][]string
}

// String lays the section out under its heading.
func (s section) String() string {
	widest := 0
	for _, row := range s.rows {
		widest = max(widest, len(row[0]))
	}
	text := heading(s.title, widest+4+len("Value"))
	if len(s.rows) > 0 {
		text += "\n" + table([]string{"Key", "Value"}, s.rows)
	}
	return text
}

// sections prints a titled path and then each section.
func (c *call) sections(title, path string, sections []section) error {
	parts := []string{heading(title, len(path)) + "\n" + path}
	for _, s := range sections {
		parts = append(parts, s.String())
	}
	return c.println(strings.Join(parts, "\n\n"))
}

// kvWritten prints what a write to a version 2 mount answered.
func (c *call) kvWritten(s *client.Secret, t kvTarget) error {
	if s == nil || s.WrapInfo != nil || !t.v2 {
		return c.written(s, "Success! Data written to: %s", t.at("data"))
	}
	return c.show(s, secretFields(s), func() error {
		c.warn(s)
		return c.sections("Secret Path", t.at("data"), []section{{"Metadata", mapRows(s.Data)}})
	})
}

func kvPut() command {
	var at kvAt
	var data map[string]any
	cas := casFlag{-1}
	return command{
		use: "put PATH DATA...", short: "Write a secret, or its next version", args: atLeast(1),
		long: dataHelp + "\n\nThe data replaces what was there; to change some keys only, see kv patch.",
		example: `
			kv put secret/db user=app password=@password.txt
			# only if nothing is there yet
			kv put -cas=0 -mount=secret db user=app
			# a value that must not stay in the shell's history
			kv put secret/db password=- < password.txt`,
		flags: func(f *pflag.FlagSet) { at.flags(f); cas.flag(f) },
		check: func(c *call) (err error) {
			data, err = c.kvData()
			return err
		},
		complete: at.complete,
		run: at.onSecret(func(c *call, cl *client.Client, t kvTarget) error {
			if err := c.needsVersions(t, "cas"); err != nil {
				return err
			}
			s, err := kvWrite(c.ctx, cl, t, data, cas.version)
			if err != nil {
				return failed(err, "writing %s", t.at("data"))
			}
			return c.kvWritten(s, t)
		}),
	}
}

// casFlag is the -cas flag; below 0 it is not given.
type casFlag struct{ version int }

// Type implements pflag.Value.
func (cas *casFlag) Type() string { return "number" }

// String implements pflag.Value.
func (cas *casFlag) String() string { return strconv.Itoa(cas.version) }

// Set implements pflag.Value. -1 is what scripts write for "not given"; less would
// be taken for it too, and write over what is there.
func (cas *casFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 {
		return errors.New("want the number of a version, 0 for none, or -1 for no condition")
	}
	cas.version = n
	return nil
}

func (cas *casFlag) flag(f *pflag.FlagSet) {
	f.Var(cas, "cas", "write only if the current version has this `number`; 0 means only if there is none")
}

func (c *call) kvData() (map[string]any, error) {
	if len(c.args) == 1 {
		return nil, &exit{exitLocal, "Error: no data for " + c.args[0], "give KEY=VALUE, @FILE or -"}
	}
	return parsePairs(c.input(), c.args[1:])
}

func kvWrite(ctx context.Context, cl *client.Client, t kvTarget, data map[string]any, cas int) (*client.Secret, error) {
	if !t.v2 {
		return cl.Write(ctx, t.at(""), data)
	}
	return cl.Write(ctx, t.at("data"), versioned(data, cas))
}

func versioned(data map[string]any, cas int) map[string]any {
	options := map[string]any{}
	if cas >= 0 {
		options["cas"] = cas
	}
	return map[string]any{"data": data, "options": options}
}

func kvDelete() command {
	var at kvAt
	var versions versionNumbers
	return command{
		use: "delete PATH", short: "Delete a secret's current version, or some versions", args: exactly(1),
		long:     "Versioned data can be brought back with kv undelete until it is destroyed.",
		example:  "kv delete secret/db\nkv delete -versions=1,2 secret/db",
		flags:    func(f *pflag.FlagSet) { at.flags(f); versions.flag(f) },
		complete: at.complete,
		run: at.onSecret(func(c *call, cl *client.Client, t kvTarget) error {
			if err := c.needsVersions(t, "versions"); err != nil {
				return err
			}
			if len(versions) > 0 {
				return c.kvVersions(cl, t, "delete", versions)
			}
			s, err := cl.Delete(c.ctx, t.at("data"), nil)
			if err != nil {
				return failed(err, "deleting %s", t.at("data"))
			}
			return c.written(s, "Success! Data deleted (if it existed) at: %s", t.at("data"))
		}),
	}
}

func kvUndelete() command {
	return kvOnVersions("undelete", "Bring deleted versions of a secret back", "")
}

func kvDestroy() command {
	return kvOnVersions("destroy", "Remove versions of a secret for ever",
		"The metadata stays. To remove a secret with all its versions, see kv metadata delete.")
}

func kvOnVersions(verb, short, long string) command {
	var at kvAt
	var versions versionNumbers
	var dry dryRun
	example := "kv " + verb + " -versions=3 secret/db"
	if verb == "destroy" {
		example = "kv destroy -dry-run -versions=3 secret/db\n" + example
	}
	return command{
		use: verb + " -versions=N,... PATH", short: short, long: long, args: exactly(1),
		example: example,
		flags: func(f *pflag.FlagSet) {
			at.flags(f)
			versions.flag(f)
			if verb == "destroy" {
				dry.flag(f)
			}
		},
		check: func(*call) error {
			if len(versions) == 0 {
				return usagef("-versions is needed")
			}
			return nil
		},
		complete: at.complete,
		run: at.onV2(func(c *call, cl *client.Client, t kvTarget) error {
			if dry.on {
				return c.wouldDestroy(cl, t, versions)
			}
			return c.kvVersions(cl, t, verb, versions)
		}),
	}
}

// wouldDestroy tells which of some versions of a secret are there to be destroyed.
func (c *call) wouldDestroy(cl *client.Client, t kvTarget, versions versionNumbers) error {
	path := t.at("metadata")
	s, err := cl.Read(c.ctx, path, nil)
	if err != nil {
		return notThere(err, "reading", path)
	}
	there := inner(s, "versions")
	var gone []string
	for _, n := range versions {
		v, ok := there[strconv.Itoa(n)].(map[string]any)
		if ok && v["destroyed"] != true {
			gone = append(gone, strconv.Itoa(n))
		}
	}
	if len(gone) == 0 {
		return c.would(map[string]any{"would_remove": "", "parts": []string{}}, "remove nothing: no such version of the secret at %s is there.", path)
	}
	return c.wouldGo("data of the secret at "+path, "versions", gone)
}

// versionNumbers is the -versions flag: numbers, separated by commas or given in
// several flags.
type versionNumbers []int

func (n *versionNumbers) flag(f *pflag.FlagSet) {
	f.Var(n, "versions", "`numbers` of the versions, separated by commas")
}

// Type implements pflag.Value.
func (n *versionNumbers) Type() string { return "numbers" }

// String implements pflag.Value.
func (n *versionNumbers) String() string { return strings.Trim(fmt.Sprint([]int(*n)), "[]") }

// Set implements pflag.Value.
func (n *versionNumbers) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		number, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || number < 1 {
			return usagef("%q is not a version's number", part)
		}
		*n = append(*n, number)
	}
	return nil
}

func (c *call) kvVersions(cl *client.Client, t kvTarget, verb string, versions versionNumbers) error {
	path := t.at(verb)
	s, err := cl.Write(c.ctx, path, map[string]any{"versions": versions})
	if err != nil {
		return failed(err, "writing %s", path)
	}
	if verb == "delete" {
		return c.written(s, "Success! Data deleted (if it existed) at: %s", t.at("data"))
	}
	return c.written(s, "Success! Data written to: %s", path)
}

func kvList() command {
	recursive := false
	d := kvListing("list", "List the secrets right below a path", &recursive)
	list := d.flags
	d.flags = func(f *pflag.FlagSet) {
		list(f)
		f.BoolVarP(&recursive, "recursive", "R", false, "list at any depth, as kv scan does")
	}
	return d
}

func kvScan() command {
	always := true
	return kvListing("scan", "List all secrets below a path, at any depth", &always)
}

func kvListing(verb, short string, recursive *bool) command {
	var at kvAt
	var p page
	return command{
		use: verb + " [PATH]", short: short, args: arity{0, 1},
		long:    "With -mount, PATH may be left out: the list then begins at the top.",
		example: "kv " + verb + " secret\nkv " + verb + " -mount=secret team/",
		flags:   func(f *pflag.FlagSet) { at.flags(f); p.flags(f) },
		check: func(c *call) error {
			if len(c.args) == 0 && at.mount == "" {
				return usagef("a path or -mount is needed")
			}
			return nil
		},
		complete: at.complete,
		run: at.on(func(c *call, cl *client.Client, t kvTarget) error {
			get := cl.List
			if *recursive {
				get = cl.Scan
			}
			s, err := get(c.ctx, t.at("metadata"), p.Page)
			return c.list(s, err, t.at("metadata"))
		}),
	}
}

func kvEnableVersioning() command {
	return command{
		use: "enable-versioning MOUNT", short: "Make a version 1 mount keep versions", args: exactly(1),
		example: "kv enable-versioning kv",
		run: connected(func(c *call, cl *client.Client) error {
			mount := mountPath(c.args[0])
			err := cl.Sys().TuneSecrets(c.ctx, mount, client.Tuning{Options: map[string]string{"version": "2"}})
			if err != nil {
				return failed(err, "tuning %s", mount)
			}
			return c.say("Success! Versions are kept at: %s", mount)
		}),
	}
}
