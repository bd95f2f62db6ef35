package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/hcl/hcl/printer"

	"github.com/strongroom/strongroom/client"
)

func policyCommands() command {
	return command{
		use: "policy", short: "Work with policies",
		example: "policy write ci ci.hcl\npolicy test cases.yaml\npolicy explain read secret/data/db",
		subs:    []command{policyList(), policyRead(), policyWrite(), policyDelete(), policyFmt(), policyTest(), policyExplain()},
	}
}

func policyList() command {
	return command{
		use: "list", short: "List the policies", example: "policy list",
		run: connected(func(c *call, cl *client.Client) error {
			names, err := cl.Sys().Policies(c.ctx)
			if err != nil {
				return failed(err, "listing policies")
			}
			return c.show(names, map[string]any{"policies": names}, func() error {
				return c.println(strings.Join(names, "\n"))
			})
		}),
	}
}

func policyRead() command {
	return command{
		use: "read NAME", short: "Show a policy", example: "policy read default", args: exactly(1), complete: completePolicy,
		run: connected(func(c *call, cl *client.Client) error {
			name := policyName(c.args[0])
			rules, err := cl.Sys().Policy(c.ctx, name)
			if err != nil {
				return notNamed(err, "reading", "policy", name)
			}
			if f, err := c.format(); rules == "" && err == nil && f == formatTable && c.flags.field == "" {
				_, err := fmt.Fprintf(c.stderr, "The policy %s has no text.\n", name)
				return err
			}
			v := map[string]any{"policy": rules}
			return c.show(v, v, func() error { return c.println(strings.TrimSpace(rules)) })
		}),
	}
}

// policyName is the name as the server keeps it.
func policyName(given string) string { return strings.ToLower(strings.TrimSpace(given)) }

func policyWrite() command {
	return command{
		use: "write NAME FILE", short: "Create or replace a policy", args: exactly(2), complete: completePolicy,
		long:    "FILE holds HCL or JSON; - is standard input.",
		example: "policy write ci ci.hcl\npolicy write ci - <<< 'path \"secret/data/ci/*\" { capabilities = [\"read\"] }'",
		run: connected(func(c *call, cl *client.Client) error {
			name := policyName(c.args[0])
			if name != c.args[0] {
				fmt.Fprintf(c.stderr, "warning: the policy is called %q\n", name)
			}
			rules, err := c.readFile(c.args[1])
			if err != nil {
				return err
			}
			if err := cl.Sys().PutPolicy(c.ctx, name, rules); err != nil {
				return failed(err, "writing policy %s", name)
			}
			return c.say("Success! Wrote policy: %s", name)
		}),
	}
}

// readFile reads a file named as an argument; "-" is standard input.
func (c *call) readFile(name string) (string, error) {
	if name != "-" {
		raw, err := os.ReadFile(name)
		return string(raw), err
	}
	in := c.input()
	if in == nil {
		return "", usagef("standard input is not read with -non-interactive")
	}
	raw, err := io.ReadAll(in)
	return string(raw), err
}

func policyDelete() command {
	return command{
		use: "delete NAME", short: "Delete a policy", example: "policy delete ci", args: exactly(1), complete: completePolicy,
		run: connected(func(c *call, cl *client.Client) error {
			name := policyName(c.args[0])
			if err := cl.Sys().DeletePolicy(c.ctx, name); err != nil {
				return failed(err, "deleting policy %s", name)
			}
			return c.say("Success! Deleted policy (if it existed): %s", name)
		}),
	}
}

func policyFmt() command {
	return command{
		use: "fmt FILE", short: "Format a policy file in place", args: exactly(1),
		long:    "With - as FILE, standard input is formatted to standard output.",
		example: "policy fmt ci.hcl",
		run: func(c *call) error {
			text, err := c.readFile(c.args[0])
			if err != nil {
				return err
			}
			pretty, err := printer.Format([]byte(text))
			if err != nil {
				return failed(err, "formatting %s", c.args[0])
			}
			pretty = append(bytes.TrimRight(pretty, "\n"), '\n')
			if c.args[0] == "-" {
				_, err := c.stdout.Write(pretty)
				return err
			}
			if err := os.WriteFile(c.args[0], pretty, 0o644); err != nil {
				return err
			}
			return c.say("Success! Formatted: %s", c.args[0])
		},
	}
}
