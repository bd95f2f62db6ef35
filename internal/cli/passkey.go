package cli

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/client"
)

// passkeyTime is how long is waited for somebody to show a passkey: a server keeps a login for no longer.
const passkeyTime = 5 * time.Minute

// passkeyPage is where a server has the page for passkeys.
const passkeyPage = "/v1/sys/mfa/passkey"

// passkeyAsked is what a server asks of a passkey.
type passkeyAsked struct {
	ID        string          `json:"registration_id"`
	PublicKey json.RawMessage `json:"public_key"`
	Origins   []string        `json:"origins"`
}

// passkeyWait waits for what a browser gets from a passkey. The browser comes to this machine for what is asked, and is
// sent on to the server's page with it, behind the # of the address: which login it is for, it is not told.
type passkeyWait struct {
	*call
	page  string // where the browser is sent
	begin string // path at which it comes, that nobody guesses
	state string // that it brings back
	done  chan string
}

// byPasskey has a browser on this machine make a passkey (create) or show one (get).
func (c *call) byPasskey(cl *client.Client, what string, asked *passkeyAsked) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, passkeyTime)
	defer cancel()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0") // the page sends what it gets nowhere else
	if err != nil {
		return "", fmt.Errorf("listening for the browser: %w", err)
	}
	defer listener.Close() //nolint:errcheck // the server below has closed it
	port := listener.Addr().(*net.TCPAddr).Port
	w := &passkeyWait{call: c, begin: "/" + rand.Text(), state: rand.Text(), done: make(chan string, 1)}
	if w.page, err = pageAddress(cl.Address(), asked.Origins); err != nil {
		return "", err
	}
	fragment, err := json.Marshal(map[string]any{"what": what, "options": asked.PublicKey, "port": port, "state": w.state})
	if err != nil {
		return "", err
	}
	w.page += "#" + base64.RawURLEncoding.EncodeToString(fragment)
	server := &http.Server{Handler: c.ownVisitors().admit(w.handler()), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	address := fmt.Sprintf("http://127.0.0.1:%d%s", port, w.begin)
	fmt.Fprintf(c.stderr, "Show your passkey at this address, in a browser on this machine:\n\n    %s\n\n", address)
	if !c.browse(ctx, address) {
		fmt.Fprintln(c.stderr, "No browser could be opened here.")
	}
	select {
	case credential := <-w.done:
		shut, cancel := context.WithTimeout(ctx, 2*time.Second) // the browser has its page by then
		defer cancel()
		if err := server.Shutdown(shut); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return "", err
		}
		return credential, nil
	case err := <-failed:
		return "", fmt.Errorf("listening for the browser: %w", err)
	case <-ctx.Done():
		return "", errors.Join(errors.New("no passkey was shown"), server.Close())
	}
}

// pageAddress is the page at the origin that is the server's address, or at the first.
func pageAddress(server string, origins []string) (string, error) {
	if len(origins) == 0 {
		return "", errors.New("the server does not say at which address passkeys are shown")
	}
	origin := origins[0]
	if u, err := url.Parse(server); err == nil && slices.Contains(origins, strings.ToLower(u.Scheme+"://"+u.Host)) {
		origin = strings.ToLower(u.Scheme + "://" + u.Host)
	}
	if u, err := url.Parse(origin); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", errors.New("the server names an address that is no web page")
	}
	return origin + passkeyPage, nil
}

// handler sends a browser on to the server's page, and takes what it brings back, once. What does not name the
// wait is somebody else's, and changes nothing.
func (w *passkeyWait) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+w.begin, func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Referrer-Policy", "no-referrer")
		out.Header().Set("Cache-Control", "no-store")
		http.Redirect(out, r, w.page, http.StatusFound)
	})
	mux.HandleFunc("POST /passkey", func(out http.ResponseWriter, r *http.Request) {
		answerInText(out, r, 64<<10)
		if subtle.ConstantTimeCompare([]byte(r.PostFormValue("state")), []byte(w.state)) != 1 {
			out.WriteHeader(http.StatusBadRequest)
			fmt.Fprintln(out, "This is not what is waited for here.")
			return
		}
		fmt.Fprintln(out, "Close this window and go back to the program that asked for the passkey.")
		select {
		case w.done <- r.PostFormValue("credential"):
		default: // it came before
		}
	})
	return mux
}

// showPasskey has a passkey shown for a login that waits; empty: the server has none to ask for.
func (c *call) showPasskey(cl *client.Client, login string, m secondFactor) (string, error) {
	s, err := cl.WithWrapTTL("").Write(c.ctx, "sys/mfa/passkey/challenge", map[string]string{"mfa_request_id": login, "method_id": m.ID})
	switch {
	case errors.Is(err, client.ErrForbidden):
		return "", nil
	case err != nil:
		return "", err
	}
	var asked passkeyAsked
	if err := s.Decode(&asked); err != nil {
		return "", err
	}
	return c.byPasskey(cl, "get", &asked)
}
