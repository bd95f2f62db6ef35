package cli

import (
	"fmt"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func namespaceCommands() command {
	return command{
		use: "namespace", short: "Create, list, change, seal, lock and delete namespaces",
		example: "namespace create team\nnamespace list\n# another command, in a namespace\n-namespace=team secrets list",
		subs: []command{
			namespaceNames("list", "List the namespaces right below the one in force", false),
			namespaceNames("scan", "List all namespaces below the one in force", true),
			namespaceLookup(), namespaceCreate(), namespacePatch(), namespaceDelete(),
			namespaceLock(), namespaceUnlock(),
			namespaceSealStatus(), namespaceSeal(), namespaceUnseal(), namespaceDeleteSealed(),
		},
	}
}

// sealFlags are the seal of its own that a namespace is given.
type sealFlags struct {
	shares, threshold int
	keys              []string
}

func (s *sealFlags) register(f *pflag.FlagSet) {
	f.IntVar(&s.shares, "key-shares", 0, "`number` of key shares of a seal of its own; 0: it is given none")
	f.IntVar(&s.threshold, "key-threshold", 0, "`number` of shares that unseal it")
	f.StringSliceVar(&s.keys, "pgp-keys", nil, "public `keys` to encrypt the shares to, one for each")
}

func (s *sealFlags) into(body map[string]any) {
	if s.shares != 0 || s.threshold != 0 {
		body["seal"] = fmt.Sprintf("seal \"shamir\" {\n  shares = %d\n  threshold = %d\n}", s.shares, s.threshold)
	}
	if len(s.keys) > 0 {
		body["pgp_keys"] = s.keys
	}
}

func namespaceCreate() command {
	var custom keyValues
	var seal sealFlags
	return command{
		use: "create PATH", short: "Create a namespace", args: exactly(1),
		long: "With -key-shares the namespace has a seal of its own: its keys are handed to people\n" +
			"in shares, and while it is sealed, the keys of the server do not open it.",
		example: "namespace create -custom-metadata=owner=ann team\nnamespace create -key-shares=5 -key-threshold=3 team",
		flags: func(f *pflag.FlagSet) {
			f.Var(&custom, "custom-metadata", "`key=value` to keep; may be repeated")
			seal.register(f)
		},
		run: connected(func(c *call, cl *client.Client) error {
			path, body := cleanPath(c.args[0]), map[string]any{"custom_metadata": custom}
			seal.into(body)
			s, err := cl.Write(c.ctx, client.JoinPath("sys/namespaces", path), body)
			if err != nil {
				return failed(err, "creating namespace %s", mountPath(path))
			}
			return c.namespaceMade(s, seal.threshold)
		}),
	}
}

// namespaceMade shows a namespace that is new, or has a new seal, and, for people, its unseal keys by themselves.
func (c *call) namespaceMade(s *client.Secret, threshold int) error {
	if f, err := c.format(); err == nil && f == formatTable && c.flags.field == "" && s != nil {
		keys, _ := s.Data["key_shares"].([]any)
		for i, k := range keys {
			if err := c.println(fmt.Sprintf("Unseal Key %d: %v", i+1, k)); err != nil {
				return err
			}
		}
		if delete(s.Data, "key_shares"); len(keys) > 0 {
			err := c.println(fmt.Sprintf("\nAny %d of these %d key shares unseal the namespace once it is sealed. Nobody can show\n"+
				"them again: hand them to their keepers, and keep none of this output.\n", threshold, len(keys)))
			if err != nil {
				return err
			}
		}
	}
	return c.data(s)
}

func namespaceLock() command {
	return command{
		use: "lock [PATH]", short: "Keep all requests out of a namespace", args: arity{0, 1}, complete: completeNamespace,
		long:    "Without PATH it is the one in force. What is below it is locked with it. The answer is\nthe key that unlocks it, which is shown once.",
		example: "namespace lock team",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Write(c.ctx, "sys/namespaces/api-lock/lock", c.pathArg())
			if err != nil {
				return failed(err, "locking the namespace")
			}
			return c.data(s)
		}),
	}
}

// pathArg is the body that names a namespace, which may be left out.
func (c *call) pathArg() map[string]any {
	if len(c.args) == 0 {
		return map[string]any{}
	}
	return map[string]any{"path": cleanPath(c.args[0])}
}

func namespaceUnlock() command {
	var key string
	return command{
		use: "unlock [PATH]", short: "Let requests into a locked namespace again", args: arity{0, 1}, complete: completeNamespace,
		long:    "Who has sudo in the root namespace needs no key.",
		example: "namespace unlock -unlock-key=KEY team",
		flags:   func(f *pflag.FlagSet) { f.StringVar(&key, "unlock-key", "", "the `key` that locking it has shown") },
		run: connected(func(c *call, cl *client.Client) error {
			body := c.pathArg()
			if key != "" {
				body["unlock_key"] = key
			}
			if _, err := cl.Write(c.ctx, "sys/namespaces/api-lock/unlock", body); err != nil {
				return failed(err, "unlocking the namespace")
			}
			return c.say("Success! The namespace is unlocked.")
		}),
	}
}

// ofNamespace is the path of something about a namespace.
func ofNamespace(c *call, what string) string {
	return client.JoinPath("sys/namespaces", cleanPath(c.args[0]), what)
}

func namespaceSealStatus() command {
	return command{
		use: "seal-status PATH", short: "Tell whether a namespace is sealed", args: exactly(1), complete: completeNamespace,
		example: "namespace seal-status team",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Read(c.ctx, ofNamespace(c, "seal-status"), nil)
			if err != nil {
				return notNamed(err, "reading", "namespace", mountPath(c.args[0]))
			}
			return c.data(s)
		}),
	}
}

func namespaceSeal() command {
	return command{
		use: "seal PATH", short: "Take a namespace's keys away until its holders unseal it", args: exactly(1), complete: completeNamespace,
		long:    "What is below it is sealed with it, unless it has a seal of its own; nothing in either\nanswers until it is unsealed, on any node.",
		example: "namespace seal team",
		run: connected(func(c *call, cl *client.Client) error {
			if _, err := cl.Write(c.ctx, ofNamespace(c, "seal"), nil); err != nil {
				return failed(err, "sealing namespace %s", mountPath(c.args[0]))
			}
			return c.say("Success! The namespace is sealed: %s", mountPath(c.args[0]))
		}),
	}
}

func namespaceUnseal() command {
	var reset bool
	return command{
		use: "unseal PATH [KEY]", short: "Give one key share to unseal a namespace", args: arity{1, 2}, complete: completeNamespace,
		long:    "Without KEY it is asked for, hidden. Prefer that: arguments stay in the shell's\nhistory. All shares go to one node, which forgets them after ten minutes.",
		example: "namespace unseal team",
		flags:   func(f *pflag.FlagSet) { f.BoolVar(&reset, "reset", false, "forget the shares given so far") },
		run: connected(func(c *call, cl *client.Client) error {
			body := map[string]any{"reset": true}
			if !reset {
				key, err := c.shareArg()
				if err != nil {
					return err
				}
				body = map[string]any{"key": key}
			}
			s, err := cl.Write(c.ctx, ofNamespace(c, "unseal"), body)
			if err != nil {
				return failed(err, "unsealing namespace %s", mountPath(c.args[0]))
			}
			return c.data(s)
		}),
	}
}

// shareArg is the key share that is given after the path, or asked for.
func (c *call) shareArg() (string, error) {
	if len(c.args) == 2 && c.args[1] != "-" {
		return c.args[1], nil
	}
	return c.askSecret("Unseal key")
}

func namespaceDeleteSealed() command {
	var force, yes bool
	return command{
		use: "delete-sealed PATH", short: "Give up a sealed namespace whose keys are lost", args: exactly(1), complete: completeNamespace,
		long:    "Everything in it is destroyed. What it has lent, such as users of databases, is not\ntaken back: unseal and delete it instead where that is possible. At a terminal its name\nis asked for first.",
		example: "namespace delete-sealed team",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&force, "force", false, "also delete the namespaces below it")
			yesFlag(f, &yes)
		},
		run: connected(func(c *call, cl *client.Client) error {
			path := mountPath(c.args[0])
			if err := c.agreed(yes, path, fmt.Sprintf("The sealed namespace %s and all that is in it will be gone for good.", path)); err != nil {
				return err
			}
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			if _, err := cl.Delete(c.ctx, ofNamespace(c, "delete-sealed"), query); err != nil {
				return failed(err, "deleting namespace %s", path)
			}
			return c.say("Success! Deleting namespace: %s", path)
		}),
	}
}
