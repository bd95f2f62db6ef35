package cli

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// patience is how long it is tried to reach a server in all, at all of its addresses.
const patience = 4 * time.Second

// globals are the flags every command takes.
type globals struct {
	address, agentAddress           string
	namespace, ns                   string
	caCert, caPath                  string
	clientCert, clientKey           string
	tlsServerName                   string
	tlsSkipVerify, disableRedirects bool
	wrapTTL                         ttl
	headers, mfa                    []string
	outputCurl, outputPolicy        bool
	nonInteractive, policyOverride  bool
	format, field                   string
}

// register adds the flags. A help text names a variable as the guise spells it.
func (g *globals) register(f *pflag.FlagSet, worded func(string) string) {
	defer f.VisitAll(func(flag *pflag.Flag) { flag.Usage = worded(flag.Usage) })
	f.StringVar(&g.address, "address", "", "server `URL`, http://, https:// or unix://, or several with commas between (STRONGROOM_ADDR)")
	f.StringVar(&g.agentAddress, "agent-address", "", "`URL` of an agent to go through (STRONGROOM_AGENT_ADDR)")
	f.StringVar(&g.namespace, "namespace", "", "`namespace` to work in (STRONGROOM_NAMESPACE)")
	f.StringVar(&g.ns, "ns", "", "short for -namespace")
	f.StringVar(&g.caCert, "ca-cert", "", "`file` with the CA certificate to trust (STRONGROOM_CACERT)")
	f.StringVar(&g.caPath, "ca-path", "", "`directory` of CA certificates to trust (STRONGROOM_CAPATH)")
	f.StringVar(&g.clientCert, "client-cert", "", "`file` with the client certificate (STRONGROOM_CLIENT_CERT)")
	f.StringVar(&g.clientKey, "client-key", "", "`file` with the client certificate's key (STRONGROOM_CLIENT_KEY)")
	f.StringVar(&g.tlsServerName, "tls-server-name", "", "`name` to expect in the server's certificate")
	f.BoolVar(&g.tlsSkipVerify, "tls-skip-verify", false, "trust any certificate: unsafe")
	f.BoolVar(&g.disableRedirects, "disable-redirects", false, "follow no redirect")
	f.Var(&g.wrapTTL, "wrap-ttl", "wrap the answer for this `duration`, as 60 or 5m")
	f.StringArrayVar(&g.headers, "header", nil, "header to send, as `name=value`; may be repeated")
	f.StringArrayVar(&g.mfa, "mfa", nil, "second factor to send, as `method:passcode`; may be repeated")
	f.BoolVar(&g.outputCurl, "output-curl-string", false, "print the request as a curl command instead of sending it")
	f.BoolVar(&g.outputPolicy, "output-policy", false, "print the policy the request needs instead of sending it")
	f.BoolVar(&g.nonInteractive, "non-interactive", false, "never ask, never read standard input")
	f.BoolVar(&g.policyOverride, "policy-override", false, "override a soft-mandatory policy, where the server has such")
	f.StringVar(&g.format, "format", "", "output `format`: table, json, yaml or raw (STRONGROOM_FORMAT)")
	f.StringVar(&g.field, "field", "", "print only this `field`")
}

// config is what the environment says, overridden by the flags.
func (a *app) config() (client.Config, error) {
	cfg, err := client.FromEnv(a.getenv)
	if err != nil {
		return cfg, err
	}
	g := &a.flags
	for _, o := range []struct {
		to   *string
		flag string
	}{
		{&cfg.Address, g.address}, {&cfg.Address, g.agentAddress}, {&cfg.Namespace, g.ns}, {&cfg.Namespace, g.namespace},
		{&cfg.CACert, g.caCert}, {&cfg.CAPath, g.caPath}, {&cfg.ClientCert, g.clientCert},
		{&cfg.ClientKey, g.clientKey}, {&cfg.TLSServerName, g.tlsServerName}, {&cfg.WrapTTL, g.wrapTTL.text},
	} {
		if o.flag != "" {
			*o.to = o.flag
		}
	}
	if cfg.Address == "" {
		cfg.Address = client.DefaultAddress
	}
	cfg.SkipVerify = cfg.SkipVerify || g.tlsSkipVerify
	cfg.NoRedirects = cfg.NoRedirects || g.disableRedirects
	own, err := g.header()
	if cfg.Header == nil {
		cfg.Header = own
	}
	for name, values := range own {
		cfg.Header[name] = values
	}
	return cfg, err
}

func (g *globals) header() (http.Header, error) {
	h := http.Header{}
	if g.policyOverride {
		h.Set("X-Vault-Policy-Override", "true")
	}
	for _, factor := range g.mfa {
		if method, code, _ := strings.Cut(factor, ":"); method == "" || code == "" {
			return nil, usagef("-mfa: want METHOD:PASSCODE, where METHOD is the name or the identifier of the method, as in -mfa=app:PASSCODE")
		}
		h.Add("X-Vault-MFA", factor)
	}
	for _, pair := range g.headers {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("-header: want name=value")
		}
		if strings.HasPrefix(strings.ToLower(name), "x-vault-") {
			return nil, usagef("-header: %s is set by the program itself", name)
		}
		h.Add(name, value)
	}
	return h, nil
}

// client makes the client for a command, with the token of the environment or
// else of the token file.
func (a *app) client() (*client.Client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if cfg.Token == "" {
		if cfg.Token, err = a.findToken(); err != nil {
			return nil, err
		}
	}
	cfg.Warned, cfg.Waiting = a.warned, a.waiting
	if cfg.MaxRetries <= 0 { // nobody asked for more than the usual ones
		cfg.Patience = patience
	}
	switch {
	case a.flags.outputCurl:
		cfg.Wrap = instead(a.curl)
	case a.flags.outputPolicy:
		cfg.Wrap = instead(policyFor)
	}
	if !strings.Contains(cfg.Address, "://") {
		return nil, &exit{
			exitLocal, fmt.Sprintf("Error: the server's address %q has no scheme", cfg.Address),
			fmt.Sprintf("add http:// or https:// in STRONGROOM_ADDR, VAULT_ADDR or -address: https://%s", cfg.Address),
		}
	}
	return client.New(cfg)
}

// ttl is a duration flag: seconds, Go's notation, or days as "2d". It keeps the
// text, since the server reads the same notations.
type ttl struct {
	text string
	d    time.Duration
}

// Type implements pflag.Value.
func (t *ttl) Type() string { return "duration" }

// String implements pflag.Value.
func (t *ttl) String() string { return t.text }

// Set implements pflag.Value.
func (t *ttl) Set(s string) error {
	d, err := parseDuration(s)
	if err != nil {
		return usagef("want a duration, as 90 (seconds), 1h30m or 2d")
	}
	*t = ttl{s, d}
	return nil
}

// api is the text for the server; a negative duration means the system's own.
func (t *ttl) api() string {
	if t.d < 0 {
		return "system"
	}
	return t.text
}
