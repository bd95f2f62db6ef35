package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func leaseCommands() command {
	return command{
		use: "lease", short: "Look up, renew and end leases",
		example: "lease lookup database/creds/app/h8N…\nlease revoke -dry-run -prefix database/creds/app",
		subs:    []command{leaseLookup(), leaseRenew(), leaseRevoke()},
	}
}

func leaseLookup() command {
	return command{
		use: "lookup LEASE_ID", short: "Tell about a lease", example: "lease lookup database/creds/app/h8N…",
		args: exactly(1),
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Write(c.ctx, "sys/leases/lookup", map[string]any{"lease_id": c.args[0]})
			if err != nil {
				return failed(err, "looking up the lease")
			}
			return c.secret(s)
		}),
	}
}

func leaseRenew() command {
	var increment ttl
	return command{
		use: "renew LEASE_ID", short: "Make a lease last longer", example: "lease renew -increment=1h database/creds/app/h8N…",
		args:  exactly(1),
		flags: func(f *pflag.FlagSet) { f.Var(&increment, "increment", "how much longer to ask for") },
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Sys().RenewLease(c.ctx, c.args[0], increment.text)
			if err != nil {
				return failed(err, "renewing the lease")
			}
			return c.secret(s)
		}),
	}
}

func leaseRevoke() command {
	var prefix, force, sync bool
	var dry dryRun
	return command{
		use: "revoke LEASE_ID", short: "End a lease, or all below a prefix",
		example: "lease revoke database/creds/app/h8N…\nlease revoke -dry-run -prefix database/creds/app\nlease revoke -prefix database/creds/app",
		args:    exactly(1),
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&prefix, "prefix", false, "end all leases whose id begins so")
			f.BoolVar(&force, "force", false, "forget the leases even if what they stand for cannot be removed; needs -prefix")
			f.BoolVar(&sync, "sync", false, "wait until it is done")
			dry.flag(f)
		},
		run: connected(func(c *call, cl *client.Client) error {
			path, body := "sys/leases/revoke", map[string]any{"lease_id": c.args[0], "sync": sync}
			switch {
			case force && !prefix:
				return usagef("-force needs -prefix")
			case dry.on && !prefix:
				return usagef("-dry-run needs -prefix: of one lease, lease lookup tells")
			case dry.on:
				return c.wouldRevoke(cl, cleanPath(c.args[0]))
			case force:
				path, body = client.JoinPath("sys/leases/revoke-force", c.args[0]), nil
			case prefix:
				path, body = client.JoinPath("sys/leases/revoke-prefix", c.args[0]), map[string]any{"sync": sync}
			}
			_, err := cl.Do(c.ctx, client.Request{Method: http.MethodPut, Path: path, Body: body})
			if err != nil {
				return failed(err, "ending the lease")
			}
			return c.say("Success! Ended (or is ending): %s", c.args[0])
		}),
	}
}

// mostLeases bounds how many leases are counted before some are ended.
const mostLeases = 1000

// wouldRevoke tells which leases are below a path.
func (c *call) wouldRevoke(cl *client.Client, prefix string) error {
	ids, err := leasesBelow(c.ctx, cl, prefix, nil)
	if err != nil {
		return failed(err, "listing the leases")
	}
	data := map[string]any{"would_end": append([]string{}, ids...), "more": len(ids) > mostLeases}
	switch n := len(ids); {
	case n == 0:
		return c.would(data, "end no lease: none is at %s.", prefix)
	case n > mostLeases:
		return c.would(data, "end more than %d leases at %s, tokens among them where logins made them: %s.", mostLeases, prefix, someOf(ids))
	default:
		return c.would(data, "end %d leases at %s, tokens among them where logins made them: %s.", n, prefix, someOf(ids))
	}
}

// leasesBelow adds the leases at a path to those found, until there are more than counted.
func leasesBelow(ctx context.Context, cl *client.Client, path string, found []string) ([]string, error) {
	s, err := cl.List(ctx, client.JoinPath("sys/leases/lookup", path), client.Page{Limit: mostLeases + 1})
	if errors.Is(err, client.ErrNotFound) || err == nil && s == nil {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range s.Keys() {
		if len(found) > mostLeases {
			break
		}
		below, is := strings.CutSuffix(name, "/")
		if !is {
			found = append(found, client.JoinPath(path, name))
		} else if found, err = leasesBelow(ctx, cl, client.JoinPath(path, below), found); err != nil {
			return nil, err
		}
	}
	return found, nil
}
