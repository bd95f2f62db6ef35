package server_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// One order ends all tokens of a person: on every node with its answer, whatever their kind and namespace; what they lease soon after. It
// ends nobody else's, and the person logs in again.
func TestRevokeTokensOfAnEntity(t *testing.T) {
	l := &servertest.Lender{}
	f := startNodesWith(t, 3, servertest.WithLender(l))
	a, root := f.all[0], f.root
	a.Want(t, 204, "POST", "sys/mounts/lend", root, `{"type":"lender"}`)
	a.Want(t, 200, "POST", "sys/namespaces/team", root, "")
	a.Want(t, 204, "POST", "sys/policies/acl/all", root, `{"policy":"path \"*\" { capabilities = [\"create\",\"read\",\"update\",\"list\",\"sudo\"] }"}`)
	a.Want(t, 204, "POST", "sys/auth/userpass", root, `{"type":"userpass"}`)
	in := func(s *servertest.Server, name, kind string) *servertest.Answer {
		s.Want(t, 204, "POST", "auth/userpass/users/"+name, root, `{"password":"battery-staple","token_policies":"all","token_type":"`+kind+`"}`)
		return s.Want(t, 200, "POST", "auth/userpass/login/"+name, "", `{"password":"battery-staple"}`)
	}
	makes := func(by, how, body string, headers ...string) string {
		return clientToken(f.all[1].Want(t, 200, "POST", "auth/token/"+how, by, body, headers...))
	}
	login, team := in(a, "ann", "default"), []string{"X-Vault-Namespace", "team"}
	ann, entity := clientToken(login), login.String("auth", "entity_id")
	child := makes(ann, "create", "")
	ends := map[string]string{"the login's": ann, "a child": child, "a child of a child": makes(child, "create", ""), "a batch child": makes(ann, "create", `{"type":"batch"}`),
		"a batch token of a login": clientToken(in(a, "ann", "batch"))}
	below, orphan, bob := makes(ann, "create", `{"policies":["default"]}`, team...), makes(ann, "create-orphan", ""), clientToken(in(a, "bob", "default"))
	for _, token := range []string{ann, ends["a batch child"], bob} {
		a.Borrow(t, "lend", token, "")
	}
	a.Want(t, 403, "POST", "identity/entity/id/"+entity+"/revoke-tokens", makes(bob, "create", `{"policies":["default"]}`), "")
	a.Want(t, 204, "POST", "identity/entity/id/"+entity+"/revoke-tokens", root, "")
	for i, s := range f.all {
		for which, token := range ends {
			if got := s.Do(t, "GET", "auth/token/lookup-self", token, ""); got.Status != 403 {
				t.Errorf("node %d: %s: %d", i, which, got.Status)
			}
		}
		s.Want(t, 403, "GET", "auth/token/lookup-self", below, "", team...)
		s.Want(t, 200, "GET", "auth/token/lookup-self", orphan, "") // is nobody's
		s.Want(t, 200, "GET", "auth/token/lookup-self", bob, "")
	}
	again := in(f.all[2], "ann", "default")
	for _, s := range f.all {
		s.Want(t, 200, "GET", "auth/token/lookup-self", makes(clientToken(again), "create", ""), "")
	}
	if again.String("auth", "entity_id") != entity {
		t.Error("who logs in again is somebody else")
	}
	soon(t, "the leases to be taken back", func() bool { return l.Live() == 1 })
	soon(t, "the token of the namespace below to be removed", func() bool {
		return a.Do(t, "POST", "auth/token/lookup", root, `{"token":"`+below+`"}`, team...).Status == 403
	})
	f.all[1].Want(t, 200, "GET", "auth/token/lookup-self", bob, "")
}

// Of logins at the moment of the order, those that were answered before it was given have tokens that are worth nothing, and those that begin after
// its answer have tokens that count, also where a login is answered with the token of the one before.
func TestRevokeTokensAgainstLogins(t *testing.T) {
	f := startNodes(t, 2)
	robots(t, f.all[0], f.root, "")
	entity := robotIn(t, f.all[0], "").String("auth", "entity_id")
	trials := 60
	if testing.Short() {
		trials = 10
	}
	for range trials {
		before := tryLogin(t, f.all[1])
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, err := f.all[0].Try("POST", "identity/entity/id/"+entity+"/revoke-tokens", f.root, ""); err != nil || r.Status != 204 {
				t.Errorf("%v, %v", r, err)
			}
			done.Store(true)
		})
		for after := false; !after; {
			after = done.Load() // before the login begins
			token := tryLogin(t, f.all[1])
			for _, s := range f.all {
				if r, err := s.Try("GET", "auth/token/lookup-self", token, ""); err != nil || after && r.Status != 200 {
					t.Fatalf("a login after the order: %v, %v", r, err)
				}
				if r, err := s.Try("GET", "auth/token/lookup-self", before, ""); err != nil || after && r.Status != 403 {
					t.Fatalf("a login before the order: %v, %v", r, err)
				}
			}
		}
		wg.Wait()
	}
}

// The restore of a snapshot takes an order back, as it does everything since. Given again, it ends also the batch tokens that were made after the first.
func TestRevokeTokensAfterARestore(t *testing.T) {
	from := servertest.Start(t, blank, on(mem.Open()), servertest.WithLender(&servertest.Lender{}))
	m := furnish(t, from)
	from.Want(t, 204, "POST", "sys/auth/userpass", m.root, `{"type":"userpass"}`)
	from.Want(t, 204, "POST", "auth/userpass/users/ann", m.root, `{"password":"battery-staple","token_type":"batch"}`)
	in := func(s *servertest.Server) *servertest.Answer {
		return s.Want(t, 200, "POST", "auth/userpass/login/ann", "", `{"password":"battery-staple"}`)
	}
	first := in(from)
	order := "identity/entity/id/" + first.String("auth", "entity_id") + "/revoke-tokens"
	saved := from.Want(t, 200, "GET", "sys/snapshot", m.root, "").Body
	from.Want(t, 204, "POST", order, m.root, "")
	later := in(from)

	to := servertest.StartAt(t, func() time.Time { return time.Now().Add(time.Minute) }, blank, on(mem.Open()), servertest.WithLender(&servertest.Lender{}))
	to.Want(t, 200, "POST", archive, "", string(saved))
	m.unseal(t, to)
	for _, a := range []*servertest.Answer{first, later} {
		to.Want(t, 200, "GET", "auth/token/lookup-self", clientToken(a), "")
	}
	to.Want(t, 204, "POST", order, m.root, "")
	for _, a := range []*servertest.Answer{first, later} {
		to.Want(t, 403, "GET", "auth/token/lookup-self", clientToken(a), "")
	}
	to.Want(t, 200, "GET", "auth/token/lookup-self", clientToken(in(to)), "")
}
