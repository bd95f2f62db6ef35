package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func operatorCommands() command {
	return command{
		use: "operator", short: "Initialise, unseal, seal and rotate keys",
		long: "Exit codes: 0 it is done, 1 the command is wrong or something here failed, 2 the server\n" +
			"refused it or is not reached. Those of status, init -status and validate-config have a\n" +
			"meaning of their own, which their help tells.",
		example: "operator init -key-shares=5 -key-threshold=3\noperator unseal\noperator nodes\noperator snapshot save strongroom.snap",
		subs:    []command{operatorInit(), operatorUnseal(), operatorSeal(), operatorKeyStatus(), operatorRotate(), operatorRekey(), operatorRotateKeys(), operatorGenerateRoot(), operatorKeySlots()},
	}
}

func operatorInit() command {
	req := client.InitRequest{SecretShares: 5, SecretThreshold: 3}
	var status bool
	var to initKeys
	return command{
		use: "init", short: "Initialise a new store and print its keys",
		long: "The key shares and the first root token are shown this once. Give the shares to\n" +
			"different people: -key-threshold of them unseal the server.",
		example: "operator init -key-shares=5 -key-threshold=3\noperator init -status",
		flags: func(f *pflag.FlagSet) {
			f.IntVarP(&req.SecretShares, "key-shares", "n", req.SecretShares, "`number` of key shares to make")
			f.IntVarP(&req.SecretThreshold, "key-threshold", "t", req.SecretThreshold, "`number` of shares that unseal")
			f.IntVar(&req.RecoveryShares, "recovery-shares", 0, "`number` of recovery shares, for a server that unseals itself")
			f.IntVar(&req.RecoveryThreshold, "recovery-threshold", 0, "`number` of recovery shares needed")
			to.add(f)
			f.BoolVar(&status, "status", false, "tell whether the store is initialised: exit code 0 if it is, 2 if not, 1 on errors")
		},
		run: connected(func(c *call, cl *client.Client) error {
			if status {
				return c.initStatus(cl)
			}
			if c.given("recovery-shares") || c.given("recovery-threshold") {
				if err := takesRecovery(c.ctx, cl); err != nil {
					return err
				}
			}
			if err := to.read(c, &req); err != nil {
				return err
			}
			out, err := cl.Sys().Init(c.ctx, req)
			if err != nil {
				return failed(err, "initialising")
			}
			return c.initialized(req, out)
		}),
	}
}

// initKeys name the public keys that an initialisation's outcome is encrypted to.
type initKeys struct {
	shares, recovery []string
	root             string
}

func (k *initKeys) add(f *pflag.FlagSet) {
	f.StringSliceVar(&k.shares, "pgp-keys", nil, "public `keys` to encrypt the key shares to, one for each: files with OpenPGP keys, or age recipients")
	f.StringSliceVar(&k.recovery, "recovery-pgp-keys", nil, "public `keys` to encrypt the recovery shares to, one for each")
	f.StringVar(&k.root, "root-token-pgp-key", "", "public `key` to encrypt the root token to")
}

func (k *initKeys) read(c *call, req *client.InitRequest) (err error) {
	if req.PGPKeys, err = c.publicKeys(k.shares); err != nil {
		return err
	}
	if req.RecoveryPGPKeys, err = c.publicKeys(k.recovery); err != nil || k.root == "" {
		return err
	}
	req.RootTokenPGPKey, err = publicKey(k.root)
	return err
}

// takesRecovery refuses recovery shares where the server would make none, since
// key shares unseal it.
func takesRecovery(ctx context.Context, cl *client.Client) error {
	s, err := cl.Sys().SealStatus(alwaysSent(ctx))
	if err != nil {
		return failed(err, "asking for the seal status")
	}
	if s.Type == "shamir" {
		return &exit{
			exitLocal, "Error: a server with a shamir seal has no recovery shares",
			"use -key-shares and -key-threshold, or give the server a seal that unseals by itself",
		}
	}
	return nil
}

func (c *call) initStatus(cl *client.Client) error {
	done, err := cl.Sys().Initialized(c.ctx)
	if err != nil {
		return local(failed(err, "asking whether the store is initialised"))
	}
	v := map[string]any{"Initialized": done} // spelt so by the dialect's other programs
	err = c.show(v, v, func() error {
		if done {
			return c.println("The store is initialised")
		}
		return c.println("The store is not initialised")
	})
	if err == nil && !done {
		return &exit{code: exitServer}
	}
	return err
}

// machineInit is what programs read after an init.
type machineInit struct {
	UnsealKeysB64     []string `json:"unseal_keys_b64"`
	UnsealKeysHex     []string `json:"unseal_keys_hex"`
	UnsealShares      int      `json:"unseal_shares"`
	UnsealThreshold   int      `json:"unseal_threshold"`
	RecoveryKeysB64   []string `json:"recovery_keys_b64"`
	RecoveryKeysHex   []string `json:"recovery_keys_hex"`
	RecoveryShares    int      `json:"recovery_keys_shares"`
	RecoveryThreshold int      `json:"recovery_keys_threshold"`
	RootToken         string   `json:"root_token"`
}

func (c *call) initialized(req client.InitRequest, out *client.InitResponse) error {
	// Appending to an empty list makes programs read [] rather than null.
	m := machineInit{
		UnsealKeysB64: append([]string{}, out.KeysBase64...), UnsealKeysHex: append([]string{}, out.Keys...),
		UnsealShares: req.SecretShares, UnsealThreshold: req.SecretThreshold,
		RecoveryKeysB64: append([]string{}, out.RecoveryKeysB64...), RecoveryKeysHex: append([]string{}, out.RecoveryKeys...),
		RecoveryShares: req.RecoveryShares, RecoveryThreshold: req.RecoveryThreshold,
		RootToken: out.RootToken,
	}
	fields, err := toMap(m)
	if err != nil {
		return err
	}
	return c.show(m, fields, func() error { return c.println(initText(m)) })
}

func initText(m machineInit) string {
	text := ""
	for i, key := range m.UnsealKeysB64 {
		text += fmt.Sprintf("Unseal Key %d: %s\n", i+1, key)
	}
	for i, key := range m.RecoveryKeysB64 {
		text += fmt.Sprintf("Recovery Key %d: %s\n", i+1, key)
	}
	text += fmt.Sprintf("\nInitial Root Token: %s\n", m.RootToken)
	if len(m.UnsealKeysB64) == 0 {
		return text + "\nThe store is initialised. The server unseals itself."
	}
	return text + fmt.Sprintf("\nThe store is initialised and sealed. Any %d of these %d key shares unseal it, now and\n"+
		"after each restart. Nobody can show them again: hand them to their keepers, and\n"+
		"keep none of this output.", m.UnsealThreshold, m.UnsealShares)
}

func operatorUnseal() command {
	var reset, migrate bool
	return command{
		use: "unseal [KEY]", short: "Give one key share to unseal the server", args: arity{0, 1},
		long: "Without KEY it is asked for, hidden. Prefer that: arguments stay in the shell's\nhistory.\n\n" +
			"-reset takes one of the key shares as KEY, or - to read it. Without one it works\nonce no share has been given for a minute.",
		example: "operator unseal",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&reset, "reset", false, "forget the shares given so far")
			f.BoolVar(&migrate, "migrate", false, "refused: seals are not migrated")
		},
		check: func(c *call) error {
			if !migrate {
				return nil
			}
			return &exit{
				exitLocal, "Error: -migrate: seals are not migrated, since a store can have several ways to unseal",
				fmt.Sprintf("unseal, add the new way with %s operator key-slot add, test it, and remove the old one", c.name),
			}
		},
		run: connected(func(c *call, cl *client.Client) error {
			s, err := c.unseal(cl, reset)
			if err != nil {
				return failed(err, "unsealing")
			}
			return c.sealStatus(cl, s)
		}),
	}
}

func (c *call) unseal(cl *client.Client, reset bool) (*client.SealStatus, error) {
	if reset && len(c.args) == 0 {
		return cl.Sys().ResetUnseal(c.ctx, "")
	}
	var key string
	var err error
	if len(c.args) == 1 && c.args[0] != "-" {
		key = c.args[0]
	} else if key, err = c.askSecret("Unseal key"); err != nil {
		return nil, err
	}
	if reset {
		return cl.Sys().ResetUnseal(c.ctx, key)
	}
	return cl.Sys().Unseal(c.ctx, key)
}

func operatorSeal() command {
	var fleet bool
	var dry dryRun
	return command{
		use: "seal", short: "Seal the server", example: "operator seal\noperator seal -dry-run -fleet\noperator seal -fleet",
		long: "It forgets its keys and answers nothing until it is unsealed. With -fleet all nodes\n" +
			"on its store do so, one that is paused before it answers anything again.",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&fleet, "fleet", false, "seal all nodes on the server's store")
			f.BoolVar(&dry.on, "dry-run", false, "show what would be sealed, and change nothing")
		},
		run: connected(func(c *call, cl *client.Client) error {
			if dry.on {
				return c.wouldSeal(cl, fleet)
			}
			if fleet {
				return c.sealFleet(cl)
			}
			if err := cl.Sys().Seal(c.ctx); err != nil {
				return failed(err, "sealing")
			}
			return c.say("Success! The server is sealed.")
		}),
	}
}

// wouldSeal tells which nodes would be sealed, and what unseals them.
func (c *call) wouldSeal(cl *client.Client, fleet bool) error {
	s, err := cl.Sys().SealStatus(c.ctx)
	if err != nil {
		return failed(err, "asking for the seal status")
	}
	nodes := []string{cl.Address()}
	if fleet {
		list, err := cl.Read(c.ctx, "sys/nodes", nil)
		if err != nil {
			return failed(err, "listing the nodes")
		}
		nodes = []string{}
		all, _ := list.Data["nodes"].([]any)
		for _, v := range all {
			if n, ok := v.(map[string]any); ok {
				nodes = append(nodes, fmt.Sprintf("%s (%s)", cell(n["api_address"]), cell(n["state"])))
			}
		}
	}
	after := "Each is unsealed again by a way of its own: see operator key-slot list."
	if s.Threshold > 0 && s.Shares > 0 {
		after = fmt.Sprintf("Each is unsealed again with %d of %d unseal keys, or by another key slot.", s.Threshold, s.Shares)
	}
	return c.would(map[string]any{"would_seal": nodes, "threshold": s.Threshold, "shares": s.Shares},
		"seal %s. %s", strings.Join(nodes, ", "), after)
}

// sealFleet seals all nodes, and says which have not confirmed it.
func (c *call) sealFleet(cl *client.Client) error {
	s, err := cl.Write(c.ctx, "sys/seal", map[string]any{"fleet": true})
	if err != nil {
		return failed(err, "sealing all nodes")
	}
	var open []any
	if s != nil {
		open, _ = s.Data["unconfirmed"].([]any)
	}
	if len(open) == 0 {
		return c.say("Success! All nodes are sealed.")
	}
	return &exit{
		exitServer, "Error: all nodes were ordered to seal, and these have not said that they have: " + strings.Join(unconfirmed(s, open), "; "),
		"they are paused or cannot reach the store, and answer nothing before they obey. Ask each: strongroom status -address=ADDRESS; " +
			"of one that does not answer, be sure by ending its process on its machine",
	}
}

// unconfirmed tells of nodes that have not said that they are sealed: what they are called
// and where they are, which servers before this version do not say.
func unconfirmed(s *client.Secret, ids []any) (out []string) {
	nodes, _ := s.Data["unconfirmed_nodes"].([]any)
	known := map[any]string{}
	for _, v := range nodes {
		if n, ok := v.(map[string]any); ok {
			known[n["id"]] = fmt.Sprintf("%s at %s, last heard of %s (%s)", cell(n["hostname"]), cell(n["api_address"]), cell(n["last_seen"]), cell(n["id"]))
		}
	}
	for _, id := range ids {
		out = append(out, cmp.Or(known[id], cell(id)))
	}
	return out
}

func operatorKeyStatus() command {
	return command{
		use: "key-status", short: "Tell about the encryption key in use", example: "operator key-status",
		run: connected(func(c *call, cl *client.Client) error { return c.keyStatus(cl, "") }),
	}
}

func operatorRotate() command {
	return command{
		use: "rotate", short: "Start using a new encryption key", example: "operator rotate",
		long: "What is stored stays readable with the keys it was written with.",
		run: connected(func(c *call, cl *client.Client) error {
			if err := cl.Sys().Rotate(c.ctx); err != nil {
				return failed(err, "rotating the key")
			}
			return c.keyStatus(cl, "Success! A new key is in use.\n\n")
		}),
	}
}

func (c *call) keyStatus(cl *client.Client, before string) error {
	k, err := cl.Sys().KeyStatus(c.ctx)
	if err != nil {
		return failed(err, "asking for the key's status")
	}
	fields, err := toMap(k)
	if err != nil {
		return err
	}
	return c.show(k, fields, func() error {
		return c.println(before + columns([][]string{
			{"Key Term", fmt.Sprint(k.Term)},
			{"Install Time", k.InstallTime.UTC().Format(time.RFC822)},
			{"Encryption Count", fmt.Sprint(k.Encryptions)},
		}))
	})
}
