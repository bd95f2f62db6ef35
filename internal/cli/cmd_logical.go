package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

const dataHelp = `Data is given as key=value. A value of @FILE is read from a file, \@x is the
text @x, and - is read from standard input. An argument @FILE or - by itself is a
JSON object. A key given again makes a list.`

// lineHelp is about what parseFor does.
const lineHelp = "\n\nAt paths below auth/, a value that is read and is one line loses its line end,\nwhich is no part of a password."

// lookupHelp is about what looksUp knows.
const lookupHelp = "\n\nA look-up that finds nothing says so on standard error and, as others of this dialect\nhave it, exits with 0."

func readCommand() command {
	return command{
		use: "read PATH [KEY=VALUE...]", short: "Read what is at a path",
		long: "The key=value arguments go into the query. With -format=raw, the server's answer\nis printed as it came.",
		example: `
			# the tuning of a mount
			read sys/mounts/secret/tune
			# one field, without quotes
			read -field=version sys/seal-status`,
		args: atLeast(1), raw: true,
		complete: completePath,
		run:      connected(runRead),
	}
}

func runRead(c *call, cl *client.Client) error {
	path := cleanPath(c.args[0])
	data, err := parsePairs(c.input(), c.args[1:])
	if err != nil {
		return err
	}
	if f, err := c.format(); err == nil && f == formatRaw {
		return c.readRaw(cl, path, query(data))
	}
	s, err := cl.Read(c.ctx, path, query(data))
	if err != nil {
		return notThere(err, "reading", path)
	}
	if s == nil {
		return absent(path)
	}
	if path == lockedPath && s.WrapInfo == nil {
		return c.show(s, secretFields(s), func() error { return c.locked(s) })
	}
	return c.secret(s)
}

// lockedPath answers with lists within lists, of which a table has a row for each account.
const lockedPath = "sys/locked-users"

func (c *call) locked(s *client.Secret) error {
	c.warn(s)
	var answer struct {
		Namespaces []struct {
			Path   string `json:"namespace_path"`
			Mounts []struct {
				Accessor string   `json:"mount_accessor"`
				Accounts []string `json:"alias_identifiers"`
			} `json:"mount_accessors"`
		} `json:"by_namespace"`
	}
	if err := s.Decode(&answer); err != nil {
		return err
	}
	var rows [][]string
	for _, ns := range answer.Namespaces {
		for _, m := range ns.Mounts {
			for _, account := range m.Accounts {
				rows = append(rows, []string{account, m.Accessor, cmp.Or(ns.Path, "[root]")})
			}
		}
	}
	if len(answer.Namespaces) == 0 {
		return c.println("No account is locked.")
	}
	return c.table([]string{"Account", "Mount Accessor", "Namespace"}, rows)
}

func (c *call) readRaw(cl *client.Client, path string, q url.Values) error {
	resp, err := cl.Do(c.ctx, client.Request{Path: path, Query: q})
	if err != nil {
		return notThere(err, "reading", path)
	}
	return c.println(string(bytes.TrimRight(resp.Body, "\n")))
}

// query spreads lists over repeated parameters.
func query(data map[string]any) url.Values {
	q := url.Values{}
	for k, v := range data {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			q.Add(k, fmt.Sprint(item))
		}
	}
	return q
}

// notThere makes a plain "nothing there" of a 404 that says no more, not even in
// a warning.
func notThere(err error, doing, path string) error {
	if nothing(err) {
		return absent(path)
	}
	return failed(err, "%s %s", doing, path)
}

// notNamed is notThere for what has a name and no path.
func notNamed(err error, doing, family, name string) error {
	if nothing(err) {
		return noneNamed(family, name)
	}
	return failed(err, "%s %s %s", doing, family, name)
}

// nothing reports whether err is a 404 that says no more.
func nothing(err error) bool {
	var api *client.Error
	return errors.As(err, &api) && errors.Is(err, client.ErrNotFound) && len(api.Messages) == 0 && len(api.Warnings()) == 0
}

// writing builds write and patch, which differ in the request only.
func writing(d command, send func(*client.Client, context.Context, string, any) (*client.Secret, error)) command {
	var force bool
	d.args = atLeast(1)
	d.complete, d.fields = completePath, true
	d.flags = func(f *pflag.FlagSet) {
		f.BoolVarP(&force, "force", "f", false, "go on without data")
	}
	d.run = connected(func(c *call, cl *client.Client) error {
		path := cleanPath(c.args[0])
		if len(c.args) == 1 && !force {
			return &exit{exitLocal, "Error: no data for " + path, "give KEY=VALUE, @FILE or -, or -force to send none"}
		}
		data, err := parseFor(path, c.input(), c.args[1:])
		if err != nil {
			return err
		}
		s, err := send(cl, c.ctx, path, data)
		switch {
		case nothing(err):
			return &exit{exitServer, "Nothing is there to write to at " + path, "what the path is about, such as a role, does not exist: check its spelling with list"}
		case err != nil:
			return failed(err, "writing %s", path)
		case s == nil && looksUp(path) && c.flags.field == "":
			_, err = fmt.Fprintln(c.stderr, "Nothing was found by "+path)
			return err
		}
		return c.written(s, "Success! Data written to: %s", path)
	})
	return d
}

// looksUp reports whether a write to a path asks for something, so that no answer is not success but nothing found. Paths
// in mounts that may be of any type are left out.
func looksUp(path string) bool {
	return strings.HasPrefix(path, "identity/lookup/") || strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/secret-id/lookup")
}

// written prints what a write answered, or else that it went well. An answer of
// warnings alone is for people no answer.
func (c *call) written(s *client.Secret, format string, args ...any) error {
	warned := s
	if f, err := c.format(); err == nil && f == formatTable && len(secretRows(s)) == 0 {
		c.warn(s)
		s = nil
	}
	if s == nil {
		if c.flags.field != "" {
			return c.secret(warned)
		}
		return c.say(format, args...)
	}
	return c.secret(s)
}

func writeCommand() command {
	return writing(command{
		use: "write PATH [DATA...]", short: "Write data to a path", long: dataHelp + lineHelp + lookupHelp,
		example: `
			write auth/userpass/users/ann password=- token_policies=dev,ops
			# a whole object from a file
			write secret/data/db @db.json
			# nothing to send
			write -force sys/rotate`,
	}, (*client.Client).Write)
}

func patchCommand() command {
	return writing(command{
		use: "patch PATH [DATA...]", short: "Change some fields of what is at a path",
		long:    dataHelp + lineHelp + "\n\nFields that are not given stay as they are; null in a JSON object removes one.",
		example: `patch secret/metadata/db max_versions=5`,
	}, (*client.Client).Patch)
}

func listCommand() command {
	return listing("list", "List the names right below a path", (*client.Client).List)
}

func scanCommand() command {
	return listing("scan", "List all names below a path, at any depth", (*client.Client).Scan)
}

func listing(verb, short string, get func(*client.Client, context.Context, string, client.Page) (*client.Secret, error)) command {
	var p page
	var recursive, detailed bool
	return command{
		use: verb + " PATH", short: short, args: exactly(1), complete: completePath,
		example: verb + " secret/metadata/\n" + verb + " -limit=10 auth/token/accessors",
		flags: func(f *pflag.FlagSet) {
			p.flags(f)
			f.BoolVarP(&recursive, "recursive", "R", false, "list at any depth, as scan does")
			f.BoolVar(&detailed, "detailed", false, "show what the server tells of each name (STRONGROOM_DETAILED)")
		},
		run: connected(func(c *call, cl *client.Client) error {
			if recursive {
				get = (*client.Client).Scan
			}
			path := cleanPath(c.args[0])
			s, err := get(cl, c.ctx, path, p.Page)
			return c.listDetailed(s, err, path, c.wantsDetails(detailed))
		}),
	}
}

func (c *call) wantsDetails(flag bool) bool {
	set, err := strconv.ParseBool(client.LookupEnv(c.getenv, "DETAILED"))
	return flag || err == nil && set && !c.given("detailed")
}

// listDetailed is list with a column for each thing that the server tells of names.
func (c *call) listDetailed(s *client.Secret, err error, path string, detailed bool) error {
	if !detailed || err != nil || s == nil || len(s.Keys()) == 0 || inner(s, "key_info") == nil {
		return c.list(s, err, path)
	}
	c.warn(s)
	return c.show(s.Data, s.Data, func() error { return c.table(detailTable(s.Keys(), inner(s, "key_info"))) })
}

func detailTable(names []string, info map[string]any) (header []string, rows [][]string) {
	fields := map[string]bool{}
	for _, v := range info {
		of, _ := v.(map[string]any)
		for field := range of {
			fields[field] = true
		}
	}
	header = append([]string{"Keys"}, sortedKeys(fields)...)
	slices.Sort(names)
	for _, name := range names {
		of, _ := info[name].(map[string]any)
		row := []string{name}
		for _, field := range header[1:] {
			row = append(row, cell(of[field]))
		}
		rows = append(rows, row)
	}
	return header, rows
}

// list prints the names of a list's answer. An empty list exits as absent, and
// still gives programs an object to read.
func (c *call) list(s *client.Secret, err error, path string) error {
	switch {
	case s != nil && s.WrapInfo != nil:
		return c.secret(s)
	case err == nil && len(s.Keys()) > 0:
		c.warn(s)
		return c.names(s.Keys())
	case err != nil:
		if err = notThere(err, "listing", path); exitText(err) == "" {
			return err
		}
	}
	if f, err := c.format(); err == nil && f != formatTable {
		return errors.Join(c.println("{}"), &exit{code: exitServer})
	}
	return absent(path)
}

// exitText is the text of an *exit, or empty for other errors.
func exitText(err error) string {
	var e *exit
	if errors.As(err, &e) {
		return e.text
	}
	return ""
}

func deleteCommand() command {
	return command{
		use: "delete PATH [KEY=VALUE...]", short: "Delete what is at a path",
		long:    "Deleting what is not there is no error. For versioned secrets see also kv delete.",
		example: "delete secret/data/db",
		args:    atLeast(1), complete: completePath,
		run: connected(func(c *call, cl *client.Client) error {
			path := cleanPath(c.args[0])
			data, err := parsePairs(c.input(), c.args[1:])
			if err != nil {
				return err
			}
			s, err := cl.Delete(c.ctx, path, query(data))
			if err != nil {
				return failed(err, "deleting %s", path)
			}
			return c.written(s, "Success! Data deleted (if it existed) at: %s", path)
		}),
	}
}

func unwrapCommand() command {
	return command{
		use: "unwrap [TOKEN]", short: "Take out what a wrapping token holds, once",
		long:    "Without TOKEN, the token in force is the wrapping token.",
		example: "unwrap hvs.CAES…",
		args:    arity{0, 1},
		run: connected(func(c *call, cl *client.Client) error {
			var token client.Token
			if len(c.args) == 1 {
				token = client.Token(c.args[0])
			}
			s, err := cl.Unwrap(c.ctx, token)
			if err != nil {
				return failed(err, "unwrapping")
			}
			return c.written(s, "Success! There was nothing inside.")
		}),
	}
}

func pathHelpCommand() command {
	return command{
		use: "path-help PATH", short: "Show what the server knows about a path",
		example: "path-help sys/mounts", args: exactly(1),
		run: connected(func(c *call, cl *client.Client) error {
			text, err := cl.Help(c.ctx, cleanPath(c.args[0]))
			if err != nil {
				return failed(err, "getting help")
			}
			return c.help(text)
		}),
	}
}

func (c *call) help(text string) error {
	v := map[string]any{"help": text}
	return c.show(v, v, func() error { return c.println(text) })
}

func printCommands() command {
	return command{
		use: "print", short: "Print what the program uses", example: "print token",
		subs: []command{{
			use: "token", short: "Print the token in force",
			long:    "It is the environment's, or else the one that login stored.",
			example: "print token\nprint token -format=json",
			run: func(c *call) error {
				t, err := c.findToken()
				if err != nil {
					return err
				}
				if t == "" {
					return &exit{exitLocal, "Error: no token is set", fmt.Sprintf("run %q, or set STRONGROOM_TOKEN", c.name+" login")}
				}
				if c.flags.format == "" && c.flags.field == "" { // $(print token) is the token, whatever the environment prefers
					return c.println(t.Reveal())
				}
				return c.show(t.Reveal(), map[string]any{"token": t.Reveal()}, func() error { return c.println(t.Reveal()) })
			},
		}},
	}
}
