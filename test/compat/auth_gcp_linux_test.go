package compat

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	vault "github.com/hashicorp/vault/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	gcpAccount   = "web@shop-1.iam.gserviceaccount.com"
	gcpAccountID = "104567890123456789012"
	gcpBearer    = "an access token of the instance"

	// Names by which programs on an instance reach Google.
	gcpHosts = metadataAddr + " metadata metadata.google.internal\n127.0.0.1 localhost iamcredentials.googleapis.com\n"
)

// google signs for instances and, where they may have that signed, for an account.
type google struct {
	credentialspb.UnimplementedIAMCredentialsServer
	own, account *signer
	t            *testing.T
}

// shows is the address at which the keys of Google and of the account are shown.
func (g *google) shows() (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/oauth2/v3/certs":
			writeJSON(g.t, w, g.own.keys())
		case "/service_accounts/v1/jwk/" + gcpAccount:
			writeJSON(g.t, w, g.account.keys())
		default:
			http.NotFound(w, r)
		}
	}))
	g.t.Cleanup(s.Close)
	return s.URL
}

// ServeHTTP is the metadata server of an instance.
func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const account = "/computeMetadata/v1/instance/service-accounts/default/"
	w.Header().Set("Metadata-Flavor", "Google")
	switch {
	case r.URL.Path == "/": // by which an instance is told from other machines
	case r.Header.Get("Metadata-Flavor") != "Google":
		http.Error(w, "the header Metadata-Flavor is missing", http.StatusForbidden)
	case r.URL.Path == account+"identity" && r.FormValue("format") == "full":
		token, err := g.own.sign(instanceClaims(r.FormValue("audience")))
		if err == nil {
			_, err = w.Write([]byte(token))
		}
		if err != nil {
			g.t.Error(err)
		}
	case r.URL.Path == account+"token":
		writeJSON(g.t, w, map[string]any{"access_token": gcpBearer, "expires_in": 3599, "token_type": "Bearer"})
	default:
		http.NotFound(w, r)
	}
}

func instanceClaims(audience string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": "https://accounts.google.com", "aud": audience, "azp": gcpAccountID, "sub": gcpAccountID, "email": gcpAccount, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "google": map[string]any{"compute_engine": map[string]any{"instance_creation_timestamp": now.Add(-time.Hour).Unix(),
			"instance_id": "152986662232938449", "instance_name": "web-1", "project_id": "shop-1", "project_number": 739419398126, "zone": "europe-west3-a"}}}
}

// SignJwt signs for the account what the instance asks for.
func (g *google) SignJwt(ctx context.Context, q *credentialspb.SignJwtRequest) (*credentialspb.SignJwtResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if by := md.Get("authorization"); len(by) != 1 || by[0] != "Bearer "+gcpBearer || q.Name != "projects/-/serviceAccounts/"+gcpAccount {
		return nil, status.Error(codes.PermissionDenied, "the caller may not sign for the account")
	}
	token, err := g.account.sign(json.RawMessage(q.Payload))
	return &credentialspb.SignJwtResponse{KeyId: "k1", SignedJwt: token}, err
}

// signs has the machine reach the API by which accounts sign, under its own name.
func (g *google) signs(m *machine) {
	cert := selfSigned(g.t, &x509.Certificate{DNSNames: []string{"iamcredentials.googleapis.com"}})
	m.ca = pemFile(g.t, "CERTIFICATE", cert.Certificate[0])
	s := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(cert)))
	credentialspb.RegisterIAMCredentialsServer(s, g)
	l := m.listen(g.t, "127.0.0.1:443")
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	g.t.Cleanup(func() {
		s.Stop()
		ok(g.t, <-ended)
	})
}

// TestGCPLogin logs in by the helper of Vault's client on an instance, which asks the metadata server for a token of itself, or
// has Google sign one of an account.
func TestGCPLogin(t *testing.T) {
	t.Parallel()
	g, c := &google{own: newSigner(t), account: newSigner(t), t: t}, vaultClient(t, world.shared)
	m := newMachine(t, gcpHosts)
	m.reaches(t)
	m.serve(t, metadataAddr+":80", g)
	g.signs(m)
	mount := unique("gcp")
	path := "auth/" + mount
	ok(t, c.sys.EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: "gcp"}))
	must(c.logical.Write(path+"/config", map[string]any{"custom_endpoint": map[string]any{"api": g.shows()}}))(t)
	for name, role := range map[string]map[string]any{
		"vm":    {"type": "gce", "bound_projects": "shop-1", "bound_zones": "europe-west3-a", "bound_service_accounts": gcpAccount},
		"other": {"type": "gce", "bound_projects": "shop-2"},
		"own":   {"type": "iam", "bound_service_accounts": gcpAccount, "allow_gce_inference": false},
		"db":    {"type": "iam", "bound_service_accounts": "db@shop-1.iam.gserviceaccount.com"},
	} {
		role["token_policies"], role["token_ttl"] = "dev", "1h"
		must(c.logical.Write(path+"/role/"+name, role))(t)
	}
	equal(t, "projects", must(c.logical.Read(path + "/role/vm"))(t).Data["bound_projects"], []any{"shop-1"})

	const byAccount = "gcp:" + gcpAccount
	for _, in := range []struct{ method, role, entity, metadata, is string }{
		{"gcp", "vm", gcpAccountID, "instance_name", "web-1"},
		{byAccount, "own", gcpAccount, "project_id", "shop-1"},
	} {
		s := must(m.logsIn(t, in.method, mount, in.role))(t)
		equal(t, "policies", s.Auth.TokenPolicies, []string{"default", "dev"})
		equal(t, "seconds", s.Auth.LeaseDuration, 3600)
		equal(t, in.metadata, s.Auth.Metadata[in.metadata], in.is)
		equal(t, "role", s.Auth.Metadata["role"], in.role)
		entity := must(c.logical.Read("identity/entity/id/" + s.Auth.EntityID))(t)
		equal(t, "alias", at(entity.Data, "aliases").([]any)[0].(map[string]any)["name"], in.entity)
		equal(t, "renewed seconds", must(c.tokens.Renew(s.Auth.ClientToken, 60))(t).Auth.LeaseDuration, 60)
	}
	for role, method := range map[string]string{"other": "gcp", "own": "gcp", "none": "gcp", "db": byAccount, "vm": byAccount} {
		if _, err := m.logsIn(t, method, mount, role); err == nil {
			t.Errorf("%s is let in as %s", method, role)
		} else {
			holds(t, "the error", err.Error(), "permission denied")
		}
	}
}
