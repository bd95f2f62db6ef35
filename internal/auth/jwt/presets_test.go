package jwt

import (
	"maps"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

// TestPresets holds tokens of the shape that GitHub Actions, GitLab CI and Kubernetes give against the roles of docs/auth-jwt.md.
func TestPresets(t *testing.T) {
	const aud = "https://strongroom.example.com"
	github := m{"jti": "x", "sub": "repo:octo-org/octo-repo:environment:production", "environment": "production", "aud": aud, "ref": "refs/heads/main", "sha": "example-sha",
		"repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor_id": "12", "repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65",
		"run_id": "example-run-id", "runner_environment": "github-hosted", "actor": "octocat", "event_name": "workflow_dispatch", "ref_type": "branch",
		"job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main", "iss": "https://token.actions.githubusercontent.com"}
	gitlab := m{"namespace_id": "72", "namespace_path": "my-group", "project_id": "22", "project_path": "my-group/my-project", "user_id": "1", "user_login": "ann", "pipeline_id": "574",
		"job_id": "302", "ref": "main", "ref_type": "branch", "ref_protected": "true", "groups_direct": []string{"my-group"}, "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
		"aud": aud, "iss": "https://gitlab.example.com"}
	kubernetes := m{"aud": []string{aud}, "iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:shop:checkout", "nbf": authtest.Epoch.Unix(),
		"kubernetes.io": m{"namespace": "shop", "pod": m{"name": "checkout-7d9", "uid": "1"}, "serviceaccount": m{"name": "checkout", "uid": "2"}, "node": m{"name": "n1"}}}
	for name, c := range map[string]struct {
		token, role, other m // other: changes that another's token has
		who                string
	}{
		"github": {github, m{"user_claim": "repository_id", "bound_claims": `{"repository_owner_id": "65", "repository_id": "74", "ref": "refs/heads/main", "environment": "production"}`},
			m{"repository_id": "75", "repository": "octo-org/octo-repo"}, "74"},
		"github, a pull request": {github, m{"user_claim": "repository_id", "bound_claims": `{"repository_id": "74", "ref": "refs/heads/main"}`}, m{"ref": "refs/pull/7/merge"}, "74"},
		"github, an organisation": {github, m{"user_claim": "repository", "bound_claims_type": "glob", "bound_claims": m{"sub": "repo:octo-org/*"}},
			m{"sub": "repo:octo-organisation/octo-repo:ref:refs/heads/main"}, "octo-org/octo-repo"},
		"gitlab": {gitlab, m{"user_claim": "project_id", "bound_claims": m{"project_id": "22", "ref_type": "branch", "ref": "main", "ref_protected": "true"}}, m{"ref_protected": "false"}, "22"},
		"kubernetes": {kubernetes, m{"bound_subject": "system:serviceaccount:shop:checkout", "claim_mappings": m{"/kubernetes.io/namespace": "namespace"}},
			m{"sub": "system:serviceaccount:shop:default"}, "system:serviceaccount:shop:checkout"},
		"kubernetes, a namespace": {kubernetes, m{"bound_claims": m{"/kubernetes.io/namespace": "shop"}}, m{"kubernetes.io": m{"namespace": "bank"}}, "system:serviceaccount:shop:checkout"},
	} {
		s := newSite(t)
		s.Must(api.Write, "config", m{"jwt_validation_pubkeys": authtest.PEM(t, keyring().rsa.Public()), "bound_issuer": c.token["iss"]})
		role := ordinary(c.role)
		role["bound_audiences"] = aud
		s.Must(api.Write, "role/r", role)
		got, err := s.login("r", token(t, c.token))
		if err != nil || got.Alias.Name != c.who {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		anothers := maps.Clone(c.token)
		maps.Copy(anothers, c.other)
		if got, err := s.login("r", token(t, anothers)); err == nil {
			t.Errorf("%s: another's token: %+v", name, got)
		}
	}
}
