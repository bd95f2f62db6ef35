package server

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// ask sends a request with a client's certificate and answers status and body.
func (a *authority) ask(url, method, path, token string, body any, certs ...tls.Certificate) (int, string) {
	a.t.Helper()
	conf := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: certs}
	conf.RootCAs.AddCert(a.cert)
	tr := &http.Transport{TLSClientConfig: conf}
	defer tr.CloseIdleConnections()
	text, err := json.Marshal(body)
	a.must(err)
	r, err := http.NewRequestWithContext(a.t.Context(), method, url+"/v1/"+path, strings.NewReader(string(text)))
	a.must(err)
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	resp, err := (&http.Client{Transport: tr}).Do(r)
	a.must(err)
	out, err := io.ReadAll(resp.Body)
	a.must(errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, string(out)
}

// A client logs in with its certificate by each listener that asks for one, until it is
// revoked, which holds for all of them (GHSA-3wh4-j44w-pg92).
func TestGHSA_3wh4_j44w_pg92_RevokedOnEveryListener(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{})
	leaf := a.issue("client", &x509.Certificate{})
	pair, err := tls.LoadX509KeyPair(a.file("client.crt"), a.file("client.key"))
	a.must(err)
	ca, err := os.ReadFile(a.file("ca.crt"))
	a.must(err)
	checked, silent := a.listener(), a.listener()
	checked.ClientCA, silent.NoClientCerts = a.file("ca.crt"), true
	ls := a.serve(a.listener(), checked, silent)
	type fields = map[string]any
	want := func(what string, status int, url, method, path, token string, body any, certs ...tls.Certificate) string {
		t.Helper()
		got, text := a.ask(url, method, path, token, body, certs...)
		if got != status {
			t.Fatalf("%s: %d %s, want %d", what, got, text, status)
		}
		return text
	}
	want("enabled", 204, ls.URLs[0], "POST", "sys/auth/cert", "root", fields{"type": "cert"})
	want("an entry", 204, ls.URLs[0], "POST", "auth/cert/certs/web", "root", fields{"certificate": string(ca), "token_policies": "dev"})
	for _, url := range ls.URLs[:2] {
		text := want("login", 200, url, "POST", "auth/cert/login", "", nil, pair)
		if !strings.Contains(text, `"cert_name":"web"`) || !strings.Contains(text, `"dev"`) {
			t.Errorf("answers %s", text)
		}
		want("without a certificate", 400, url, "POST", "auth/cert/login", "", nil)
	}
	want("where none is asked for", 400, ls.URLs[2], "POST", "auth/cert/login", "", nil, pair)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: leaf.SerialNumber, RevocationTime: time.Now()}}}, a.cert, a.key)
	a.must(err)
	list := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	want("a list", 204, ls.URLs[0], "POST", "auth/cert/crls/x", "root", fields{"crl": string(list)})
	for _, url := range ls.URLs[:2] {
		want("revoked", 400, url, "POST", "auth/cert/login", "", nil, pair)
	}
}
