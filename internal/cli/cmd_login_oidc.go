package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/client"
)

// How long is waited for somebody to log in at the provider: a server keeps a login for no longer.
const providerTime = 10 * time.Minute

const providerHelp = "login -method=oidc [role=ROLE] [port=8250] [listenaddress=localhost] [skip_browser=true]\n" +
	"A browser is opened at the provider's page, and this program waits for it at http://localhost:8250/oidc/callback.\n" +
	"A role with callback_mode=device needs no browser here: the address and a code are shown.\n" +
	"One with callback_mode=direct has the browser go from the provider to the server; callbackhost, callbackmethod and\n" +
	"callbackport say where it is sent, when that is not where this program listens, or the server's address."

// providerLogin is a login through an OpenID provider.
type providerLogin struct {
	*call
	cl    *client.Client
	mount string
	args  map[string]string
	nonce string // shows the server that whoever finishes the login has begun it
}

// begun is how the server begins it.
type begun struct {
	AuthURL      string `json:"auth_url"`
	State        string `json:"state"`
	PollInterval string `json:"poll_interval"` // seconds
	UserCode     string `json:"user_code"`
}

func withProvider(c *call, cl *client.Client, mount string, args map[string]string) (*client.Secret, error) {
	known := []string{"role", "port", "listenaddress", "skip_browser", "callback_mode", "callbackhost", "callbackmethod", "callbackport"}
	for _, name := range sortedKeys(args) {
		if !slices.Contains(known, name) {
			return nil, usagef("%s=: want one of %s", name, strings.Join(known, ", "))
		}
	}
	p := &providerLogin{c, cl, mount, args, rand.Text()}
	ctx, cancel := context.WithTimeout(c.ctx, providerTime)
	defer cancel()
	if p.arg("callback_mode", "client") == "direct" {
		b, err := p.begin(ctx, p.serverURI())
		if err != nil {
			return nil, err
		}
		return p.poll(ctx, b)
	}
	return p.byListener(ctx)
}

func (p *providerLogin) arg(name, usual string) string {
	if v, ok := p.args[name]; ok {
		return v
	}
	return usual
}

// serverURI is where the provider sends a browser that goes on to the server.
func (p *providerLogin) serverURI() string {
	u, err := url.Parse(p.cl.Address())
	if err != nil {
		return ""
	}
	out := url.URL{Scheme: p.arg("callbackmethod", u.Scheme), Host: p.arg("callbackhost", u.Hostname())}
	if port := p.arg("callbackport", u.Port()); port != "" {
		out.Host = net.JoinHostPort(out.Host, port)
	}
	return out.String() + "/v1/auth/" + p.mount + "/oidc/callback"
}

// begin asks the server where to log in.
func (p *providerLogin) begin(ctx context.Context, redirect string) (*begun, error) {
	s, err := p.cl.Write(ctx, client.JoinPath("auth", p.mount, "oidc/auth_url"), map[string]string{"role": p.args["role"], "redirect_uri": redirect, "client_nonce": p.nonce})
	if err != nil {
		return nil, err
	}
	var b begun
	if err := s.Decode(&b); err != nil {
		return nil, err
	}
	if b.AuthURL == "" {
		return nil, &notLetIn{redirect}
	}
	return &b, nil
}

// notLetIn is the server's answer to who may not log in so, whatever the cause.
type notLetIn struct{ redirect string }

func (n *notLetIn) Error() string {
	return fmt.Sprintf("the server does not let anybody log in so: the role does not exist, is not of type oidc, or has not %s in allowed_redirect_uris", n.redirect)
}

// beginFor begins a login of which the role says how it comes back: the server tells, by a state to poll with, where
// it does so without this program listening. A role of callback_mode=direct wants the server's own address.
func (p *providerLogin) beginFor(ctx context.Context, redirect string) (*begun, error) {
	b, err := p.begin(ctx, redirect)
	var not *notLetIn
	if _, chosen := p.args["callback_mode"]; chosen || !errors.As(err, &not) {
		return b, err
	}
	if direct, again := p.begin(ctx, p.serverURI()); again == nil && direct.State != "" {
		return direct, nil
	}
	return nil, err
}

// byListener listens for the browser on this machine, unless the role wants no such thing.
func (p *providerLogin) byListener(ctx context.Context) (*client.Secret, error) {
	port := p.arg("port", "8250")
	listener, busy := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(p.arg("listenaddress", "localhost"), port))
	if busy == nil {
		defer listener.Close() //nolint:errcheck // the server below has closed it
		port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	}
	redirect := p.arg("callbackmethod", "http") + "://" + net.JoinHostPort(p.arg("callbackhost", "localhost"), p.arg("callbackport", port)) + "/oidc/callback"
	b, err := p.beginFor(ctx, redirect)
	switch {
	case err == nil && b.State != "":
		return p.poll(ctx, b) // nothing comes here, and a port that is taken is none of its business
	case busy != nil && (err == nil || errors.As(err, new(*notLetIn))):
		return nil, fmt.Errorf("listening for the browser: %w; port=0 takes any port", busy)
	case err != nil:
		return nil, err
	}
	done := make(chan outcome, 1)
	server := &http.Server{Handler: p.ownVisitors().admit(p.listen(ctx, b, done)), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := p.show(ctx, b); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	select {
	case o := <-done:
		shut, cancel := context.WithTimeout(ctx, 2*time.Second) // the browser has its page by then
		defer cancel()
		if err := server.Shutdown(shut); err != nil && o.err == nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return o.secret, o.err
	case err := <-failed:
		return nil, fmt.Errorf("listening for the browser: %w", err)
	case <-ctx.Done():
		return nil, errors.Join(errors.New("nobody has logged in"), server.Close())
	}
}

// outcome is what the browser brought.
type outcome struct {
	secret *client.Secret
	err    error
}

// listen takes what the browser brings back, once, and hands it to the server. What does not name the login
// is somebody else's, and changes nothing.
func (p *providerLogin) listen(ctx context.Context, b *begun, done chan<- outcome) http.Handler {
	state := stateOf(b.AuthURL)
	mux := http.NewServeMux()
	mux.HandleFunc("/oidc/callback", func(w http.ResponseWriter, r *http.Request) {
		answerInText(w, r, 1<<20)
		if r.FormValue("state") != state {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintln(w, "This is not the login that waits here.")
			return
		}
		s, err := p.hand(ctx, r)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintln(w, "The login has failed. The program that began it says why.")
		} else {
			fmt.Fprintln(w, "You are logged in. Close this window and go back to the program that began the login.")
		}
		select {
		case done <- outcome{s, err}:
		default: // it came before
		}
	})
	return mux
}

func stateOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Query().Get("state")
}

// hand gives the server what the provider answered.
func (p *providerLogin) hand(ctx context.Context, r *http.Request) (*client.Secret, error) {
	path := client.JoinPath("auth", p.mount, "oidc/callback")
	q := url.Values{"client_nonce": {p.nonce}}
	for _, name := range []string{"state", "code", "error", "error_description", "error_uri"} {
		if v := r.FormValue(name); v != "" {
			q.Set(name, v)
		}
	}
	if id := r.PostFormValue("id_token"); id != "" {
		form := map[string]string{"state": q.Get("state"), "code": q.Get("code"), "id_token": id}
		if _, err := p.cl.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Body: form}); err != nil {
			return nil, err
		}
		q.Set("code", "no_code")
	}
	return p.cl.Read(ctx, path, q)
}

// show says where to log in, and opens a browser there.
func (p *providerLogin) show(ctx context.Context, b *begun) error {
	skip, err := strconv.ParseBool(p.arg("skip_browser", "false"))
	if err != nil {
		return usagef("skip_browser=: want true or false")
	}
	if u, err := url.Parse(b.AuthURL); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("the server names an address that is no web page")
	}
	fmt.Fprintf(p.stderr, "Log in at this address:\n\n    %s\n\n", printable(b.AuthURL))
	if b.UserCode != "" {
		fmt.Fprintf(p.stderr, "When you are asked for a code, type %s\n\n", printable(b.UserCode))
	}
	if !skip && !p.browse(ctx, b.AuthURL) {
		fmt.Fprintln(p.stderr, "No browser could be opened here.")
	}
	fmt.Fprintln(p.stderr, "Waiting for you to log in…")
	return nil
}

// browse opens a browser; false when there is none. On a machine without a display there is none.
func (c *call) browse(ctx context.Context, address string) bool {
	var cmd *exec.Cmd
	browser := c.getenv("BROWSER")
	switch {
	case browser != "":
		cmd = exec.CommandContext(ctx, browser, address)
	case runtime.GOOS == "darwin":
		cmd = exec.CommandContext(ctx, "open", address)
	case runtime.GOOS == "windows":
		cmd = exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", address)
	case c.getenv("DISPLAY") == "" && c.getenv("WAYLAND_DISPLAY") == "":
		return false
	default:
		cmd = exec.CommandContext(ctx, "xdg-open", address)
	}
	if err := cmd.Start(); err != nil {
		return false
	}
	go func() { _ = cmd.Wait() }() // it may go on for as long as it is looked at
	return true
}

// poll asks the server until somebody has logged in.
func (p *providerLogin) poll(ctx context.Context, b *begun) (*client.Secret, error) {
	seconds, err := strconv.Atoi(b.PollInterval)
	if err != nil || seconds < 1 || seconds > 600 {
		return nil, errors.New("the server does not say how often it may be asked")
	}
	if err := p.show(ctx, b); err != nil {
		return nil, err
	}
	wait := time.NewTimer(time.Duration(seconds) * time.Second)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, errors.New("nobody has logged in")
		case <-wait.C:
		}
		s, err := p.cl.Write(ctx, client.JoinPath("auth", p.mount, "oidc/poll"), map[string]string{"state": b.State, "client_nonce": p.nonce})
		switch {
		case err == nil:
			return s, nil
		case strings.Contains(err.Error(), "slow_down"):
			seconds += 5 // RFC 8628 3.5
		case !strings.Contains(err.Error(), "authorization_pending"):
			return nil, err
		}
		wait.Reset(time.Duration(seconds) * time.Second)
	}
}
