package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/strongroom/strongroom/client"
)

// mountLookup is where a path's mount is looked up; the server refuses that when
// the token may do nothing at the path itself.
const mountLookup = "sys/internal/ui/mounts/"

// Exit codes.
const (
	exitOK     = 0
	exitLocal  = 1
	exitServer = 2
	// exitNoCommand is what vault and bao, and shells, answer for a command that is
	// not there.
	exitNoCommand = 127
)

// exit ends the program with a code. An empty text prints nothing.
type exit struct {
	code int
	text string
	hint string
}

func (e *exit) Error() string { return e.text }

// local makes the exit code 1 whatever err is, for the commands whose 2 has a
// meaning of its own.
func local(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

type localError struct{ err error }

func (l *localError) Error() string { return l.err.Error() }
func (l *localError) Unwrap() error { return l.err }

// usagef is a mistake in how the program was called.
func usagef(format string, args ...any) error { return fmt.Errorf(format, args...) }

// absent says that nothing is at path.
func absent(path string) error {
	return &exit{
		code: exitServer, text: "No value found at " + path,
		hint: "check the path's spelling: list and kv list show what is there",
	}
}

// noVersion says that a secret, if there is one, has no such version.
func noVersion(path string, version int) error {
	return &exit{exitServer, fmt.Sprintf("No version %d found at %s", version, path), "kv metadata get shows a secret's versions"}
}

// noneNamed says that a family of commands, which lists them, knows none of a name.
func noneNamed(family, name string) error {
	return &exit{exitServer, fmt.Sprintf("There is no %s %s", family, name), fmt.Sprintf("check the name's spelling: %s list shows those there are", family)}
}

// failed names what was being done when err came, and leaves nil alone.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &failure{what: fmt.Sprintf(format, args...), err: err}
}

type failure struct {
	what string
	err  error
}

func (f *failure) Error() string { return f.what + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func exitCode(err error) int {
	var e *exit
	var api *client.Error
	var transport *client.TransportError
	var here *localError
	var shown *shownRequest
	switch {
	case err == nil, errors.As(err, &shown):
		return exitOK
	case errors.As(err, &here):
		return exitLocal
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &api), errors.As(err, &transport):
		return exitServer
	}
	return exitLocal
}

// printable is a server's text without what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, text)
}

// report prints what failed on one line, then the server's own words, then what
// can be done about it.
func (a *app) report(err error) {
	var shown *shownRequest
	if errors.As(err, &shown) {
		fmt.Fprintln(a.stdout, shown.text)
		return
	}
	if text := headline(err); text != "" {
		fmt.Fprintln(a.stderr, text)
	}
	var api *client.Error
	if errors.As(err, &api) {
		for _, m := range api.Messages {
			fmt.Fprintln(a.stderr, "  * "+strings.ReplaceAll(strings.TrimSpace(printable(m)), "\n", "\n    "))
		}
		for _, w := range api.Warnings() {
			fmt.Fprintln(a.stderr, "warning: "+printable(w))
		}
		if api.RequestID != "" {
			fmt.Fprintln(a.stderr, "  request id "+printable(api.RequestID))
		}
	}
	if hint := a.hint(err); hint != "" {
		fmt.Fprintln(a.stderr, "hint: "+a.guise.worded(hint))
	}
}

// headline leaves out what report prints on lines of its own.
func headline(err error) string {
	var api *client.Error
	var what *failure
	switch {
	case errors.As(err, &api) && errors.As(err, &what):
		return fmt.Sprintf("Error %s: %s", what.what, api.Summary())
	case errors.As(err, &api):
		return "Error: " + api.Summary()
	case errors.As(err, &what):
		return "Error " + err.Error()
	}
	var e *exit
	if errors.As(err, &e) {
		return e.text
	}
	return "Error: " + err.Error()
}

// hint is a remedy for the commonest failures, or empty.
func (a *app) hint(err error) string {
	var e *exit
	if errors.As(err, &e) {
		return e.hint
	}
	var api *client.Error
	if errors.As(err, &api) {
		return a.apiHint(api)
	}
	return a.transportHint(err)
}

func (a *app) apiHint(err *client.Error) string {
	_, login := loginAt(err.Path)
	switch {
	case mentions(err.Messages, "bad token"):
	case login && mentions(err.Messages, "invalid username or password", "invalid role or secret id"):
		return "check what you logged in with, -path and -namespace; who fails too often is locked out for a while" + a.explainHint(err.RequestID)
	case errors.Is(err, client.ErrForbidden):
		if hint := a.loginHint(err.Path); hint != "" {
			return hint + a.explainHint(err.RequestID)
		}
		if a.token() == "" {
			return fmt.Sprintf("no token is set: run %q, or set STRONGROOM_TOKEN", a.name+" login")
		}
		if strings.HasPrefix(err.Path, "auth/token/") && strings.HasSuffix(err.Path, "-self") {
			return a.ofNamespaceHint() + fmt.Sprintf("the token has ended or was never one: get another with %q", a.name+" login")
		}
		return a.ofNamespaceHint() + a.forbiddenHint(err.Path) + a.explainHint(err.RequestID)
	case mentions(err.Messages, "vault is sealed"): // a namespace's seal is named as such
		return fmt.Sprintf("the server is sealed: run %q with enough key shares", a.name+" operator unseal")
	case mentions(err.Messages, "not initialized"):
		return fmt.Sprintf("the store is new: run %q once", a.name+" operator init")
	case mentions(err.Messages, "HTTP request to an HTTPS server"):
		return a.schemeHint("https")
	case mentions(err.Messages, "lease count quota exceeded"):
		return fmt.Sprintf("there are as many tokens and leases as a quota lets there be: revoke some, or raise its max_leases: see %s list sys/quotas/lease-count", a.name)
	case errors.Is(err, client.ErrRateLimited) && err.RetryAfter > 0:
		return fmt.Sprintf("the server limits how often you may ask: try again in %s", humanSeconds(int64(err.RetryAfter.Seconds())))
	case errors.Is(err, client.ErrRateLimited):
		return "the server limits how often you may ask: wait and try again"
	}
	return a.remedy(err)
}

// ofNamespaceHint is for a token of a namespace, told by its last part, that is shown in none.
func (a *app) ofNamespaceHint() string {
	cfg, err := a.config()
	if err != nil || realNamespace(cfg.Namespace) != "" || !tokenOfNamespace(a.token().Reveal()) {
		return ""
	}
	return "the token is of a namespace: give -namespace, or set STRONGROOM_NAMESPACE; else "
}

// tokenOfNamespace tells a token of a namespace, whose identifier is behind a last dot.
func tokenOfNamespace(token string) bool {
	return strings.HasPrefix(token, "sr") && strings.Contains(token, ".") || strings.Count(token, ".") > 1
}

// loginHint is for a login that was refused, which has no token to be looked at; empty for other paths.
func (a *app) loginHint(path string) string {
	switch at, ok := loginAt(path); {
	case ok:
		where := "this namespace"
		if cfg, err := a.config(); err == nil && cfg.Namespace != "" {
			where = "the namespace " + cfg.Namespace
		}
		given := ""
		if len(a.flags.mfa) > 0 {
			given = "perhaps -mfa names no method that the login needs, or its passcode was wrong or used before; or "
		}
		return given + fmt.Sprintf("perhaps no auth method is enabled at auth/%s/ in %s (-path, -namespace), or what you logged in with is wrong, a passcode among it: who may see it looks with %s auth list", at, where, a.name)
	case strings.HasPrefix(path, "sys/mfa/") && (strings.HasSuffix(path, "/register") || strings.HasSuffix(path, "/finish")):
		return "the right to register is misspelt, was used or has ended: an administrator gives another"
	case strings.HasPrefix(path, "sys/mfa/"):
		return "the passcode was wrong or used before, or the login has waited for longer than five minutes, or you have no secret for the method: log in again, with the next passcode"
	}
	return ""
}

// loginAt is the mount of a path at which people log in: no token is sent there.
func loginAt(path string) (mount string, ok bool) {
	rest, ok := strings.CutPrefix(path, "auth/")
	if !ok || strings.HasPrefix(rest, "token/") {
		return "", false
	}
	for _, end := range []string{"/login", "/oidc/auth_url", "/oidc/callback"} {
		at := strings.Index(rest+"/", end+"/")
		if at > 0 {
			return rest[:at], true
		}
	}
	return "", false
}

// forbiddenHint is for a refusal that does not tell a token without rights from one
// that has ended, nor a mount that does not exist from one that may not be seen.
func (a *app) forbiddenHint(path string) string {
	if at, ok := strings.CutPrefix(path, mountLookup); ok {
		return fmt.Sprintf("perhaps nothing is mounted at %s, or the token is invalid or lacks rights there: see %s secrets list, %[2]s token lookup",
			at, a.name)
	}
	return fmt.Sprintf("the token may be invalid, or lack rights: see %s token lookup, %[1]s token capabilities %s", a.name, path)
}

// explainHint says how who may learns the cause of a refusal.
func (a *app) explainHint(requestID string) string {
	if requestID == "" {
		return ""
	}
	return fmt.Sprintf("; an administrator learns why with %s policy explain -request-id=%s", a.name, requestID)
}

// mentions looks into the server's words only to choose a hint, never to decide.
func mentions(messages []string, words ...string) bool {
	said := strings.ToLower(strings.Join(messages, "\n"))
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(said, strings.ToLower(word)) })
}

func (a *app) transportHint(err error) string {
	var transport *client.TransportError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "a program listens there already, perhaps another server: end it, or give another address"
	case !errors.As(err, &transport):
		return ""
	}
	var dns *net.DNSError
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("no server listens at %s: start one with %q, or set STRONGROOM_ADDR",
			transport.Address, a.name+" dev")
	case errors.As(err, &unknownCA):
		return "the server's certificate is not signed by an authority known here: name its CA's file in STRONGROOM_CACERT or -ca-cert"
	case errors.As(err, &wrongName):
		return "the certificate is for another name: use that name in STRONGROOM_ADDR, or give it in -tls-server-name"
	case errors.As(err, &dns):
		return "the name in STRONGROOM_ADDR is not known here: check its spelling"
	case isTimeout(err):
		return fmt.Sprintf("%s does not answer: see whether its machine is up and reached from here; other addresses to try go into STRONGROOM_ADDR with commas between", transport.Address)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return a.schemeHint("http")
	case errors.Is(err, client.ErrRedirect):
		return "set STRONGROOM_ADDR to the address it points to, if you trust that"
	}
	return ""
}

// isTimeout reports whether no connection came about in time.
func isTimeout(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && op.Timeout() || strings.HasSuffix(err.Error(), "TLS handshake timeout")
}

func (a *app) schemeHint(want string) string {
	cfg, err := a.config()
	if err != nil {
		return ""
	}
	_, host, _ := strings.Cut(cfg.Address, "://")
	return fmt.Sprintf("the server speaks %s there: export STRONGROOM_ADDR=%s://%s", want, want, host)
}
