package main

import (
	"encoding/json"
	"fmt"
)

// groups is how many groups the person is in.
const groups = 10

func personPath(i int) string { return fmt.Sprintf("/v1/bench/data/people/app/key-%04d", i%ring) }

// preparePerson makes a token of an entity that is in groups, each of which gives a policy with templates, and the secrets that it may
// read by that of the entity.
func (t *target) preparePerson() error {
	for i := range ring {
		if _, err := t.call("POST", personPath(i), payload); err != nil {
			return err
		}
	}
	text, err := t.call("POST", "/v1/auth/bench/login", t.login(0))
	if err != nil {
		return err
	}
	var made struct {
		Auth struct {
			ClientToken string `json:"client_token"`
			EntityID    string `json:"entity_id"`
		} `json:"auth"`
	}
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		return fmt.Errorf("reading the person's token: %w", err)
	}
	t.person = made.Auth.ClientToken
	steps := [][2]string{
		{"sys/policies/acl/person", templated(`bench/data/people/{{identity.entity.name}}/*`)},
		{"identity/entity/id/" + made.Auth.EntityID, `{"name":"app","metadata":{"team":"blue"},"policies":["person"]}`},
	}
	for i := range groups {
		name := fmt.Sprintf("group-%d", i)
		steps = append(steps,
			[2]string{"sys/policies/acl/" + name, templated(`bench/data/teams/{{identity.entity.metadata.team}}/{{identity.groups.names.` + name + `.id}}/*`)},
			[2]string{"identity/group", fmt.Sprintf(`{"name":%q,"policies":[%q],"member_entity_ids":[%q]}`, name, name, made.Auth.EntityID)})
	}
	for _, s := range steps {
		if _, err := t.call("POST", "/v1/"+s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// templated is the body of a policy that allows reading a path.
func templated(path string) string {
	rule, err := json.Marshal(fmt.Sprintf("path %q { capabilities = [\"read\"] }", path))
	if err != nil {
		panic(err) // a text can be marshalled
	}
	return `{"policy":` + string(rule) + `}`
}
