package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Client sends requests to one server, or to one of several that serve the same. It is safe for concurrent use and never
// changes; the methods beginning with With return changed copies that share its
// connections.
type Client struct {
	nodes   []*url.URL    // where the server is reached, or each of several
	at      *atomic.Int32 // which of them answered last, modulo their number; shared by copies
	address string
	cfg     Config // without its Token
	http    *http.Client
	pace    *pace // shared by copies
	// token is a closure because package fmt prints the unexported string fields of
	// a struct that holds a Client, without asking their Format methods.
	token func() Token
}

// New checks cfg, reads the certificate files it names, and returns a Client. It
// opens no connection.
func New(cfg Config) (*Client, error) {
	nodes, socket, err := addresses(cfg.Address)
	if err != nil {
		return nil, err
	}
	cfg.setDefaults()
	transport, err := newTransport(&cfg, socket, dialTime(cfg.Patience, len(nodes)))
	if err != nil {
		return nil, err
	}
	var rt http.RoundTripper = transport
	if cfg.Wrap != nil {
		rt = cfg.Wrap(rt)
	}
	token := cfg.Token
	cfg.Token = ""
	return &Client{
		nodes:   nodes,
		at:      new(atomic.Int32),
		address: cfg.Address,
		cfg:     cfg,
		pace:    newPace(&cfg),
		token:   func() Token { return token },
		http: &http.Client{
			Transport:     rt,
			Timeout:       max(cfg.Timeout, 0),
			CheckRedirect: sameHostOnly(cfg.NoRedirects),
		},
	}, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Address == "" {
		cfg.Address = DefaultAddress
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxRetries == 0 {
		cfg.MaxRetries = DefaultMaxRetries
	}
	if cfg.MaxResponse == 0 {
		cfg.MaxResponse = DefaultMaxResponse
	}
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	cfg.Header = cfg.Header.Clone()
}

func wait(d time.Duration, done <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	}
}

// sameHostOnly follows a redirect only where the token may be sent: to the
// scheme, host and port that the first request went to.
func sameHostOnly(never bool) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case never:
			return http.ErrUseLastResponse
		case next.URL.Scheme != first.Scheme || next.URL.Host != first.Host:
			return fmt.Errorf("%w: from %s to %s", ErrRedirect, hostOf(first), hostOf(next.URL))
		case len(via) >= 5:
			return fmt.Errorf("%w: more than 5 in a row", ErrRedirect)
		}
		return nil
	}
}

func hostOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (c *Client) with(change func(*Config)) *Client {
	next := *c
	change(&next.cfg)
	return &next
}

// WithToken returns a copy of c that uses another token.
func (c *Client) WithToken(token Token) *Client {
	next := *c
	next.token = func() Token { return token }
	return &next
}

// WithNamespace returns a copy of c that works in another namespace; the empty
// string is the root namespace.
func (c *Client) WithNamespace(namespace string) *Client {
	return c.with(func(cfg *Config) { cfg.Namespace = namespace })
}

// WithWrapTTL returns a copy of c whose answers are wrapped for ttl, given as
// seconds or as a duration ("60", "60s"); the empty string turns wrapping off.
func (c *Client) WithWrapTTL(ttl string) *Client {
	return c.with(func(cfg *Config) { cfg.WrapTTL = ttl })
}

// WithHeader returns a copy of c that sends one more header.
func (c *Client) WithHeader(name, value string) *Client {
	return c.with(func(cfg *Config) {
		cfg.Header = cfg.Header.Clone()
		if cfg.Header == nil {
			cfg.Header = http.Header{}
		}
		cfg.Header.Add(name, value)
	})
}

// Address returns the server's address as configured, or all of several.
func (c *Client) Address() string { return c.address }

// Token returns the token c sends; it is empty when c has none.
func (c *Client) Token() Token { return c.token() }

// Namespace returns the namespace c works in; it is empty for the root.
func (c *Client) Namespace() string { return c.cfg.Namespace }

// Format implements fmt.Formatter; it prints the address and never the token.
func (c *Client) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "client(%s)", c.address)
}

// sleep waits for d or until ctx is done, and returns ctx's error then.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	c.cfg.Wait(d, ctx.Done())
	return ctx.Err()
}
