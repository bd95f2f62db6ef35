package oidc_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/oidc"
)

// withTemplate makes a role whose tokens have claims of a template.
func (w *world) withTemplate(template string) map[string]any {
	w.t.Helper()
	w.write("oidc/key/k", `{"algorithm": "EdDSA", "allowed_client_ids": "*"}`)
	b := must(json.Marshal(template))(w.t)
	w.write("oidc/role/r", `{"key": "k", "template": %s}`, b)
	return w.verified(jwks, w.token("r"))
}

func TestTemplate(t *testing.T) {
	w := newWorld(t)
	id := w.ann(`{"team": "red"}`)
	w.write("entity-alias", `{"name": "ann@door", "mount_accessor": "auth_door_1", "canonical_id": %q, "custom_metadata": {"room": "7"}}`, id)
	g, _ := w.write("group", `{"name": "admins", "member_entity_ids": [%q]}`, id)["id"].(string)
	got := w.withTemplate(`{"id": {{identity.entity.id}}, "name": {{ identity.entity.name }}, "team": {{identity.entity.metadata.team}}, "none": {{identity.entity.metadata.none}},
		"all": {{identity.entity.metadata}}, "groups": {{identity.entity.groups.names}}, "in": {"ids": [{{identity.entity.groups.ids}}]},
		"alias": {{identity.entity.aliases.auth_door_1.name}}, "room": {{identity.entity.aliases.auth_door_1.custom_metadata.room}}, "custom": {{identity.entity.aliases.auth_door_1.custom_metadata}},
		"other": {{identity.entity.aliases.auth_none_1.name}}, "lost": {{identity.entity.aliases.auth_none_1.metadata}}, "nbf": {{time.now}}, "soon": {{time.now.plus.90s}}, "past": {{time.now.minus.1m}}}`)
	now := float64(w.now.Unix())
	for claim, want := range map[string]any{"id": id, "name": "ann", "team": "red", "none": "", "all": map[string]any{"team": "red"}, "groups": []any{"admins"}, "in": map[string]any{"ids": []any{[]any{g}}},
		"alias": "ann@door", "room": "7", "custom": map[string]any{"room": "7"}, "other": "", "lost": map[string]any{}, "nbf": now, "soon": now + 90, "past": now - 60} {
		if !reflect.DeepEqual(got[claim], want) {
			t.Errorf("%s is %v, want %v", claim, got[claim], want)
		}
	}
	encoded := w.withTemplate(base64.StdEncoding.EncodeToString([]byte(`{"name": {{identity.entity.name}}}`)))
	if encoded["name"] != "ann" || encoded["team"] != nil {
		t.Errorf("a template as base64 makes %v", encoded)
	}
}

// What people can choose stays a value, whatever it holds.
func TestValuesStayValues(t *testing.T) {
	for _, nasty := range []string{`","sub":"root`, `"}`, `\`, `\"`, `{{identity.entity.id}}`, "</script>", `\u0022`} {
		w := newWorld(t)
		id := w.ann(string(must(json.Marshal(map[string]string{"team": nasty}))(t)))
		got := w.withTemplate(`{"team": {{identity.entity.metadata.team}}, "all": {{identity.entity.metadata}}}`)
		if got["team"] != nasty || got["sub"] != id || !reflect.DeepEqual(got["all"], map[string]any{"team": nasty}) {
			t.Errorf("%q makes %v", nasty, got)
		}
	}
}

func TestTemplateRefused(t *testing.T) {
	w := newWorld(t)
	w.write("oidc/key/k", `{"algorithm": "EdDSA"}`)
	for template, why := range map[string]string{
		`{"sub": "x"}`: "not allowed", `{"SUB": "x"}`: "not allowed", `{"i\u0073s": "x"}`: "not allowed", `{"aud": 1}`: "not allowed", `{"exp": 1}`: "not allowed", `{"iat": 1}`: "not allowed",
		`{"namespace": 1}`: "not allowed", `{"nonce": 1}`: "not allowed", `{"auth_time": 1}`: "not allowed", `{"at_hash": 1}`: "not allowed",
		`[]`: "not a JSON object", `"x"`: "not a JSON object", `{{identity.entity.id}}`: "not a JSON object", `null`: "not a JSON object", `{`: "not a JSON object", `{"a": 1, "a": 2}`: "not a JSON object",
		`{{{identity.entity.name}}: 1}`: "there is not", `{ {{identity.entity.name}}: 1}`: "not a JSON object", `{"a": 1} {"b": 2}`: "not a JSON object",
		`{"a": -{{identity.entity.name}}}`: "not a JSON object", `{"a": 1{{identity.entity.name}}}`: "not a JSON object", `{"a": {{identity.entity.name}}.5}`: "not a JSON object", `{"a": 1e{{time.now}}}`: "not a JSON object",
		`{"a": "{{identity.entity.name}}"}`: "within a text", `{"a": {{identity.entity.name}`: "no }}", `{"{{identity.entity.name}}": 1}`: "within a text",
		`{"a": {{identity.entity.password}}}`: "there is not", `{"a": {{secret.x}}}`: "there is not", `{"a": {{}}}`: "there is not", `{"a": {{time.now.plus.x}}}`: "there is not",
		`{"a": "` + strings.Repeat("x", 17<<10) + `"}`: "longer than",
	} {
		w.refused("oidc/role/r", fmt.Sprintf(`{"key": "k", "ttl": "1h", "template": %s}`, must(json.Marshal(template))(t)), why)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(`{"a": {{identity.entity.name}}}`, `","sub":"x`)
	f.Add(`{"a": [{{identity.entity.metadata}}, "\"{"]}`, `{{`)
	f.Add(`{"a": -{{identity.entity.name}}}`, "x")
	f.Add(`{"a\\": {{time.now.plus.1h}}}`, `\`)
	f.Fuzz(func(t *testing.T, template, value string) {
		out, ok := oidc.TryTemplate(template, value)
		if !ok {
			return
		}
		var claims map[string]any
		if err := json.Unmarshal([]byte(out), &claims); err != nil {
			t.Fatalf("a template that was taken makes no JSON object of a value: %v", err)
		}
		for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "nonce"} {
			if _, has := claims[name]; has {
				t.Fatalf("a template sets %s", name)
			}
		}
	})
}
