package compat

import (
	"fmt"
	"testing"

	vault "github.com/hashicorp/vault/api"
)

// accessor is that of the mount of tokens, where entities have aliases without an auth method.
func (c *client) accessor(t *testing.T) string {
	t.Helper()
	mounts := must(c.logical.Read("sys/auth"))(t)
	entry, _ := mounts.Data["token/"].(map[string]any)
	return fmt.Sprint(entry["accessor"])
}

// entity makes an entity with an alias of tokens, and a role by which tokens are made for it.
func (c *client) entity(t *testing.T, data map[string]any) (id, alias string) {
	t.Helper()
	alias = unique("alias")
	data["name"] = unique("person")
	id = fmt.Sprint(must(c.logical.Write("identity/entity", data))(t).Data["id"])
	must(c.logical.Write("identity/entity-alias", map[string]any{"name": alias, "mount_accessor": c.accessor(t), "canonical_id": id}))(t)
	must(c.logical.Write("auth/token/roles/"+alias, map[string]any{"allowed_entity_aliases": []string{"nobody", alias[:len(alias)-2] + "*"}, "orphan": true, "allowed_policies": "default"}))(t)
	return id, alias
}

// holder is a client with a token that was made for an alias.
func (c *client) holder(t *testing.T, alias string) *client {
	t.Helper()
	made := must(c.logical.Write("auth/token/create/"+alias, map[string]any{"entity_alias": alias}))(t)
	return c.as(t, made.Auth.ClientToken)
}

func TestIdentityEntity(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name := unique("Ann")
		made := must(c.logical.Write("identity/entity", map[string]any{"name": name, "metadata": map[string]string{"team": "red"}, "policies": []string{"a", "b"}}))(t)
		id := fmt.Sprint(made.Data["id"])
		equal(t, "name", made.Data["name"], name)
		again, err := c.logical.Write("identity/entity", map[string]any{"name": name, "policies": "c"})
		absent(t, "changing an entity", again, err)
		read := must(c.logical.Read("identity/entity/id/" + id))(t).Data
		equal(t, "policies", read["policies"], []any{"c"})
		equal(t, "metadata", read["metadata"], map[string]any{"team": "red"})
		equal(t, "aliases", read["aliases"], []any{})
		for _, field := range []string{"creation_time", "last_update_time", "direct_group_ids", "group_ids", "inherited_group_ids", "merged_entity_ids", "namespace_id", "disabled", "mfa_secrets"} {
			if _, has := read[field]; !has {
				t.Errorf("the answer lacks %s", field)
			}
		}
		equal(t, "by name", must(c.logical.Read("identity/entity/name/" + name))(t).Data["id"], id)
		equal(t, "looked up", must(c.logical.Write("identity/lookup/entity", map[string]any{"name": name}))(t).Data["id"], id)
		none, err := c.logical.Write("identity/lookup/entity", map[string]any{"name": unique("none")})
		absent(t, "looking up nobody", none, err)
		_, err = c.logical.Write("identity/entity", map[string]any{"name": name, "policies": "Root"})
		refused(t, err, 400, "policies cannot contain root")
		must(c.logical.Delete("identity/entity/id/" + id))(t)
		gone, err := c.logical.Read("identity/entity/id/" + id)
		absent(t, "a deleted entity", gone, err)
	})
}

func TestIdentityTokens(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, _ := c.freshKV2(t)
		rules := func(path string) string {
			return fmt.Sprintf("path %q { capabilities = [\"read\", \"update\", \"create\"] }", path)
		}
		own, shared := unique("own"), unique("shared")
		ok(t, c.sys.PutPolicy(own, rules(mount+"/data/{{identity.entity.id}}/*")))
		ok(t, c.sys.PutPolicy(shared, rules(mount+"/data/shared/{{identity.groups.names."+shared+".id}}")))
		id, alias := c.entity(t, map[string]any{"policies": own})
		ann := c.holder(t, alias)
		data := map[string]any{"data": map[string]any{"k": "v"}}
		must(ann.logical.Write(mount+"/data/"+id+"/x", data))(t)
		_, err := ann.logical.Write(mount+"/data/other/x", data)
		refused(t, err, 403, "permission denied")
		look := must(ann.logical.Read("auth/token/lookup-self"))(t).Data
		equal(t, "entity", look["entity_id"], id)
		equal(t, "identity policies", look["identity_policies"], []any{own})

		group := fmt.Sprint(must(c.logical.Write("identity/group", map[string]any{"name": shared, "policies": shared, "member_entity_ids": []string{id}}))(t).Data["id"])
		must(ann.logical.Write(mount+"/data/shared/"+group, data))(t)
		made := must(c.logical.Write("auth/token/create/"+alias, map[string]any{"entity_alias": alias}))(t)
		equal(t, "identity policies of a new token", len(made.Auth.IdentityPolicies), 2)
		must(c.logical.Write("identity/group/id/"+group, map[string]any{"member_entity_ids": []string{}}))(t)
		_, err = ann.logical.Write(mount+"/data/shared/"+group, data)
		refused(t, err, 403, "permission denied")

		must(c.logical.Write("identity/entity/id/"+id, map[string]any{"disabled": true}))(t)
		_, err = ann.logical.Read("auth/token/lookup-self")
		refused(t, err, 403, "permission denied")
		must(c.logical.Write("identity/entity/id/"+id, map[string]any{"disabled": false}))(t)
		must(ann.logical.Read("auth/token/lookup-self"))(t)
		must(c.logical.Delete("identity/entity/id/" + id))(t)
		_, err = ann.logical.Read("auth/token/lookup-self")
		refused(t, err, 403, "permission denied")
		_, err = c.logical.Write("auth/token/create/"+alias, map[string]any{"entity_alias": "someone"})
		refused(t, err, 400, "invalid 'entity_alias' value")
	})
}

func TestIdentityGroups(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name := unique("Devs")
		id, _ := c.entity(t, map[string]any{})
		made := must(c.logical.Write("identity/group", map[string]any{"name": name, "member_entity_ids": []string{id}, "metadata": map[string]string{"a": "b"}}))(t)
		group := fmt.Sprint(made.Data["id"])
		read := must(c.logical.Read("identity/group/id/" + group))(t).Data
		equal(t, "members", read["member_entity_ids"], []any{id})
		equal(t, "type", read["type"], "internal")
		equal(t, "alias", read["alias"], map[string]any{})
		above := must(c.logical.Write("identity/group", map[string]any{"name": name + "-above", "member_group_ids": []string{group}}))(t).Data["id"]
		equal(t, "parents", must(c.logical.Read("identity/group/name/" + name))(t).Data["parent_group_ids"], []any{above})
		_, err := c.logical.Write("identity/group/id/"+group, map[string]any{"member_group_ids": []any{above}})
		refused(t, err, 400, "cyclic")
		out := must(c.logical.Write("identity/group", map[string]any{"name": name + "-out", "type": "external"}))(t).Data["id"]
		alias := must(c.logical.Write("identity/group-alias", map[string]any{"name": unique("team"), "mount_accessor": c.accessor(t), "canonical_id": out}))(t).Data["id"]
		equal(t, "alias of", must(c.logical.Read(fmt.Sprint("identity/group-alias/id/", alias)))(t).Data["canonical_id"], out)
		holds(t, "aliases", fmt.Sprint(keys(t, must(c.logical.List("identity/group-alias/id"))(t))), fmt.Sprint(alias))
		holds(t, "names", fmt.Sprint(keys(t, must(c.logical.List("identity/group/name"))(t))), name)
		must(c.logical.Delete("identity/group/id/" + group))(t)
		gone, err := c.logical.Read("identity/group/name/" + name)
		absent(t, "a deleted group", gone, err)
	})
}

// TestRevokeTokensOfAnEntity gives the order to end somebody's tokens through unmodified clients: twice, to nobody, to who was deleted, and by who may not.
func TestRevokeTokensOfAnEntity(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		id, alias := c.entity(t, map[string]any{"policies": "default"})
		order, stolen := "identity/entity/id/"+id+"/revoke-tokens", c.holder(t, alias)
		must(stolen.logical.Read("auth/token/lookup-self"))(t)
		_, err := stolen.logical.Write(order, nil)
		refused(t, err, 403, "permission denied")
		for range 2 {
			none, err := c.logical.Write(order, nil)
			absent(t, "the order", none, err)
			_, err = stolen.logical.Read("auth/token/lookup-self")
			refused(t, err, 403, "permission denied")
			stolen = c.holder(t, alias)
			must(stolen.logical.Read("auth/token/lookup-self"))(t)
		}
		_, err = c.logical.Write("identity/entity/id/nobody/revoke-tokens", nil)
		refused(t, err, 400, "id: invalid entity id")
		_, err = c.logical.Read(order)
		refused(t, err, 405, "")
		must(c.logical.Delete("identity/entity/id/" + id))(t)
		_, err = c.logical.Write(order, nil)
		refused(t, err, 400, "id: invalid entity id")
	})
}

func TestIdentityMerge(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		policy := unique("reader")
		ok(t, c.sys.PutPolicy(policy, `path "sys/mounts" { capabilities = ["read"] }`))
		old, alias := c.entity(t, map[string]any{})
		ann := c.holder(t, alias)
		_, err := ann.logical.Read("sys/mounts")
		refused(t, err, 403, "permission denied")
		next := fmt.Sprint(must(c.logical.Write("identity/entity", map[string]any{"name": unique("next"), "policies": policy}))(t).Data["id"])
		merged, err := c.logical.Write("identity/entity/merge", map[string]any{"from_entity_ids": []string{old}, "to_entity_id": next})
		absent(t, "merging", merged, err)
		must(ann.logical.Read("sys/mounts"))(t)
		equal(t, "of the alias", must(c.logical.Write("identity/lookup/entity", map[string]any{"alias_name": alias, "alias_mount_accessor": c.accessor(t)}))(t).Data["id"], next)
		must(c.logical.Write("identity/entity/batch-delete", map[string]any{"entity_ids": []string{next}}))(t)
		_, err = ann.logical.Read("sys/mounts")
		refused(t, err, 403, "permission denied")
	})
}

// The mount is there in every namespace, and cannot be moved or disabled.
func TestIdentityMount(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		in := c.in(t, c.namespace(t))
		for _, at := range []*client{c, in} {
			entry, _ := must(at.logical.Read("sys/mounts"))(t).Data["identity/"].(map[string]any)
			holds(t, "type", fmt.Sprint(entry["type"]), "identity")
			_, err := at.logical.Delete("sys/mounts/identity")
			refused(t, err, 400, "cannot unmount")
			_, err = at.logical.Write("sys/remount", map[string]any{"from": "identity", "to": "other"})
			refused(t, err, 400, "cannot remount")
			_, err = at.logical.Write("sys/mounts/other", map[string]any{"type": "identity"})
			refused(t, err, 400, "not mountable")
		}
		var _ *vault.Secret = must(in.logical.Write("identity/entity", map[string]any{"name": "ann"}))(t)
	})
}
