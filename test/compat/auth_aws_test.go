package compat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/aws"
)

// Credentials of nobody.
const (
	awsKeyID  = "AKIDEXAMPLE"
	awsSecret = "a secret key of nobody"
)

var awsParts = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=(\w+)/((\d+)/([\w-]+)/sts/aws4_request), SignedHeaders=([\w;-]+), Signature=(\w+)$`)

func hexSum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// signedFor reports whether a question to STS has the signature of the credentials, for a host (Signature Version 4).
func signedFor(host string, r *http.Request, body string) bool {
	m := awsParts.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil || m[1] != awsKeyID {
		return false
	}
	canonical := "POST\n/\n\n"
	for name := range strings.SplitSeq(m[5], ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		canonical += name + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical += "\n" + m[5] + "\n" + hexSum(body)
	key := []byte("AWS4" + awsSecret)
	for _, part := range append(strings.Split(m[2], "/"), "AWS4-HMAC-SHA256\n"+r.Header.Get("X-Amz-Date")+"\n"+m[2]+"\n"+hexSum(canonical)) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return m[6] == hex.EncodeToString(key)
}

// securityTokens is an STS that takes what is signed for one of its names, AWS's own or its address.
func securityTokens(t *testing.T) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		names := []string{"sts.amazonaws.com", "sts.us-east-1.amazonaws.com", r.Host}
		if !slices.ContainsFunc(names, func(n string) bool { return signedFor(n, r, string(body)) }) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		if _, err := io.WriteString(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/ops/Ann</Arn><UserId>AIDAEXAMPLE</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// The helper of Vault's client and our own command sign what the server then asks.
func TestAWSLogin(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", awsKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", awsSecret)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	sts := securityTokens(t)
	c := vaultClient(t, world.shared)
	mount := unique("aws")
	path := "auth/" + mount
	ok(t, c.sys.EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: "aws"}))
	must(c.logical.Write(path+"/config/client", map[string]any{"sts_endpoint": sts, "iam_server_id_header_value": "vault.example"}))(t)
	must(c.logical.Write(path+"/role/ops", map[string]any{"auth_type": "iam", "bound_iam_principal_arn": "arn:aws:iam::123456789012:user/ops/*", "resolve_aws_unique_ids": false, "token_policies": "dev", "token_ttl": "1h"}))(t)
	equal(t, "principals", must(c.logical.Read(path + "/role/ops"))(t).Data["bound_iam_principal_arn"], []any{"arn:aws:iam::123456789012:user/ops/*"})

	login := func(role, server string) (*vault.Secret, error) {
		method := must(aws.NewAWSAuth(aws.WithIAMAuth(), aws.WithRole(role), aws.WithMountPath(mount), aws.WithRegion("us-east-1"), aws.WithIAMServerIDHeader(server)))(t)
		return stranger(t, c.server.URL).Auth().Login(t.Context(), method)
	}
	s := must(login("ops", "vault.example"))(t)
	equal(t, "policies", s.Auth.TokenPolicies, []string{"default", "dev"})
	equal(t, "who", s.Auth.Metadata["canonical_arn"], "arn:aws:iam::123456789012:user/ops/Ann")
	for role, server := range map[string]string{"ops": "other.example", "none": "vault.example"} {
		if _, err := login(role, server); err == nil {
			t.Errorf("%s was let in for %s", role, server)
		}
	}
	t.Setenv("STRONGROOM_ADDR", c.server.URL)
	t.Setenv("HOME", t.TempDir())
	command := func(args ...string) (string, error) {
		cmd := exec.Command(world.bin, append([]string{"login", "-method=aws", "-path=" + mount, "-token-only"}, args...)...)
		cmd.Env = os.Environ()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	host := "sts_host=" + strings.TrimPrefix(sts, "http://")
	if out, err := command("role=ops", "header_value=vault.example", host); err != nil || !strings.HasPrefix(out, "srs_") {
		t.Errorf("our command: %v, %s", err, out)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	if out, err := command("role=ops", "header_value=vault.example", host); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("our command with another secret: %v, %s", err, out)
	}
}
