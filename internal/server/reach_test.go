package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/auth/aws"
	"github.com/strongroom/strongroom/internal/auth/azure"
	"github.com/strongroom/strongroom/internal/auth/cert"
	"github.com/strongroom/strongroom/internal/auth/gcp"
	"github.com/strongroom/strongroom/internal/auth/jwt"
	"github.com/strongroom/strongroom/internal/auth/kubernetes"
	"github.com/strongroom/strongroom/internal/auth/ldap"
	"github.com/strongroom/strongroom/internal/auth/radius"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// knocked is somebody on this machine, by TCP and by UDP, who counts how often he is reached and says nothing.
type knocked struct {
	port  string
	times atomic.Int32
}

func newKnocked(t testing.TB) *knocked {
	t.Helper()
	k := &knocked{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, k.port, _ = net.SplitHostPort(l.Addr().String())
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 2)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			k.times.Add(1)
			c.Close()
		}
		ended <- struct{}{}
	}()
	go func() {
		for _, _, err := u.ReadFrom(make([]byte, 1)); err == nil; _, _, err = u.ReadFrom(make([]byte, 1)) {
			k.times.Add(1)
		}
		ended <- struct{}{}
	}()
	t.Cleanup(func() {
		l.Close()
		u.Close()
		<-ended
		<-ended
	})
	return k
}

// certificates are an authority's, as text, and that of a client of it.
func certificates(t testing.TB) (authority string, client *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(c, parent *x509.Certificate) *x509.Certificate {
		c.NotBefore, c.NotAfter = authtest.Epoch.Add(-time.Hour), authtest.Epoch.Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca = make(ca, ca)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "web"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})), make(leaf, ca)
}

// reaching is a method that asks others, with what has it ask 127.0.0.1 at a port.
type reaching struct {
	build  func() (api.Engine, error)
	config map[string]authtest.Fields // by path
	login  authtest.Fields
	path   string // of logins; empty: login
	peer   []*x509.Certificate
}

func reachings(t testing.TB, port string) map[string]reaching {
	t.Helper()
	type f = authtest.Fields
	const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	at, b64 := "http://127.0.0.1:"+port, base64.StdEncoding.EncodeToString
	token := func(claims f) string { return authtest.Sign(t, "RS256", authtest.Key(t, 0), "k", claims) }
	ca, client := certificates(t)
	headers := `{"Authorization":"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20300102/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=` + strings.Repeat("0", 64) + `","X-Amz-Date":"20300102T030405Z"}`
	number := func(text string) (n int) { fmt.Sscan(text, &n); return n }
	return map[string]reaching{
		"ldap":       {build: ldap.Engine, config: map[string]f{"config": {"url": "ldap://127.0.0.1:" + port, "userdn": "dc=x"}}, path: "login/ann", login: f{"password": "x"}},
		"radius":     {build: radius.Engine, config: map[string]f{"config": {"host": "127.0.0.1", "port": number(port), "secret": "s", "read_timeout": 1}}, login: f{"username": "ann", "password": "x"}},
		"kubernetes": {build: kubernetes.Engine, config: map[string]f{"config": {"kubernetes_host": at}}, login: f{"role": "r", "jwt": token(f{"sub": "x"})}},
		"jwt": {build: jwt.Engine, config: map[string]f{"config": {"jwks_url": at + "/keys", "skip_jwks_validation": true},
			"role/r": {"role_type": "jwt", "user_claim": "sub", "bound_subject": "x"}}, login: f{"role": "r", "jwt": token(f{"sub": "x"})}},
		"oidc": {build: jwt.OIDC, config: map[string]f{"config": {"oidc_discovery_url": at, "oidc_client_id": "c", "oidc_client_secret": "s", "skip_jwks_validation": true},
			"role/r": {"user_claim": "sub", "allowed_redirect_uris": "https://x.example/cb"}}, path: "oidc/auth_url", login: f{"role": "r", "redirect_uri": "https://x.example/cb"}},
		"aws": {build: aws.Engine, config: map[string]f{"config/client": {"sts_endpoint": at}}, login: f{"role": "r", "iam_http_request_method": "POST",
			"iam_request_url": b64([]byte("https://sts.amazonaws.com/")), "iam_request_body": b64([]byte("Action=GetCallerIdentity&Version=2011-06-15")), "iam_request_headers": b64([]byte(headers))}},
		"gcp": {build: gcp.Engine, config: map[string]f{"config": {"custom_endpoint": f{"api": at}}}, login: f{"role": "r", "jwt": token(f{"iss": "https://accounts.google.com"})}},
		"gcp, signed by an account": {build: gcp.Engine, config: map[string]f{"config": {"custom_endpoint": f{"api": at}}},
			login: f{"role": "r", "jwt": token(f{"sub": "web@shop.iam.gserviceaccount.com"})}},
		"azure": {build: azure.Engine, config: map[string]f{"config": {"tenant_id": tenant, "resource": "r", "custom_endpoint": f{"login": at}}}, login: f{"role": "r", "jwt": token(f{"sub": "x"})}},
		"cert": {build: cert.Engine, config: map[string]f{"certs/r": {"certificate": ca, "ocsp_enabled": true, "ocsp_servers_override": at, "ocsp_max_retries": 0}},
			login: f{}, peer: []*x509.Certificate{client}},
	}
}

// Every method that asks others is kept from what its namespace may not reach, when it is written and when it is used: what
// was written may lead elsewhere by then, or be forbidden since. Control: within what is allowed, each does ask.
func TestMethodsStayWithinWhatTheirNamespaceMayReach(t *testing.T) {
	k := newKnocked(t)
	within := func(m *authtest.Mount, list ...string) {
		b, err := outbound.ParseBound(list)
		if err != nil {
			t.Fatal(err)
		}
		m.With.Context = outbound.Within(t.Context(), b)
	}
	for name, r := range reachings(t, k.port) {
		t.Run(name, func(t *testing.T) {
			m := authtest.Open(t, r.build)
			m.With.Peer = r.peer
			path := r.path
			if path == "" {
				path = "login"
			}
			write := func() (last error) {
				for p, fields := range r.config {
					if _, err := m.Do(api.Write, p, fields); err != nil {
						last = err
					}
				}
				return last
			}
			told := func(what string, err error) {
				if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "auth_namespace_peers") || strings.Contains(err.Error(), "127.0.0.1") {
					t.Errorf("%s: %v", what, err)
				}
			}
			before := k.times.Load()
			within(m, outbound.OnNetwork)
			told("written", write())
			if k.times.Load() > before {
				t.Error("is asked when it is written")
			}
			m.With.Context = t.Context()
			if err := write(); err != nil {
				t.Fatal(err)
			}
			before = k.times.Load()
			m.With.Now = m.With.Now.Add(time.Minute) // an issuer is not asked twice at once
			within(m, outbound.OnNetwork)
			_, err := m.Do(api.Write, path, r.login)
			told("used", err)
			if k.times.Load() > before {
				t.Error("is asked when it is used")
			}
			m.With.Now = m.With.Now.Add(time.Minute)
			within(m, "127.0.0.1:"+k.port)
			if err := write(); err != nil {
				t.Fatal(err)
			}
			before = k.times.Load()
			m.With.Now = m.With.Now.Add(time.Minute)
			if _, err := m.Do(api.Write, path, r.login); err == nil || k.times.Load() == before {
				t.Errorf("is not asked where it may be: %v", err)
			}
		})
	}
}

// asker is an auth method that connects to somebody at each renewal, and at each login by asking.
type asker struct{ address string }

func (a asker) ask(c *api.Call) (*api.Auth, error) {
	conn, err := outbound.Dial(c, "tcp", a.address)
	if err != nil {
		return nil, outbound.Away(err, "away", "")
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil { // until it has been counted, and closed
		return nil, api.ErrDenied()
	}
	return &api.Auth{Renewable: true, Alias: &api.Alias{Name: "x"}}, nil
}

// engine is the method.
func (a asker) engine(t testing.TB) func(*server.Config) {
	t.Helper()
	eps, err := api.Bind(a, []api.Route[asker]{
		api.Handle(api.Write, "login/asking", func(a asker, c *api.Call, _ *api.None) (*api.Auth, error) { return a.ask(c) }, api.Public),
		api.Handle(api.Write, "login", func(asker, *api.Call, *api.None) (*api.Auth, error) {
			return &api.Auth{Renewable: true, Alias: &api.Alias{Name: "x"}}, nil
		}, api.Public),
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *server.Config) {
		c.Engines = append(c.Engines, api.Engine{Type: "asker", Auth: true, Description: "Asks.", Endpoints: eps, Renew: func(c *api.Call, _ *api.Session) (*api.Auth, error) { return a.ask(c) }})
	}
}

// What a namespace below the root may reach holds for what its methods are told, for logins and for renewals, and for none of
// the root namespace's.
func TestNamespacesReachWhatTheOperatorSays(t *testing.T) {
	k := newKnocked(t)
	a := asker{"127.0.0.1:" + k.port}
	root, directory := servertest.Root, `{"url":"ldap://`+a.address+`","userdn":"dc=x"}`
	for _, c := range []struct {
		peers []string
		may   bool
	}{{nil, false}, {[]string{}, false}, {[]string{"10.0.0.0/8", "localhost:" + k.port}, false}, {[]string{"network", a.address}, true}, {[]string{"*"}, true}} {
		s := servertest.Start(t, a.engine(t), func(cfg *server.Config) { cfg.AuthPeers = c.peers })
		tenants(t, s, root, "a")
		for _, ns := range []string{"", "a"} {
			s.Want(t, 204, "POST", "sys/auth/asker", root, `{"type":"asker"}`, in(ns)...)
			s.Want(t, 204, "POST", "sys/auth/ldap", root, `{"type":"ldap"}`, in(ns)...)
			before, status := k.times.Load(), 200
			if ns != "" && !c.may {
				status = 400
			}
			token := s.Want(t, 200, "POST", "auth/asker/login", "", "", in(ns)...).String("auth", "client_token")
			for _, got := range []*servertest.Answer{
				s.Want(t, status, "POST", "auth/ldap/config", root, directory, in(ns)...),
				s.Want(t, status, "POST", "auth/asker/login/asking", "", "", in(ns)...),
				s.Want(t, status, "POST", "auth/token/renew-self", token, "", in(ns)...),
				s.Want(t, status, "POST", "auth/token/renew", root, `{"token":"`+token+`"}`, in(ns)...),
			} {
				if status == 400 && !strings.Contains(got.Text(), "auth_namespace_peers") {
					t.Errorf("%q within %q: %s", ns, c.peers, got.Text())
				}
			}
			if asked, want := k.times.Load()-before, map[int]int32{200: 3, 400: 0}[status]; asked != want {
				t.Errorf("%q within %q: asked %d times, want %d", ns, c.peers, asked, want)
			}
		}
	}
}
