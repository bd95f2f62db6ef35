package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

const (
	passkeyMethods = "identity/mfa/method/webauthn"
	totpMethods    = "identity/mfa/method/totp"
)

func mfaCommands() command {
	return command{
		use: "mfa", short: "Manage your second factors", example: "mfa totp add -method-id=app\nmfa passkey list -method-id=keys",
		subs: []command{{
			use: "passkey", short: "Register, list and remove your passkeys", example: "mfa passkey add -method-id=keys phone\nmfa passkey list -method-id=keys",
			long: "A passkey proves your logins after the password: a phone, a security key, or the\n" +
				"computer itself. It is made and shown in a browser on this machine, at a page of the server.",
			subs: []command{passkeyAdd(), passkeyList(), passkeyRemove()},
		}, {
			use: "totp", short: "Register an authenticator app", example: "mfa totp add -method-id=app",
			long: "An authenticator app shows passcodes that prove your logins after the password.",
			subs: []command{totpAdd()},
		}},
	}
}

// methodFlag says which method, of a type, a command is about.
func methodFlag(id *string, kind string) func(*pflag.FlagSet) {
	return func(f *pflag.FlagSet) {
		f.StringVar(id, "method-id", "", "`identifier` of the method, of type "+kind+", or its name")
	}
}

// methodID is the identifier of a method of those at a path that is given by it or, where the token may list them, by name.
func (c *call) methodID(cl *client.Client, path, given string) (string, error) {
	if isIdentifier(given) {
		return given, nil
	}
	s, err := cl.List(c.ctx, path, client.Page{})
	switch {
	case errors.Is(err, client.ErrForbidden):
		return "", &exit{exitServer, "Error: the token may not look for a method by its name", "give its identifier in -method-id, as an administrator tells it: " + c.name + " list -detailed " + path}
	case err != nil && !nothing(err):
		return "", failed(err, "looking for the method")
	}
	var info map[string]any
	if s != nil {
		info = inner(s, "key_info")
	}
	for _, id := range sortedKeys(info) {
		if m, ok := info[id].(map[string]any); ok && strings.EqualFold(cell(m["name"]), given) {
			return id, nil
		}
	}
	return "", &exit{exitServer, "Error: no method is called " + given + " here", "check its spelling and -namespace: " + c.name + " list -detailed " + path + "; a method of a namespace above is named by its identifier"}
}

// isIdentifier tells an identifier (RFC 9562) from a name.
func isIdentifier(text string) bool {
	return len(text) == 36 && strings.Trim(text, "-0123456789abcdefABCDEF") == ""
}

// enrolment is by what a second factor is registered: with one's own token for a method, or by a right.
type enrolment struct{ method, right string }

func (e *enrolment) flags(kind, what string) func(*pflag.FlagSet) {
	return func(f *pflag.FlagSet) {
		methodFlag(&e.method, kind)(f)
		f.StringVar(&e.right, "registration-id", "", "right to register "+what+", that an administrator gave; - reads it from standard input")
	}
}

func (e *enrolment) check(*call) error {
	if (e.method == "") == (e.right == "") {
		return usagef("give -method-id=METHOD, or -registration-id=ID")
	}
	return nil
}

// registration is by the paths of a token's own registrations, or of those by right.
func (e *enrolment) registration(c *call, cl *client.Client, own, byRight string) (*registration, error) {
	if e.right == "" {
		id, err := c.methodID(cl, own, e.method)
		return &registration{call: c, cl: cl, begin: own + "/register", finish: own + "/finish", body: map[string]string{"method_id": id}}, err
	}
	right := e.right
	if right == "-" {
		var err error
		if right, err = c.askSecret("Registration"); err != nil {
			return nil, err
		}
	}
	return &registration{call: c, cl: cl.WithToken(""), begin: byRight + "/register", finish: byRight + "/finish", body: map[string]string{"registration_id": right}}, nil
}

// registration registers a second factor.
type registration struct {
	*call
	cl            *client.Client
	begin, finish string // paths
	body          map[string]string
}

func passkeyAdd() command {
	var e enrolment
	return command{
		use: "add [NAME]", short: "Register a passkey, with a browser on this machine", args: arity{0, 1},
		long:    "With -registration-id no token is needed: an administrator has it from\n" + passkeyMethods + "/admin-register, and it is good once.",
		example: "mfa passkey add -method-id=keys phone\n# without a token, by a right that an administrator gave\nmfa passkey add -registration-id=77d1… phone",
		flags:   e.flags("webauthn", "a passkey"), check: e.check,
		run: connected(func(c *call, cl *client.Client) error {
			r, err := e.registration(c, cl, passkeyMethods, "sys/mfa/passkey")
			if err != nil {
				return err
			}
			return r.passkey()
		}),
	}
}

// passkey registers a passkey.
func (r *registration) passkey() error {
	s, err := r.cl.Write(r.ctx, r.begin, r.body)
	if err != nil {
		return failed(err, "beginning to register a passkey")
	}
	var asked passkeyAsked
	if err := s.Decode(&asked); err != nil {
		return err
	}
	made, err := r.byPasskey(r.cl, "create", &asked)
	if err != nil {
		return err
	}
	if !json.Valid([]byte(made)) {
		return errors.New("the browser brought nothing that is a passkey")
	}
	name := ""
	if len(r.args) > 0 {
		name = r.args[0]
	}
	s, err = r.cl.Write(r.ctx, r.finish, map[string]any{"registration_id": asked.ID, "name": name, "credential": json.RawMessage(made)})
	if err != nil {
		return failed(err, "registering the passkey")
	}
	return r.show(s.Data, s.Data, func() error {
		return r.println(fmt.Sprintf("Success! Registered the passkey %v.", s.Data["passkey_id"]))
	})
}

func passkeyList() command {
	var method string
	return command{
		use: "list", short: "List your passkeys", args: exactly(0), example: "mfa passkey list -method-id=keys", flags: methodFlag(&method, "webauthn"),
		check: func(*call) error { return needsMethod(method) },
		run: connected(func(c *call, cl *client.Client) error {
			id, err := c.methodID(cl, passkeyMethods, method)
			if err != nil {
				return err
			}
			path := client.JoinPath(passkeyMethods, id, "passkey")
			s, err := cl.List(c.ctx, path, client.Page{})
			if err != nil {
				return failed(err, "listing the passkeys")
			}
			return c.show(s.Data, s.Data, func() error { return c.println(passkeyTable(s.Data)) })
		}),
	}
}

func needsMethod(id string) error {
	if id == "" {
		return usagef("-method-id=METHOD is needed")
	}
	return nil
}

func passkeyTable(data map[string]any) string {
	info, ok := data["key_info"].(map[string]any)
	if !ok {
		return ""
	}
	var rows [][]string
	for _, id := range sortedKeys(info) {
		k, ok := info[id].(map[string]any)
		if !ok {
			continue
		}
		rows = append(rows, []string{id, fmt.Sprint(k["name"]), fmt.Sprint(k["creation_time"]), fmt.Sprint(k["last_used_time"])})
	}
	return table([]string{"Passkey", "Name", "Registered", "Last used"}, rows)
}

func passkeyRemove() command {
	var method string
	return command{
		use: "remove PASSKEY", short: "Remove a passkey", args: exactly(1), example: "mfa passkey remove -method-id=keys 2b77…", flags: methodFlag(&method, "webauthn"),
		long:  "From then on it proves no login. Have another before you remove the last one.",
		check: func(*call) error { return needsMethod(method) },
		run: connected(func(c *call, cl *client.Client) error {
			id, err := c.methodID(cl, passkeyMethods, method)
			if err != nil {
				return err
			}
			if _, err := cl.Delete(c.ctx, client.JoinPath(passkeyMethods, id, "passkey", c.args[0]), nil); err != nil {
				return failed(err, "removing the passkey")
			}
			return c.say("Success! Removed the passkey %s, if it was there.", c.args[0])
		}),
	}
}
