package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func kvPatch() command {
	var at kvAt
	var method string
	var remove []string
	var data map[string]any
	cas := casFlag{-1}
	return command{
		use: "patch PATH DATA...", short: "Change some keys of a secret", args: atLeast(1),
		long: dataHelp + "\n\nThe other keys stay. Where the server or the policy does not allow patching,\n" +
			"-method=rw reads and writes instead, guarded by check-and-set.",
		example: `
			kv patch secret/db password=@new.txt
			kv patch -remove-data=old secret/db`,
		flags: func(f *pflag.FlagSet) {
			at.flags(f)
			cas.flag(f)
			f.StringVar(&method, "method", "", "`method`: patch, rw (read, then write), or empty for the first that works")
			f.StringSliceVar(&remove, "remove-data", nil, "`key` to remove; may be repeated")
		},
		check: func(c *call) (err error) {
			data, err = patchData(c, remove)
			return err
		},
		complete: at.complete,
		run: at.onV2(func(c *call, cl *client.Client, t kvTarget) error {
			s, err := kvPatchBy(c.ctx, cl, t, method, data, cas.version)
			if err != nil {
				return err
			}
			return c.kvWritten(s, t)
		}),
	}
}

func patchData(c *call, remove []string) (map[string]any, error) {
	if len(c.args) == 1 && len(remove) == 0 {
		return c.kvData()
	}
	data, err := parsePairs(c.input(), c.args[1:])
	if err != nil {
		return nil, err
	}
	for _, key := range remove {
		data[key] = nil
	}
	return data, nil
}

func kvPatchBy(ctx context.Context, cl *client.Client, t kvTarget, method string, data map[string]any, cas int) (*client.Secret, error) {
	switch method {
	case "rw":
		return readThenWrite(ctx, cl, t, data, cas)
	case "", "patch":
	default:
		return nil, usagef("-method=%s: want patch or rw", method)
	}
	s, err := cl.Patch(ctx, t.at("data"), versioned(data, cas))
	if method == "" && patchIsRefused(err) {
		return readThenWrite(ctx, cl, t, data, cas)
	}
	if err != nil {
		return nil, notThere(err, "patching", t.at("data"))
	}
	return s, nil
}

// patchIsRefused tells the verb's refusal (by an older server, or by a policy
// that lacks the capability) from that of the data.
func patchIsRefused(err error) bool {
	var api *client.Error
	return errors.As(err, &api) && (api.Status == 405 || api.Status == 403)
}

// readThenWrite merges data into the current version and writes that only if no
// other has come meanwhile.
func readThenWrite(ctx context.Context, cl *client.Client, t kvTarget, data map[string]any, cas int) (*client.Secret, error) {
	old, version, err := kvCurrent(ctx, cl, t)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, absent(t.at("data"))
	}
	for k, v := range data {
		if v == nil {
			delete(old, k)
		} else {
			old[k] = v
		}
	}
	if cas < 0 {
		cas = version
	}
	s, err := kvWrite(ctx, cl, t, old, cas)
	return s, failed(err, "writing %s", t.at("data"))
}

// kvCurrent reads the current version's data, nil when deleted, and number. It is
// sent even where the request to come is only shown.
func kvCurrent(ctx context.Context, cl *client.Client, t kvTarget) (map[string]any, int, error) {
	s, err := kvRead(alwaysSent(ctx), cl.WithWrapTTL(""), t, 0)
	if err != nil {
		return nil, 0, err
	}
	version, err := strconv.Atoi(fmt.Sprint(inner(s, "metadata")["version"]))
	if err != nil {
		return nil, 0, failed(err, "reading the version of %s", t.at("data"))
	}
	return inner(s, "data"), version, nil
}

func kvRollback() command {
	var at kvAt
	var version int
	return command{
		use: "rollback -version=N PATH", short: "Write an earlier version again, as the newest", args: exactly(1),
		example: "kv rollback -version=2 secret/db",
		flags: func(f *pflag.FlagSet) {
			at.flags(f)
			f.IntVar(&version, "version", 0, "`number` of the version to go back to")
		},
		check: func(*call) error {
			if version < 1 {
				return usagef("-version is needed, from 1 up")
			}
			return nil
		},
		complete: at.complete,
		run: at.onV2(func(c *call, cl *client.Client, t kvTarget) error {
			_, current, err := kvCurrent(c.ctx, cl, t)
			if err != nil {
				return err
			}
			old, err := kvRead(alwaysSent(c.ctx), cl.WithWrapTTL(""), t, version)
			if err != nil {
				return err
			}
			data := inner(old, "data")
			if data == nil {
				return &exit{
					exitServer, fmt.Sprintf("Error: version %d of %s is deleted or destroyed", version, t.at("data")),
					fmt.Sprintf("a deleted one comes back with %s kv undelete", c.name),
				}
			}
			s, err := kvWrite(c.ctx, cl, t, data, current)
			if err != nil {
				return failed(err, "writing %s", t.at("data"))
			}
			return c.kvWritten(s, t)
		}),
	}
}

func kvMetadata() command {
	return command{
		use: "metadata", short: "Work with what is known about a secret",
		example: "kv metadata get secret/db\nkv metadata put -max-versions=5 secret/db",
		subs: []command{
			kvMetadataGet(),
			kvMetadataSet("put", "Set a secret's metadata", (*client.Client).Write),
			kvMetadataSet("patch", "Change some of a secret's metadata", (*client.Client).Patch),
			kvMetadataDelete(),
		},
	}
}

func kvMetadataGet() command {
	var at kvAt
	return command{
		use: "get PATH", short: "Show a secret's metadata and versions", args: exactly(1),
		example:  "kv metadata get secret/db\nkv metadata get -format=json -mount=secret db",
		flags:    at.flags,
		complete: at.complete,
		run: at.onV2(func(c *call, cl *client.Client, t kvTarget) error {
			path := t.at("metadata")
			s, err := cl.Read(c.ctx, path, nil)
			if err != nil {
				return notThere(err, "reading", path)
			}
			if s.WrapInfo != nil {
				return c.secret(s)
			}
			return c.show(s, secretFields(s), func() error {
				c.warn(s)
				return c.sections("Metadata Path", path, metadataSections(s))
			})
		}),
	}
}

// metadataSections shows the versions apart, oldest first.
func metadataSections(s *client.Secret) []section {
	versions := inner(s, "versions")
	rest := map[string]any{}
	for k, v := range s.Data {
		if k != "versions" {
			rest[k] = v
		}
	}
	out := []section{{"Metadata", mapRows(rest)}}
	for _, n := range numbers(versions) {
		version, _ := versions[n].(map[string]any)
		out = append(out, section{"Version " + n, mapRows(version)})
	}
	return out
}

// numbers gives the keys of versions in the order of their numbers.
func numbers(versions map[string]any) []string {
	keys := sortedKeys(versions)
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return keys
}

// kvMetadataFlags are what put and patch can set. Only those given are sent.
type kvMetadataFlags struct {
	at                 kvAt
	maxVersions        int
	casRequired        bool
	deleteVersionAfter ttl
	custom             keyValues
	remove             []string
}

func (m *kvMetadataFlags) register(f *pflag.FlagSet, patch bool) {
	m.at.flags(f)
	f.IntVar(&m.maxVersions, "max-versions", 0, "greatest `number` of versions to keep; 0 means as the mount says")
	f.BoolVar(&m.casRequired, "cas-required", false, "refuse writes without check-and-set")
	f.Var(&m.deleteVersionAfter, "delete-version-after", "delete each version after this `duration`; negative means never")
	f.Var(&m.custom, "custom-metadata", "`key=value` to keep; may be repeated")
	if patch {
		f.StringSliceVar(&m.remove, "remove-custom-metadata", nil, "`key` to remove; may be repeated")
	}
}

func (m *kvMetadataFlags) body(given func(string) bool) map[string]any {
	body := map[string]any{}
	set := func(flag, field string, v any) {
		if given(flag) {
			body[field] = v
		}
	}
	set("max-versions", "max_versions", m.maxVersions)
	set("cas-required", "cas_required", m.casRequired)
	set("delete-version-after", "delete_version_after", m.deleteVersionAfter.text)
	custom := map[string]any{}
	for k, v := range m.custom {
		custom[k] = v
	}
	for _, k := range m.remove {
		custom[k] = nil
	}
	if len(custom) > 0 {
		body["custom_metadata"] = custom
	}
	return body
}

func kvMetadataSet(verb, short string, send func(*client.Client, context.Context, string, any) (*client.Secret, error)) command {
	var m kvMetadataFlags
	return command{
		use: verb + " PATH", short: short, args: exactly(1),
		example:  "kv metadata " + verb + " -max-versions=5 -custom-metadata=owner=ann secret/db",
		flags:    func(f *pflag.FlagSet) { m.register(f, verb == "patch") },
		complete: m.at.complete,
		run: m.at.onV2(func(c *call, cl *client.Client, t kvTarget) error {
			path := t.at("metadata")
			s, err := send(cl, c.ctx, path, m.body(c.given))
			if err != nil {
				return notThere(err, "writing", path)
			}
			return c.written(s, "Success! Data written to: %s", path)
		}),
	}
}

func kvMetadataDelete() command {
	var at kvAt
	var dry dryRun
	return command{
		use: "delete PATH", short: "Remove a secret with all its versions, for ever", args: exactly(1),
		example:  "kv metadata delete -dry-run secret/db\nkv metadata delete secret/db",
		flags:    func(f *pflag.FlagSet) { at.flags(f); dry.flag(f) },
		complete: at.complete,
		run: at.onV2(func(c *call, cl *client.Client, t kvTarget) error {
			path := t.at("metadata")
			if dry.on {
				s, err := cl.Read(c.ctx, path, nil)
				if err != nil {
					return notThere(err, "reading", path)
				}
				return c.wouldGo("the secret at "+path, "versions", numbers(inner(s, "versions")))
			}
			s, err := cl.Delete(c.ctx, path, nil)
			if err != nil {
				return failed(err, "deleting %s", path)
			}
			return c.written(s, "Success! Data deleted (if it existed) at: %s", path)
		}),
	}
}
