package compat

import (
	"encoding/json"
	"testing"

	vault "github.com/hashicorp/vault/api"
)

// TestReadsBack writes what Terraform's provider does, and reads what it compares: each difference is a change that
// Terraform would make at every run.
func TestReadsBack(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		for _, s := range []struct{ method, path, writes, reads string }{
			{"userpass", "users/ann", `{"password":"battery-staple","token_policies":["ops","Dev","ops"]}`, `{"token_policies":["ops","dev"]}`},
			{"approle", "role/app", `{"token_policies":["z","a"]}`, `{"token_policies":["z","a"]}`},
			{"aws", "config/client", `{"max_retries":3,"iam_endpoint":"https://iam.example","sts_endpoint":"https://sts.example","endpoint":"https://ec2.example"}`,
				`{"max_retries":3,"iam_endpoint":"https://iam.example","sts_endpoint":"https://sts.example","endpoint":"https://ec2.example"}`},
			{"aws", "config/client", `{"sts_region":"eu-west-1"}`, `{"max_retries":-1,"iam_endpoint":"","endpoint":"","allowed_sts_header_values":[]}`},
			{"aws", "config/identity", `{"iam_alias":"full_arn","iam_metadata":["auth_type"],"ec2_alias":"image_id","ec2_metadata":["region"]}`,
				`{"iam_alias":"full_arn","iam_metadata":["auth_type"],"ec2_alias":"image_id","ec2_metadata":["region"]}`},
			{"aws", "config/identity", `{"iam_alias":"role_id","iam_metadata":null,"ec2_alias":"role_id","ec2_metadata":null}`,
				`{"iam_alias":"role_id","iam_metadata":[],"ec2_alias":"role_id","ec2_metadata":[]}`},
			{"gcp", "config", `{"iam_metadata":["role"],"gce_metadata":["zone"]}`, `{"iam_metadata":["role"],"gce_metadata":["zone"],"custom_endpoint":null}`},
			{"gcp", "config", `{"custom_endpoint":{"api":"https://a.example"}}`, `{"custom_endpoint":{"api":"https://a.example"}}`},
			{"azure", "config", `{"tenant_id":"11111111-2222-3333-4444-555555555555","resource":"r","max_retries":4,"retry_delay":"5","max_retry_delay":70}`,
				`{"resource":"r","max_retries":4,"retry_delay":5000000000,"max_retry_delay":70000000000}`},
		} {
			mount := unique(s.method)
			ok(t, c.sys.EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: s.method}))
			if a := c.send(t, "PUT", "/v1/auth/"+mount+"/"+s.path, s.writes); a.status > 204 {
				t.Errorf("%s %s: status %d: %s", s.method, s.path, a.status, a.text)
			}
			data := at(c.send(t, "GET", "/v1/auth/"+mount+"/"+s.path, "").body, "data")
			for field, want := range decoded(t, []byte(s.reads)) {
				equal(t, s.method+"'s "+field, at(data.(map[string]any), field), want)
			}
			// It reads auth methods as mounts.
			equal(t, "type of the mount", at(c.send(t, "GET", "/v1/sys/mounts/auth/"+mount, "").body, "data.type"), any(s.method))
		}
	})
}

// TestWrappedSecretID has a secret id wrapped, of which Terraform's provider keeps the accessor, and which it revokes by it.
func TestWrappedSecretID(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := unique("approle")
		ok(t, c.sys.EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: "approle"}))
		must(c.logical.Write("auth/"+mount+"/role/app", map[string]any{"token_ttl": json.Number("60")}))(t)
		a := c.send(t, "PUT", "/v1/auth/"+mount+"/role/app/secret-id", "{}", "X-Vault-Wrap-TTL", "60")
		accessor := at(a.body, "wrap_info.wrapped_accessor")
		known := must(c.logical.Write("auth/"+mount+"/role/app/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": accessor}))(t)
		equal(t, "accessor of what is wrapped", known.Data["secret_id_accessor"], accessor)
		wrapped := must(c.logical.Unwrap(at(a.body, "wrap_info.token").(string)))(t)
		equal(t, "accessor in what is wrapped", wrapped.Data["secret_id_accessor"], accessor)
	})
}
