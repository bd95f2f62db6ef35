// Package outbound owns how the server reaches others for auth methods, and how it asks them over HTTP: identity
// providers, clouds' and clusters' APIs. A request goes to the host that the configuration has named
// and no other, takes a bounded time, and is read up to a bound. Where those who write the
// configuration are not the server's operators, it reaches what the operators let them (Bound).
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of a request.
const (
	DefaultTimeout = 10 * time.Second
	MaxBody        = 1 << 20 // of an answer, in bytes
)

// Peer is whom to ask.
type Peer struct {
	CAPEM   string        // certificates that the server's must come from; empty: the system's
	Timeout time.Duration // of a request in all; 0: DefaultTimeout

	proxy func(*http.Request) (*url.URL, error) // nil: as the environment says
}

var (
	errCA      = errors.New("holds no certificate in PEM")
	errForeign = errors.New("must be certificates in PEM, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, and nothing else")
	errLong    = fmt.Errorf("the answer is longer than %d bytes", MaxBody)
)

// CheckCA takes what an operator may give as CAPEM: nothing, or certificates alone. Pool takes what was kept before, and
// passes over what is no certificate in it.
func CheckCA(text string) error {
	blocks := 0
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return errForeign
		}
		blocks++
	}
	if text != "" && (blocks == 0 || blocks != strings.Count(text, "-----BEGIN ")) { // one that cannot be read is passed over
		return errForeign
	}
	return nil
}

// Pool is the certificates of a PEM text; nil, for the system's, of an empty one.
func Pool(text string) (*x509.CertPool, error) {
	if text == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errCA
	}
	return pool, nil
}

// Answer is what was answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request and reads its answer, whatever its status. It follows no
// redirect: one is answered as it came. It stays within the context's bound. An error tells neither the request's URL, which may carry a
// credential, nor anything of its headers or body.
func (p Peer) Do(ctx context.Context, method, target string, header http.Header, body []byte) (*Answer, error) {
	pool, err := Pool(p.CAPEM)
	if err != nil {
		return nil, err
	}
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address is not a URL")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	via, dial, err := p.route(req)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{Proxy: http.ProxyURL(via), DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	out, err := read(resp)
	return out, bare(err)
}

func read(resp *http.Response) (_ *Answer, err error) {
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxBody:
		return nil, errLong
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: b}, nil
}

// bare takes the URL out of an error.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
