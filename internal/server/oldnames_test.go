package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/auth/approle"
	"github.com/strongroom/strongroom/internal/auth/aws"
	"github.com/strongroom/strongroom/internal/auth/azure"
	"github.com/strongroom/strongroom/internal/auth/cert"
	"github.com/strongroom/strongroom/internal/auth/gcp"
	"github.com/strongroom/strongroom/internal/auth/jwt"
	"github.com/strongroom/strongroom/internal/auth/kubernetes"
	"github.com/strongroom/strongroom/internal/auth/userpass"
	"github.com/strongroom/strongroom/internal/authtest"
)

// Who has set a role's terms by the names that they had in older versions of Vault reads them by those too, as there, until they are set
// by their names of now.
func TestTermsAreShownByTheirOldNames(t *testing.T) {
	ca, _ := certificates(t)
	const role = "role/r"
	for name, m := range map[string]struct {
		build  func() (api.Engine, error)
		path   string
		fields string // that the role must have
		old    string // beside policies
	}{
		"approle":    {approle.Engine, role, `"role_id":"x"`, "period"},
		"userpass":   {userpass.Engine, "users/r", `"password_hash":"x"`, "max_ttl"},
		"cert":       {cert.Engine, "certs/r", `"certificate":"` + strings.ReplaceAll(ca, "\n", `\n`) + `"`, "period"},
		"kubernetes": {kubernetes.Engine, role, `"bound_service_account_names":"a","bound_service_account_namespaces":"b"`, "ttl"},
		"aws":        {aws.Engine, role, `"bound_iam_principal_arn":"arn:aws:iam::123456789012:role/web"`, "max_ttl"},
		"gcp":        {gcp.Engine, role, `"type":"gce","bound_projects":"p"`, "period"},
		"azure":      {azure.Engine, role, `"bound_resource_groups":"g"`, "num_uses"},
		"jwt":        {jwt.Engine, role, `"role_type":"jwt","user_claim":"sub","bound_subject":"x"`, "num_uses"},
	} {
		t.Run(name, func(t *testing.T) {
			s := authtest.Open(t, m.build)
			s.With.Passwords = passwords{}
			s.MustText(api.Write, m.path, `{`+m.fields+`,"policies":"a,b","`+m.old+`":60}`)
			by := s.MustText(api.Read, m.path, "")
			s.MustText(api.Write, m.path, `{"token_policies":"c","token_`+m.old+`":60}`)
			now := s.MustText(api.Read, m.path, "")
			for _, shown := range []string{`"policies":["a","b"]`, `"` + m.old + `":60`} {
				if !strings.Contains(by, `,`+shown) || !strings.Contains(by, `"token_`+strings.TrimPrefix(shown, `"`)) {
					t.Errorf("set by old names it is shown without %s: %s", shown, by)
				}
			}
			if strings.Contains(now, `"policies"`) || strings.Contains(now, `,"`+m.old+`"`) || !strings.Contains(now, `"token_policies":["c"]`) {
				t.Errorf("set by the names of now it is shown as %s", now)
			}
		})
	}
}

// passwords takes any hash.
type passwords struct{ api.Passwords }

func (passwords) Take(form api.Secret) (string, error) { return form.Reveal(), nil }
