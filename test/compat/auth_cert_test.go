package compat

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"testing"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/cert"

	"github.com/strongroom/strongroom/test/process"
)

// TestCertLogin logs in by the helper of Vault's client, with a client's certificate.
func TestCertLogin(t *testing.T) {
	t.Parallel()
	certs, addr := t.TempDir(), must(process.FreeAddr())(t)
	s, err := process.Start(addr, world.bin, "server", "-dev", "-dev-root-token-id="+rootToken, "-dev-listen-address="+addr, "-dev-tls", "-dev-tls-cert-dir="+certs, "-dev-no-store-token")
	owned(t, s, err)
	// shows is a client that shows a certificate of its own.
	shows := func() (c *vault.Client, file string) {
		of := selfSigned(t, &x509.Certificate{Subject: pkix.Name{CommonName: "web.example"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		file = pemFile(t, "CERTIFICATE", of.Certificate[0])
		key := pemFile(t, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(of.PrivateKey))(t))
		c = must(cert.NewDefaultCertAuthClient("https://"+addr, &vault.TLSConfig{CACert: filepath.Join(certs, "vault-ca.pem"), ClientCert: file, ClientKey: key}))(t)
		c.ClearToken()
		return c, file
	}
	known, file := shows()
	unknown, _ := shows()

	root := must(known.Clone())(t)
	root.SetToken(rootToken)
	ok(t, root.Sys().EnableAuthWithOptions("tls", &vault.EnableAuthOptions{Type: "cert"}))
	must(root.Logical().Write("auth/tls/certs/web", map[string]any{"certificate": string(must(os.ReadFile(file))(t)), "allowed_common_names": "web.*", "token_policies": "dev", "token_ttl": "1h"}))(t)

	login := func(c *vault.Client, role string) (*vault.Secret, error) {
		return c.Auth().Login(t.Context(), must(cert.NewCertAuth(cert.WithMountPath("tls"), cert.WithRole(role)))(t))
	}
	for _, role := range []string{"web", ""} {
		in := must(login(known, role))(t)
		equal(t, "policies", in.Auth.TokenPolicies, []string{"default", "dev"})
		equal(t, "seconds", in.Auth.LeaseDuration, 3600)
		equal(t, "name", in.Auth.Metadata["common_name"], "web.example")
	}
	equal(t, "renewed seconds", must(known.Auth().Token().RenewSelf(60))(t).Auth.LeaseDuration, 60)
	for role, c := range map[string]*vault.Client{"web": unknown, "other": known} {
		_, err := login(c, role)
		refused(t, err, 400, "no entry of this auth method lets the client certificate in")
	}
}
