package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// shownRequest ends a command whose request was printed instead of sent.
type shownRequest struct{ text string }

func (s *shownRequest) Error() string { return "the request was printed, not sent" }

// instead returns a transport that prints requests with show and sends none,
// except the look-up of a KV mount, which the request to print depends on.
func instead(show func(*http.Request) (string, error)) func(http.RoundTripper) http.RoundTripper {
	return func(real http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Context().Value(needed{}) != nil {
				return real.RoundTrip(req)
			}
			text, err := show(req)
			if err != nil {
				return nil, err
			}
			return nil, &shownRequest{text}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// needed marks, in a context, requests whose answer the one to show depends on.
type needed struct{}

func alwaysSent(ctx context.Context) context.Context {
	return context.WithValue(ctx, needed{}, true)
}

// curl writes req as a command line. The token is left to the shell to fetch, so
// that it lands in no history.
func (a *app) curl(req *http.Request) (string, error) {
	var b strings.Builder
	b.WriteString("curl")
	if req.Method != http.MethodGet {
		fmt.Fprintf(&b, " -X %s", req.Method)
	}
	if a.flags.tlsSkipVerify {
		b.WriteString(" --insecure")
	}
	if cfg, err := a.config(); err == nil {
		for _, f := range [][2]string{{"cacert", cfg.CACert}, {"capath", cfg.CAPath}, {"cert", cfg.ClientCert}, {"key", cfg.ClientKey}} {
			if f[1] != "" {
				fmt.Fprintf(&b, " --%s %s", f[0], shellQuote(f[1]))
			}
		}
	}
	names := make([]string, 0, len(req.Header))
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "X-Vault-Token" {
			fmt.Fprintf(&b, ` -H "X-Vault-Token: $(%s print token)"`, a.name)
			continue
		}
		for _, v := range req.Header[name] {
			fmt.Fprintf(&b, " -H %s", shellQuote(name+": "+v))
		}
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err = errors.Join(err, req.Body.Close()); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " -d %s", shellQuote(string(body)))
	}
	fmt.Fprintf(&b, " %s", shellQuote(req.URL.String()))
	return b.String(), nil
}

// shellQuote quotes for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// policyFor writes the rule that allows req.
func policyFor(req *http.Request) (string, error) {
	path := strings.TrimPrefix(req.URL.Path, "/v1/")
	caps := `"read"`
	switch {
	case req.URL.Query().Get("list") == "true":
		caps, path = `"list"`, strings.TrimSuffix(path, "/")+"/"
	case req.URL.Query().Get("scan") == "true":
		caps, path = `"scan"`, strings.TrimSuffix(path, "/")+"/"
	case req.Method == http.MethodPut, req.Method == http.MethodPost:
		caps = `"create", "update"`
	case req.Method == http.MethodPatch:
		caps = `"patch"`
	case req.Method == http.MethodDelete:
		caps = `"delete"`
	}
	if needsSudo(path) {
		caps += `, "sudo"`
	}
	return fmt.Sprintf("path %q {\n  capabilities = [%s]\n}", path, caps), nil
}
