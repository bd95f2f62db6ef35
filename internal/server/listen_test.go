package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/test/process"
)

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), next: 1}
	a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.crt and name.key.
func (a *authority) issue(name string, c *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	c.SerialNumber, c.Subject = big.NewInt(a.next), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	a.next++
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	a.must(err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	a.must(os.WriteFile(a.file(name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	a.must(os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	made, err := x509.ParseCertificate(der)
	a.must(err)
	if a.cert == nil {
		a.cert, a.key = made, key
	}
	return made
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// serve runs a development server on listeners until the test ends.
func (a *authority) serve(l ...Listener) *Listeners {
	a.t.Helper()
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: l}
	ls, err := Listen(c)
	a.must(err)
	s, err := Open(a.t.Context(), c, quiet(), io.Discard, time.Now)
	a.must(err)
	ctx, stop := context.WithCancel(a.t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, ls) }()
	a.t.Cleanup(func() {
		stop()
		a.must(<-ended)
		a.must(s.Close())
	})
	return ls
}

// get asks for the server's health with a client's TLS configuration.
func (a *authority) get(url string, conf *tls.Config) (*http.Response, error) {
	a.t.Helper()
	conf.RootCAs = x509.NewCertPool()
	conf.RootCAs.AddCert(a.cert)
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, url+"/v1/sys/health", nil)
	a.must(err)
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}

func (a *authority) listener() Listener {
	return Listener{Address: "127.0.0.1:0", CertFile: a.file("server.crt"), KeyFile: a.file("server.key")}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{})
	ls := a.serve(a.listener())
	resp, err := a.get(ls.URLs[0], &tls.Config{})
	a.must(err)
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.TLS.Version != tls.VersionTLS13 || resp.TLS.CurveID != tls.X25519MLKEM768 {
		t.Fatalf("%d over HTTP/%d, TLS %x, group %v", resp.StatusCode, resp.ProtoMajor, resp.TLS.Version, resp.TLS.CurveID)
	}
	if _, err := a.get(ls.URLs[0], &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Fatalf("TLS 1.2 gave %v", err)
	}
	if resp, err := a.get(strings.Replace(ls.URLs[0], "https", "http", 1), &tls.Config{}); err != nil || resp.StatusCode != 400 {
		t.Fatalf("plain HTTP gave %v, %v", resp, err)
	}
}

func TestReloadCertificates(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{})
	ls := a.serve(a.listener())
	next := a.issue("server", &x509.Certificate{})
	a.must(ls.Reload())
	served := func() *x509.Certificate {
		resp, err := a.get(ls.URLs[0], &tls.Config{})
		a.must(err)
		return resp.TLS.PeerCertificates[0]
	}
	if !served().Equal(next) {
		t.Fatal("the old certificate is served")
	}
	a.must(os.WriteFile(a.file("server.crt"), []byte("garbage"), 0o600))
	if err := ls.Reload(); err == nil || !served().Equal(next) {
		t.Fatalf("a broken file: %v", err)
	}
}

func TestClientCertificates(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{})
	a.issue("client", &x509.Certificate{})
	stranger := newAuthority(t)
	stranger.issue("client", &x509.Certificate{})
	l := a.listener()
	l.ClientCA = a.file("ca.crt")
	given := a.serve(l)
	l.RequireClient = true
	required := a.serve(l)
	open := a.serve(a.listener())
	l = a.listener()
	l.NoClientCerts = true
	none := a.serve(l)
	load := func(from *authority) []tls.Certificate {
		pair, err := tls.LoadX509KeyPair(from.file("client.crt"), from.file("client.key"))
		a.must(err)
		return []tls.Certificate{pair}
	}
	for _, try := range []struct {
		name  string
		on    *Listeners
		certs []tls.Certificate
		ok    bool
		asked bool
	}{
		{"required and given", required, load(a), true, true},
		{"required and absent", required, nil, false, true},
		{"required and a stranger's", required, load(stranger), false, true},
		{"asked for and absent", given, nil, true, true},
		{"asked for and a stranger's", given, load(stranger), false, true},
		{"any and absent", open, nil, true, true},
		{"any and a stranger's", open, load(stranger), true, true},
		{"not asked for", none, load(a), true, false},
	} {
		certs, asked := try.certs, false
		_, err := a.get(try.on.URLs[0], &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			if certs == nil {
				return &tls.Certificate{}, nil
			}
			return &certs[0], nil
		}})
		if (err == nil) != try.ok || asked != try.asked {
			t.Errorf("%s: %v; asked: %v", try.name, err, asked)
		}
	}
}

// A server listens on all of its addresses or on none.
func TestListenAllOrNone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, second := range []Listener{{Address: taken.Addr().String()}, {Address: "127.0.0.1:0", CertFile: "missing", KeyFile: "missing"}} {
		address, err := process.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(&Config{Listeners: []Listener{{Address: address}, second}}); err == nil || !strings.Contains(err.Error(), second.Address) {
			t.Fatalf("%+v: %v", second, err)
		}
		again, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("the first address is still held: %v", err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Requests in flight are answered before the server ends.
func TestShutdownFinishesRequests(t *testing.T) {
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	ls, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), c, quiet(), io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ls) }()
	body, feed := io.Pipe()
	reading := make(chan struct{})
	traced := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	r, err := http.NewRequestWithContext(traced, http.MethodPost, ls.URLs[0]+"/v1/secret/data/a", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Vault-Token", "root")
	r.Header.Set("Expect", "100-continue")
	answer := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			answer <- 0
			return
		}
		answer <- resp.StatusCode
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	half := func(part string) {
		if _, err := io.WriteString(feed, part); err != nil {
			t.Error(err)
		}
	}
	<-reading
	half(`{"data":{"v":`)
	stop()
	half(`"1"}}`)
	if err := feed.Close(); err != nil {
		t.Error(err)
	}
	if code := <-answer; code != http.StatusOK {
		t.Errorf("the request in flight got %d", code)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
