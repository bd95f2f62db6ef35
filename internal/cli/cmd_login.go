package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// loginMethod is a way to log in: log takes the mount's path and the key=value
// arguments, and answers an envelope with a token in it.
type loginMethod struct {
	log  func(c *call, cl *client.Client, mount string, args map[string]string) (*client.Secret, error)
	help string
	asks []string // fields that a person is asked for, hidden but for names
}

// loginMethods lists the methods by the type of their mounts.
func loginMethods() map[string]loginMethod {
	password := func(typ string) loginMethod {
		return loginMethod{withPassword, "login -method=" + typ + " username=NAME\nThe password is asked for, unless password=… is given.", []string{"username"}}
	}
	fields := func(usage, more string, asks ...string) loginMethod {
		return loginMethod{withFields, "login -method=" + usage + "\n" + more, asks}
	}
	signed := func(typ, whose string) loginMethod {
		return fields(typ+" role=ROLE jwt=TOKEN", "The token is "+whose+"; jwt=@FILE or jwt=- reads it.", "role", "jwt")
	}
	return map[string]loginMethod{
		"token":    {withToken, "login [TOKEN]\nThe token is asked for when it is not given; - reads it from standard input.", nil},
		"userpass": password("userpass"), "ldap": password("ldap"), "radius": password("radius"),
		"approle": fields("approle role_id=ID [secret_id=SECRET]", "secret_id=@FILE or secret_id=- reads it. A role with bind_secret_id=false needs none.", "role_id", "secret_id"),
		"cert":    fields("cert -client-cert=FILE -client-key=FILE [name=ENTRY]", "The certificate is shown to the server. Without name, any entry of the method may let it in."),
		"jwt":     signed("jwt", "one of an issuer that the method trusts"), "gcp": signed("gcp", "one that Google or a service account has signed"),
		"azure":      signed("azure", "that of the machine's identity"),
		"oidc":       {withProvider, providerHelp, nil},
		"kubernetes": {withServiceAccount, "login -method=kubernetes role=ROLE [jwt=TOKEN]\nWithout jwt the token of the pod's service account is used.", nil},
		"aws":        {withAWS, "login -method=aws [role=ROLE] [region=REGION] [header_value=SERVER_ID] [sts_host=HOST]\nThe credentials are those of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.", nil},
	}
}

type loginFlags struct {
	method, path                string
	noStore, noPrint, tokenOnly bool
}

func (l *loginFlags) register(f *pflag.FlagSet) {
	f.StringVar(&l.method, "method", "", "`type` of the auth method; when not given, that of the last login, or token")
	f.StringVar(&l.path, "path", "", "`path` the method is enabled at; its type when not given")
	f.BoolVar(&l.noStore, "no-store", false, "do not store the token")
	f.BoolVar(&l.noPrint, "no-print", false, "do not print the token")
	f.BoolVar(&l.tokenOnly, "token-only", false, "print the token alone and do not store it")
}

func loginCommand() command {
	var l loginFlags
	return command{
		use: "login [TOKEN | KEY=VALUE...]", short: "Get a token and keep it for later commands", args: atLeast(0),
		long: "The token is kept in ~/" + tokenFile + ", readable by you alone, or by the program\n" +
			"that ~/.strongroom or ~/.vault names as token_helper. At a terminal, what is not given is asked for.\n\n" +
			"Without -method it is the last login again: ~/" + loginFile + " has its method, path,\n" +
			"namespace, username, role and role_id, and never a secret. A token that is given is always taken.",
		example: `
			login
			login -method=userpass username=ann
			# a token from a file or a pipe
			login - < token.txt
			# a token for a script
			login -token-only -method=approle role_id=@role-id secret_id=@secret-id
			# a browser at the provider's page, or a code to type where there is none
			login -method=oidc role=staff`,
		flags:  l.register,
		values: map[string][]string{"method": sortedKeys(loginMethods())},
		run: connected(func(c *call, cl *client.Client) error {
			s, last, err := c.login(cl, l)
			if err != nil {
				return failed(err, "logging in")
			}
			return c.loggedIn(s, l, last)
		}),
	}
}

func (c *call) login(cl *client.Client, l loginFlags) (*client.Secret, *lastLogin, error) {
	if _, ok := loginMethods()[l.method]; !ok && l.method != "" {
		return nil, nil, usagef("-method=%s: want one of %s", l.method, strings.Join(sortedKeys(loginMethods()), ", "))
	}
	if (l.method == "token" || l.method == "") && len(c.args) == 1 && !strings.Contains(c.args[0], "=") {
		c.args = []string{"token=" + c.args[0]}
	}
	args, err := parseStringPairs("auth/", c.input(), c.args)
	if err != nil {
		return nil, nil, err
	}
	l.path = strings.TrimPrefix(cleanPath(l.path), "auth/") // as lists of mounts write it
	if cl, err = c.again(&l, cl, args); err != nil {
		return nil, nil, err
	}
	mount := l.path
	if mount == "" {
		mount = l.method
	}
	if err := c.complement(l.method, args); err != nil {
		return nil, nil, err
	}
	c.asks = !c.flags.nonInteractive
	last := &lastLogin{Method: l.method, Path: mount, Namespace: realNamespace(cl.Namespace()), Username: args["username"], Role: args["role"]}
	if args["secret_id"] != "" { // without one, the role_id alone lets in: it is no name then
		last.RoleID = args["role_id"]
	}
	s, err := loginMethods()[l.method].log(c, cl.WithToken(""), mount, args)
	if need := requirementOf(s); err == nil && need != nil && !c.flags.nonInteractive {
		s, err = c.secondFactors(cl.WithToken(""), need)
	}
	if err == nil && s != nil && s.WrapInfo != nil && !l.noStore && !l.tokenOnly {
		s, err = cl.Unwrap(c.ctx, client.Token(s.WrapInfo.Token))
	}
	if err == nil && (s == nil || (s.Auth == nil && s.WrapInfo == nil)) {
		err = errors.New("the server's answer has no token")
	}
	return s, last, err
}

// loggedIn stores and prints the token as the flags say.
func (c *call) loggedIn(s *client.Secret, l loginFlags, last *lastLogin) error {
	if requirementOf(s) != nil {
		return c.waiting(s, l)
	}
	switch {
	case l.tokenOnly:
		c.flags.field = "token"
		if s.Auth == nil {
			c.flags.field = "wrapping_token"
		}
	case s.Auth == nil:
		// A wrapped token was asked for: there is nothing to store yet.
	case l.noStore:
		fmt.Fprintln(c.stderr, c.guise.worded("warning: the token was not stored: set STRONGROOM_TOKEN to it"))
	default:
		if err := c.storeToken(client.Token(s.Auth.ClientToken)); err != nil {
			return err
		}
		if err := c.remember(last); err != nil {
			return err
		}
		if client.LookupEnv(c.getenv, "TOKEN") != "" {
			fmt.Fprintln(c.stderr, "warning: a token in the environment wins over the one just stored: unset STRONGROOM_TOKEN, BAO_TOKEN and VAULT_TOKEN")
		}
	}
	if l.noPrint {
		return nil
	}
	if f, err := c.format(); err == nil && f == formatTable && c.flags.field == "" && !l.noStore {
		text := "Success! You are logged in, and later commands use this token"
		if last.Namespace != "" && client.LookupEnv(c.getenv, "NAMESPACE") == "" {
			text += " in the namespace " + last.Namespace + ": give them -namespace=" + last.Namespace + ", or set STRONGROOM_NAMESPACE"
		}
		if err := c.println(c.guise.worded(text) + ".\n"); err != nil {
			return err
		}
	}
	return c.secret(s)
}

// withToken checks a token that is known already.
func withToken(c *call, cl *client.Client, _ string, args map[string]string) (*client.Secret, error) {
	text, ok := args["token"]
	token := strings.TrimSpace(text) // a file's or a pipe's ends in a newline
	switch {
	case ok && token == "":
		return nil, usagef("the token that is given is blank")
	case !ok:
		var err error
		if token, err = c.askSecret("Token"); err != nil {
			return nil, err
		}
	}
	info, err := cl.WithToken(client.Token(token)).WithWrapTTL("").Tokens().LookupSelf(c.ctx)
	if err != nil {
		return nil, err
	}
	return &client.Secret{Auth: &client.Auth{
		ClientToken: token, Accessor: info.Accessor, Policies: info.Policies, TokenPolicies: info.Policies,
		Metadata: info.Metadata, LeaseDuration: info.TTL, Renewable: info.Renewable,
		EntityID: info.EntityID, Orphan: info.Orphan,
	}}, nil
}

// withPassword is the login of methods that know people by name and password.
func withPassword(c *call, cl *client.Client, mount string, args map[string]string) (*client.Secret, error) {
	name := args["username"]
	if name == "" {
		name = c.getenv("USER")
	}
	if name == "" || strings.Contains(name, "/") {
		return nil, usagef("username=NAME is needed")
	}
	password, ok := args["password"]
	if !ok {
		var err error
		if password, err = c.askSecret("Password"); err != nil {
			return nil, err
		}
	}
	body := map[string]any{}
	for k, v := range args {
		if k != "username" {
			body[k] = v
		}
	}
	body["password"] = password
	return cl.Write(c.ctx, client.JoinPath("auth", mount, "login", name), body)
}

// complement asks a person at a terminal for the fields that a method cannot do without. Programs give them.
func (c *call) complement(method string, args map[string]string) error {
	asked := loginMethods()[method].asks
	if len(asked) == 0 || !c.asksPeople() {
		return nil
	}
	for _, field := range asked {
		if _, given := args[field]; given {
			continue
		}
		value, err := c.askField(field)
		if err != nil {
			return err
		}
		if value != "" { // a role may do without a secret id
			args[field] = value
		}
	}
	return nil
}

// askField asks a person for one field of a login. Names are shown, and a person is by default who the machine says they are.
func (c *call) askField(field string) (string, error) {
	switch field {
	case "username":
		return c.askName(field, c.getenv("USER"))
	case "role", "role_id":
		return c.askName(field, "")
	}
	return c.askLine(field)
}

// withFields is the login of methods that take what they need as fields.
func withFields(c *call, cl *client.Client, mount string, args map[string]string) (*client.Secret, error) {
	return cl.Write(c.ctx, client.JoinPath("auth", mount, "login"), args)
}
