package compat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signer is somebody with a key who signs tokens.
type signer struct {
	key  *rsa.PrivateKey
	jose jose.Signer
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k1")
	return &signer{key, must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, options))(t)}
}

// sign makes a token of claims.
func (s *signer) sign(claims any) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := s.jose.Sign(text)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// keys is the set of keys that the signer shows.
func (s *signer) keys() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}}
}

// writeJSON answers a request.
func writeJSON(t *testing.T, w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

// selfSigned makes a certificate that signs itself, for an hour.
func selfSigned(t *testing.T, of *x509.Certificate) *tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	of.SerialNumber, of.NotBefore, of.NotAfter = big.NewInt(1), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	return &tls.Certificate{Certificate: [][]byte{must(x509.CreateCertificate(rand.Reader, of, of, key.Public(), key))(t)}, PrivateKey: key}
}

// pemFile writes something to a file of its own, in PEM.
func pemFile(t *testing.T, kind string, der []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "a.pem")
	ok(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}
