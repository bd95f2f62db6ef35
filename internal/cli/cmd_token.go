package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func tokenCommands() command {
	return command{
		use: "token", short: "Make, look up, renew and revoke tokens",
		example: "token create -policy=ci -ttl=1h\ntoken lookup\ntoken revoke -self",
		subs:    []command{tokenCreate(), tokenLookup(), tokenRenew(), tokenRevoke(), tokenCapabilities()},
	}
}

// tokenFlags describe the token to make.
type tokenFlags struct {
	client.TokenRequest
	ttl, maxTTL, period ttl
	metadata            keyValues
	policies            policyNames
	renewable, orphan   bool
	role                string
}

func (t *tokenFlags) register(f *pflag.FlagSet) {
	f.Var(&t.policies, "policy", "`name` of a policy; may be repeated; none means the parent's")
	f.Var(&t.ttl, "ttl", "lifetime")
	f.Var(&t.maxTTL, "explicit-max-ttl", "lifetime that no renewal can pass")
	f.Var(&t.period, "period", "makes a periodic token, which each renewal extends by this `duration`")
	f.BoolVar(&t.orphan, "orphan", false, "without a parent, so that it outlives the caller's token")
	f.BoolVar(&t.renewable, "renewable", true, "allow renewal")
	f.BoolVar(&t.NoDefaultPolicy, "no-default-policy", false, "leave the default policy out")
	f.IntVar(&t.NumUses, "use-limit", 0, "`number` of requests it serves; 0 means no limit")
	f.StringVar(&t.DisplayName, "display-name", "", "`name` for the audit log")
	f.Var(&t.metadata, "metadata", "`key=value` for the audit log; may be repeated")
	f.StringVar(&t.Type, "type", "service", "service or batch")
	f.StringVar(&t.role, "role", "", "`name` of the token role to follow")
	f.StringVar(&t.EntityAlias, "entity-alias", "", "`name` of the entity alias to use; needs -role")
	f.StringVar(&t.ID, "id", "", "`value` of the token; root only")
}

func (t *tokenFlags) request() (path string, body client.TokenRequest) {
	body = t.TokenRequest
	body.TTL, body.ExplicitMaxTTL, body.Period = t.ttl.text, t.maxTTL.text, t.period.text
	body.Metadata, body.Policies = t.metadata, t.policies
	body.NoParent = t.orphan
	body.Renewable = &t.renewable
	if t.role != "" {
		return client.JoinPath("auth/token/create", t.role), body
	}
	return "auth/token/create", body
}

// policyNames is a flag of names, separated by commas or given in several flags.
// It keeps blank names for check to refuse: dropped, they would leave none, which
// asks for all policies of the caller.
type policyNames []string

// Type implements pflag.Value.
func (p *policyNames) Type() string { return "names" }

// String implements pflag.Value.
func (p *policyNames) String() string { return strings.Join(*p, ",") }

// Set implements pflag.Value.
func (p *policyNames) Set(s string) error {
	for name := range strings.SplitSeq(s, ",") {
		*p = append(*p, strings.TrimSpace(name))
	}
	return nil
}

func (p *policyNames) check(*call) error {
	if slices.Contains(*p, "") {
		return &exit{
			exitLocal, "Error: -policy: a policy's name is blank",
			"is the variable that it comes from set? Without any -policy, the token gets the policies of its parent",
		}
	}
	return nil
}

func tokenCreate() command {
	var t tokenFlags
	return command{
		use: "create", short: "Make a token",
		long: "It is a child of the token in force, and ends with it, unless made with -orphan.",
		example: `
			token create -policy=ci -ttl=1h
			# only the token, for a script
			token create -policy=ci -period=24h -orphan -field=token`,
		flags: t.register,
		check: t.policies.check,
		run: connected(func(c *call, cl *client.Client) error {
			path, body := t.request()
			s, err := cl.Write(c.ctx, path, body)
			if err != nil {
				return failed(err, "making the token")
			}
			return c.secret(s)
		}),
	}
}

// tokenTarget is the token a command is about: the caller's own, one given, or
// one given by its accessor.
type tokenTarget struct{ accessor bool }

func (t *tokenTarget) flag(f *pflag.FlagSet) {
	f.BoolVar(&t.accessor, "accessor", false, "the argument is an accessor, not a token")
}

// request picks the path verb, verb-accessor or verb-self, and its body.
func (t *tokenTarget) request(c *call, verb string) (path string, body map[string]any, err error) {
	path = "auth/token/" + verb
	switch {
	case len(c.args) == 0 && t.accessor:
		return "", nil, usagef("-accessor needs the accessor as argument")
	case len(c.args) == 0:
		return path + "-self", map[string]any{}, nil
	case t.accessor:
		return path + "-accessor", map[string]any{"accessor": c.args[0]}, nil
	}
	return path, map[string]any{"token": c.args[0]}, nil
}

func tokenLookup() command {
	var t tokenTarget
	return command{
		use: "lookup [TOKEN | -accessor ACCESSOR]", short: "Tell about a token", args: arity{0, 1},
		long:    "Without argument, about the token in force.",
		example: "token lookup\ntoken lookup -accessor 9793c9b3-e04a",
		flags:   t.flag,
		run: connected(func(c *call, cl *client.Client) error {
			path, body, err := t.request(c, "lookup")
			if err != nil {
				return err
			}
			var s *client.Secret
			if len(c.args) == 0 {
				s, err = cl.Read(c.ctx, path, nil)
			} else {
				s, err = cl.Write(c.ctx, path, body)
			}
			if err != nil {
				return failed(err, "looking up the token")
			}
			return c.secret(s)
		}),
	}
}

func tokenRenew() command {
	var t tokenTarget
	var increment ttl
	return command{
		use: "renew [TOKEN | -accessor ACCESSOR]", short: "Make a token last longer", args: arity{0, 1},
		long:    "Without argument, the token in force.",
		example: "token renew\ntoken renew -increment=30m hvs.CAES…",
		flags: func(f *pflag.FlagSet) {
			t.flag(f)
			f.Var(&increment, "increment", "how much longer to ask for")
		},
		run: connected(func(c *call, cl *client.Client) error {
			path, body, err := t.request(c, "renew")
			if err != nil {
				return err
			}
			if increment.text != "" {
				body["increment"] = increment.text
			}
			s, err := cl.Write(c.ctx, path, body)
			if err != nil {
				return failed(err, "renewing the token")
			}
			return c.secret(s)
		}),
	}
}

func tokenRevoke() command {
	var t tokenTarget
	var self bool
	var mode string
	return command{
		use: "revoke TOKEN | -accessor ACCESSOR | -self", short: "End a token and its children", args: arity{0, 1},
		example: "token revoke -self\ntoken revoke -mode=orphan hvs.CAES…",
		flags: func(f *pflag.FlagSet) {
			t.flag(f)
			f.BoolVar(&self, "self", false, "end the token in force")
			f.StringVar(&mode, "mode", "", "`mode`: orphan leaves its children alive, path ends all tokens made at the path given")
		},
		run: connected(func(c *call, cl *client.Client) error {
			path, body, err := revokeRequest(c, t, self, mode)
			if err != nil {
				return err
			}
			if _, err := cl.Write(c.ctx, path, body); err != nil {
				return failed(err, "revoking the token")
			}
			if self && client.LookupEnv(c.getenv, "TOKEN") == "" {
				if err := c.forgetToken(); err != nil {
					return err
				}
			}
			return c.say("Success! Revoked token (if it existed)")
		}),
	}
}

func revokeRequest(c *call, t tokenTarget, self bool, mode string) (path string, body map[string]any, err error) {
	switch {
	case self && (len(c.args) > 0 || t.accessor || mode != ""):
		return "", nil, usagef("-self goes with no argument and no other flag")
	case !self && len(c.args) == 0:
		return "", nil, usagef("a token, -accessor with an accessor, or -self is needed")
	case mode != "" && t.accessor:
		return "", nil, usagef("-mode and -accessor do not go together")
	case mode == "orphan":
		return "auth/token/revoke-orphan", map[string]any{"token": c.args[0]}, nil
	case mode == "path":
		return client.JoinPath("sys/leases/revoke-prefix", c.args[0]), nil, nil
	case mode != "":
		return "", nil, usagef("-mode=%s: want orphan or path", mode)
	}
	return t.request(c, "revoke")
}

func tokenCapabilities() command {
	var accessor bool
	return command{
		use: "capabilities [TOKEN | -accessor ACCESSOR] PATH", short: "Tell what a token may do at a path", args: arity{1, 2},
		long:    "Without TOKEN, the token in force.",
		example: "token capabilities secret/data/db",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&accessor, "accessor", false, "the first argument is an accessor, not a token")
		},
		run: connected(func(c *call, cl *client.Client) error {
			caps, err := capabilities(c, cl, accessor)
			if err != nil {
				return failed(err, "asking for capabilities")
			}
			slices.Sort(caps)
			return c.show(caps, map[string]any{"capabilities": caps}, func() error {
				return c.println(strings.Join(caps, ", "))
			})
		}),
	}
}

func capabilities(c *call, cl *client.Client, accessor bool) ([]string, error) {
	path := c.args[len(c.args)-1]
	var all map[string][]string
	var err error
	switch {
	case len(c.args) == 1 && accessor:
		return nil, usagef("-accessor needs the accessor and the path")
	case len(c.args) == 1:
		all, err = cl.Sys().Capabilities(c.ctx, path)
	case accessor:
		all, err = cl.Sys().AccessorCapabilities(c.ctx, c.args[0], path)
	default:
		all, err = cl.Sys().TokenCapabilities(c.ctx, client.Token(c.args[0]), path)
	}
	if err == nil && all[path] == nil {
		err = fmt.Errorf("the server did not answer for %s", path)
	}
	return all[path], err
}
