// Package openid runs an OpenID provider for tests: the certified implementation of
// ZITADEL with its example's users, over loopback. And it is the person who logs in there.
package openid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The provider's clients and its user.
const (
	Web     = "web"    // a client for browsers
	Device  = "device" // a client for the device flow
	Secret  = "the-clients-secret"
	Subject = "ada" // of the user, and their name
	pass    = "verysecure"
)

// Provider is a running provider.
type Provider struct {
	URL    string // the issuer
	server *httptest.Server
}

// Start runs a provider that sends browsers back to some addresses.
func Start(redirects ...string) (*Provider, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "localhost:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	issuer := "http://localhost:" + port
	storage.RegisterClients(storage.WebClient(Web, Secret, redirects...), storage.DeviceClient(Device, Secret))
	handler := exampleop.SetupServer(issuer, storage.NewStorage(users{}), slog.New(slog.DiscardHandler), false, op.WithAllowInsecure())
	s := httptest.NewUnstartedServer(handler)
	if err := s.Listener.Close(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.Listener = l
	s.Start()
	return &Provider{URL: issuer, server: s}, nil
}

// users are the one user. The example's own have a name other than their subject, which its device flow takes for it.
type users struct{}

// GetUserByID finds the user by their subject.
func (users) GetUserByID(id string) *storage.User {
	if id != Subject {
		return nil
	}
	return &storage.User{ID: Subject, Username: Subject, Password: pass, FirstName: "Ada", LastName: "Lovelace", Email: "ada@example.com", EmailVerified: true}
}

// GetUserByUsername finds the user by their name.
func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }

// ExampleClientID is a client of the example that is not used.
func (users) ExampleClientID() string { return "service" }

// Close ends the provider.
func (p *Provider) Close() { p.server.Close() }

var formID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// Visit is the person at a browser that was sent to an address of the provider: they log in, or allow the device, and follow
// where they are sent. It answers the last page.
func Visit(ctx context.Context, address string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	b := &browser{ctx, &http.Client{Jar: jar}}
	at, page, err := b.get(address)
	if err != nil {
		return "", err
	}
	if code := at.Query().Get("user_code"); code != "" {
		return b.allow(at, code)
	}
	id := formID.FindStringSubmatch(page)
	if id == nil {
		return "", fmt.Errorf("the page at %s asks for no login: %s", at, page)
	}
	_, page, err = b.post(at, url.Values{"username": {Subject}, "password": {pass}, "id": {id[1]}})
	return page, err
}

type browser struct {
	ctx    context.Context
	client *http.Client
}

// allow logs in and lets the device with a code do so too.
func (b *browser) allow(at *url.URL, code string) (string, error) {
	if _, page, err := b.post(at.ResolveReference(&url.URL{Path: "/device/login"}), url.Values{"username": {Subject}, "password": {pass}, "user_code": {code}}); err != nil {
		return page, err
	}
	_, page, err := b.post(at.ResolveReference(&url.URL{Path: "/device/confirm"}), url.Values{"action": {"allowed"}})
	return page, err
}

func (b *browser) get(address string) (*url.URL, string, error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", err
	}
	return b.do(req)
}

func (b *browser) post(to *url.URL, form url.Values) (*url.URL, string, error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

func (b *browser) do(req *http.Request) (at *url.URL, page string, err error) {
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", resp.Request.URL, resp.StatusCode, body)
	}
	return resp.Request.URL, string(body), err
}
