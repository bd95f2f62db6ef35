package server_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// countOf is how many leases and tokens a quota says that an identity has.
func countOf(t *testing.T, s *servertest.Server, root, name, entity string) float64 {
	t.Helper()
	n, _ := s.Want(t, 200, "GET", "sys/quotas/lease-count/"+name+"?entity_id="+entity, root, "").Field("data", "counter").(float64)
	return n
}

// makers are two AppRole roles that log in without a secret id, and may make tokens: the identity of each, and a token.
func makers(t *testing.T, f *nodes) (ids, tokens map[string]string) {
	t.Helper()
	a := f.all[0]
	a.Want(t, 204, "POST", "sys/auth/approle", f.root, `{"type":"approle"}`)
	ids, tokens = map[string]string{}, map[string]string{}
	for _, role := range []string{"ci", "cd"} {
		a.Want(t, 204, "POST", "auth/approle/role/"+role, f.root, `{"role_id":"`+role+`","bind_secret_id":false,"token_bound_cidrs":"127.0.0.0/8","token_policies":"maker"}`)
		in := a.Want(t, 200, "POST", "auth/approle/login", "", `{"role_id":"`+role+`"}`)
		ids[role], tokens[role] = in.String("auth", "entity_id"), clientToken(in)
	}
	a.Want(t, 204, "PUT", "sys/policies/acl/maker", f.root, `{"policy":"path \"auth/token/create\" { capabilities=[\"update\"] }"}`)
	return ids, tokens
}

// A bound of each identity's holds for all nodes together, of each by itself, whichever node makes and
// revokes its tokens; it counts those that there are when it is made, and again when it is made anew.
func TestLeaseCountOfEachIdentity(t *testing.T) {
	f := startNodes(t, 3)
	a := f.all[0]
	ids, before := makers(t, f)
	make10 := func() {
		t.Helper()
		a.Want(t, 204, "POST", "sys/quotas/lease-count/each", f.root, `{"max_leases":10,"group_by":"entity_then_none"}`)
	}
	a.Want(t, 400, "POST", "sys/quotas/lease-count/each", f.root, `{"max_leases":10,"group_by":"ip"}`)
	make10()
	soon(t, "what there is to be counted", func() bool {
		return countOf(t, a, f.root, "each", ids["ci"]) == 1 && countOf(t, a, f.root, "each", ids["cd"]) == 1 && countOf(t, a, f.root, "each", "") == 1
	})
	var made sync.Map
	let := map[string]*atomic.Int64{"ci": {}, "cd": {}}
	race := func() {
		t.Helper()
		var work sync.WaitGroup
		for i := range 64 {
			role := []string{"ci", "ci", "ci", "cd"}[i%4]
			work.Go(func() {
				got, err := f.all[i%3].Try("POST", "auth/approle/login", "", `{"role_id":"`+role+`"}`)
				switch {
				case err != nil || got.Status != 200 && got.Status != 429:
					t.Errorf("%v, %v", got, err)
				case got.Status == 200:
					let[role].Add(1)
					made.Store(clientToken(got), role)
				}
			})
		}
		work.Wait()
	}
	race()
	for role, n := range let {
		if n.Load() != 9 || countOf(t, f.all[1], f.root, "each", ids[role]) != 10 {
			t.Fatalf("%s got %d beside the one before, want 9", role, n.Load())
		}
	}
	f.all[1].Want(t, 429, "PUT", "auth/token/create", before["ci"], `{}`)                 // a child is of the same identity
	f.all[2].Want(t, 429, "PUT", "auth/token/create", before["ci"], `{"type":"batch"}`)   // and a batch token is refused
	f.all[1].Want(t, 200, "PUT", "auth/token/create", f.root, `{"policies":["default"]}`) // nobody's
	i := 0
	made.Range(func(token, role any) bool {
		f.all[i%3].Want(t, 204, "PUT", "auth/token/revoke", f.root, `{"token":"`+token.(string)+`"}`)
		let[role.(string)].Add(-1)
		made.Delete(token)
		i++
		return i < 7
	})
	race()
	for role, n := range let {
		if n.Load() != 9 {
			t.Errorf("%s has %d beside the one before, want 9", role, n.Load())
		}
	}
	a.Want(t, 204, "POST", "sys/quotas/lease-count/each", f.root, `{"max_leases":12,"group_by":"entity_then_none"}`) // from that answer on
	f.all[1].Want(t, 200, "PUT", "auth/token/create", before["ci"], `{}`)
	a.Want(t, 204, "DELETE", "sys/quotas/lease-count/each", f.root, "")
	make10()
	soon(t, "what there is to be counted again", func() bool {
		return countOf(t, a, f.root, "each", ids["ci"]) == 11 && countOf(t, a, f.root, "each", ids["cd"]) == 10 && countOf(t, a, f.root, "each", "") == 2
	})
	started := f.start(t)
	f.unseal(t, started)
	for _, role := range []string{"ci", "cd"} {
		started.Want(t, 429, "POST", "auth/approle/login", "", `{"role_id":"`+role+`"}`)
	}
	started.Want(t, 204, "PUT", "auth/token/revoke", f.root, `{"token":"`+before["ci"]+`"}`) // with its child
	for range 10 {                                                                           // that there is no room for nobody's is nothing to who is somebody
		a.Want(t, 200, "PUT", "auth/token/create", f.root, `{"policies":["default"]}`)
	}
	f.all[2].Want(t, 200, "POST", "auth/approle/login", "", `{"role_id":"ci"}`)
	f.all[2].Want(t, 429, "POST", "auth/approle/login", "", `{"role_id":"ci"}`)
}

// Leases are their borrower's, whatever token has borrowed them.
func TestLeasesOfEachIdentity(t *testing.T) {
	s, _ := lending(t)
	robots(t, s, servertest.Root, "")
	s.Want(t, 204, "PUT", "sys/policies/acl/dev", servertest.Root, `{"policy":"path \"lend/*\" { capabilities=[\"read\",\"update\"] }"}`)
	s.Want(t, 204, "POST", "auth/approle/role/robot", servertest.Root, `{"token_reuse":false}`)
	in := robotIn(t, s, "")
	s.Borrow(t, "lend", clientToken(in), "")
	s.Want(t, 204, "POST", "sys/quotas/lease-count/lend", servertest.Root, `{"max_leases":3,"path":"lend","group_by":"entity_then_none"}`)
	entity := in.String("auth", "entity_id")
	soon(t, "the lease from before to be counted", func() bool { return countOf(t, s, servertest.Root, "lend", entity) == 1 })
	other := robotIn(t, s, "")
	id, _ := s.Borrow(t, "lend", clientToken(other), "")
	s.Borrow(t, "lend", clientToken(in), "")
	s.Want(t, 429, "GET", "lend/creds/app", clientToken(other), "")
	s.Want(t, 429, "GET", "lend/creds/app", clientToken(in), "")
	s.Borrow(t, "lend", servertest.Root, "")
	s.Want(t, 204, "PUT", "sys/leases/revoke", servertest.Root, servertest.LeaseBody(id, `,"sync":true`))
	s.Borrow(t, "lend", clientToken(in), "")
	s.Want(t, 204, "POST", "auth/token/revoke-self", clientToken(in), "")
	soon(t, "the leases of the token to go", func() bool { return countOf(t, s, servertest.Root, "lend", entity) == 0 })
	if n := countOf(t, s, servertest.Root, "lend", ""); n != 1 {
		t.Errorf("those without an identity have %s, want 1", strconv.FormatFloat(n, 'f', -1, 64))
	}
}
