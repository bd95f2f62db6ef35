package compat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// TestJWTLogin sets the method up by a client's own calls, with the key of an issuer, and logs in with what that signs.
func TestJWTLogin(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key.Public()))(t)})
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT")))(t)
	token := func(subject, audience string, lives time.Duration) string {
		now := time.Now()
		return must(jwt.Signed(signer).Claims(jwt.Claims{Issuer: "https://ci.example", Subject: subject, Audience: jwt.Audience{audience},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(lives))}).
			Claims(map[string]any{"project": "web", "groups": []string{"builders"}}).Serialize())(t)
	}
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.method(t, "jwt")
		path := "auth/" + mount
		must(c.logical.Write(path+"/config", map[string]any{"jwt_validation_pubkeys": string(public), "bound_issuer": "https://ci.example", "default_role": "build"}))(t)
		must(c.logical.Write(path+"/role/build", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom", "bound_claims": map[string]any{"project": []string{"web", "api"}},
			"claim_mappings": map[string]string{"project": "project"}, "groups_claim": "groups", "token_policies": "default", "token_ttl": "15m"}))(t)
		equal(t, "roles", keys(t, must(c.logical.List(path+"/role"))(t)), []string{"build"})
		equal(t, "issuer", must(c.logical.Read(path + "/config"))(t).Data["bound_issuer"], "https://ci.example")

		in := must(c.logical.Write(path+"/login", map[string]any{"jwt": token("repo:web", "strongroom", time.Minute), "role": "build"}))(t)
		equal(t, "policies", in.Auth.TokenPolicies, []string{"default"})
		equal(t, "metadata", in.Auth.Metadata, map[string]string{"role": "build", "project": "web"})
		equal(t, "seconds", in.Auth.LeaseDuration, 900)
		again := must(c.logical.Write(path+"/login", map[string]any{"jwt": token("repo:web", "strongroom", time.Minute)}))(t)
		equal(t, "the entity", again.Auth.EntityID, in.Auth.EntityID)
		for what, bad := range map[string]string{"audience": token("repo:web", "other", time.Minute), "time": token("repo:web", "strongroom", -time.Hour)} {
			if _, err := c.logical.Write(path+"/login", map[string]any{"jwt": bad, "role": "build"}); err == nil {
				t.Errorf("a token of another %s lets in", what)
			}
		}
	})
}
