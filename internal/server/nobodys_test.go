package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// Tokens of an entity that was deleted are refused at once, and tidying ends them for good; those of one that is disabled stay.
func TestTidyEndsTokensOfDeletedEntities(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/auth/userpass", servertest.Root, `{"type":"userpass"}`)
	in := map[string]struct{ accessor, entity string }{}
	for _, name := range []string{"ann", "bob", "eve"} {
		s.Want(t, 204, "POST", "auth/userpass/users/"+name, servertest.Root, `{"password":"battery-staple"}`)
		a := s.Want(t, 200, "POST", "auth/userpass/login/"+name, "", `{"password":"battery-staple"}`)
		in[name] = struct{ accessor, entity string }{a.String("auth", "accessor"), a.String("auth", "entity_id")}
	}
	s.Want(t, 204, "DELETE", "identity/entity/id/"+in["ann"].entity, servertest.Root, "")
	s.Want(t, 204, "POST", "identity/entity/id/"+in["bob"].entity, servertest.Root, `{"disabled":true}`)
	there := func(name string) bool {
		return strings.Contains(s.Want(t, 200, "LIST", "auth/token/accessors", servertest.Root, "").Text(), in[name].accessor)
	}
	if !there("ann") {
		t.Fatal("the token is gone before anything was tidied")
	}
	s.Do(t, "POST", "auth/token/tidy", servertest.Root, "")
	soon(t, "the token of a deleted entity to be revoked", func() bool { return !there("ann") })
	if !there("bob") || !there("eve") {
		t.Error("a token of somebody else is revoked")
	}
}
