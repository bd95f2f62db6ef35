package server_test

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

func TestRateLimitOnTheWire(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 404, "LIST", "sys/quotas/rate-limit", servertest.Root, "")
	s.Want(t, 404, "GET", "sys/quotas/rate-limit/all", servertest.Root, "")
	s.Want(t, 204, "POST", "sys/quotas/rate-limit/All", servertest.Root, `{"rate":"2","interval":"1h","type":"rate-limit"}`)
	a := s.Want(t, 200, "GET", "sys/quotas/rate-limit/all", servertest.Root, "")
	for field, want := range map[string]any{"name": "all", "type": "rate-limit", "path": "", "role": "", "inheritable": true, "rate": 2.0, "interval": 3600.0,
		"block_interval": 0.0, "group_by": "ip", "secondary_rate": 0.0} {
		if got := a.Field("data", field); got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
	list := s.Want(t, 200, "LIST", "sys/quotas/rate-limit", servertest.Root, "")
	if keys := list.Field("data", "keys").([]any); len(keys) != 1 || keys[0] != "all" || !reflect.DeepEqual(list.Field("data", "key_info", "all"), a.Field("data")) {
		t.Errorf("lists %s, want the details %v", list.Text(), a.Field("data"))
	}
	s.Want(t, 204, "POST", "sys/quotas/config", servertest.Root, `{"enable_rate_limit_response_headers":true}`)
	left := s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "").Header
	if left.Get("X-Ratelimit-Limit") != "2" || left.Get("X-Ratelimit-Remaining") != "1" || left.Get("X-Ratelimit-Reset") != "0" || left.Get("Retry-After") != "" {
		t.Errorf("the answer within the limit has %v", left)
	}
	s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "")
	over := s.Want(t, 429, "GET", "auth/token/lookup-self", servertest.Root, "")
	if over.Text() != `{"errors":["request path \"auth/token/lookup-self\": rate limit quota exceeded"]}`+"\n" {
		t.Errorf("says %s", over.Body)
	}
	wait, err := strconv.Atoi(over.Header.Get("Retry-After"))
	if err != nil || wait < 1700 || wait > 1800 || over.Header.Get("X-Ratelimit-Reset") != strconv.Itoa(wait) || over.Header.Get("X-Ratelimit-Remaining") != "0" {
		t.Errorf("the answer over the limit has %v", over.Header)
	}
	for range 20 { // what tells how a node is, and what undoes the limit, goes on
		s.Want(t, 200, "GET", "sys/health", "", "")
		s.Want(t, 200, "GET", "sys/quotas/config", servertest.Root, "")
	}
	s.Want(t, 204, "DELETE", "sys/quotas/rate-limit/all", servertest.Root, "")
	s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "")
}

// A limit that is made through one node holds on all from then on, each by itself.
func TestRateLimitOnEveryNode(t *testing.T) {
	f := startNodes(t, 3)
	f.all[0].Want(t, 204, "POST", "sys/quotas/rate-limit/all", f.root, `{"rate":1,"interval":"1h"}`)
	for _, s := range f.all {
		s.Want(t, 200, "GET", "auth/token/lookup-self", f.root, "")
		s.Want(t, 429, "GET", "auth/token/lookup-self", f.root, "")
	}
	f.all[1].Want(t, 204, "DELETE", "sys/quotas/rate-limit/all", f.root, "")
	for _, s := range f.all {
		s.Want(t, 200, "GET", "auth/token/lookup-self", f.root, "")
	}
}

// The quotas of a mount and of a namespace go with them.
func TestQuotasGoWithTheirPlace(t *testing.T) {
	s := servertest.Start(t, func(c *server.Config) { c.RawStorage = true })
	s.Want(t, 204, "POST", "sys/mounts/kv", servertest.Root, `{"type":"kv"}`)
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, "")
	s.Want(t, 204, "POST", "sys/quotas/rate-limit/kv", servertest.Root, `{"rate":9,"path":"kv/a*"}`)
	s.Want(t, 204, "POST", "sys/quotas/rate-limit/team", servertest.Root, `{"rate":9,"path":"team/"}`)
	s.Want(t, 204, "DELETE", "sys/mounts/kv", servertest.Root, "")
	s.Want(t, 200, "DELETE", "sys/namespaces/team", servertest.Root, "")
	s.Want(t, 404, "GET", "sys/quotas/rate-limit/kv", servertest.Root, "")
	soon(t, "the quotas to go", func() bool {
		return s.Do(t, "LIST", "sys/quotas/rate-limit", servertest.Root, "").Status == 404 && s.Do(t, "LIST", "sys/raw/root/quota/rate-limit", servertest.Root, "").Status == 404
	})
}

// count is how many leases and tokens a quota says that there are.
func count(t *testing.T, s *servertest.Server, root, name string) float64 {
	t.Helper()
	n, _ := s.Want(t, 200, "GET", "sys/quotas/lease-count/"+name, root, "").Field("data", "counter").(float64)
	return n
}

// A bound on tokens holds for all nodes together, whichever makes and revokes them.
func TestLeaseCountOnEveryNode(t *testing.T) {
	f := startNodes(t, 3)
	a := f.all[0]
	a.Want(t, 204, "PUT", "sys/policies/acl/maker", f.root, `{"policy":"path \"auth/token/create\" { capabilities=[\"update\",\"sudo\"] }"}`)
	maker := a.Want(t, 200, "PUT", "auth/token/create", f.root, `{"policies":["maker"]}`).String("auth", "client_token")
	a.Want(t, 204, "POST", "sys/quotas/lease-count/tokens", f.root, `{"max_leases":21,"path":"auth/token/create"}`)
	soon(t, "the token that there is to be counted", func() bool { return count(t, a, f.root, "tokens") == 1 })
	var mu sync.Mutex
	var made []string
	var work sync.WaitGroup
	for i := range 9 {
		work.Go(func() {
			for range 4 {
				got, err := f.all[i%3].Try("PUT", "auth/token/create", maker, `{"policies":["default"],"no_parent":true}`)
				mu.Lock()
				switch {
				case err != nil:
					t.Error(err)
				case got.Status == 200:
					made = append(made, got.String("auth", "client_token"))
				case got.Status != 429 || got.Header.Get("Retry-After") != "" || !strings.Contains(got.Text(), "lease count quota exceeded; too many leases or tokens live: revoke some"):
					t.Errorf("%d %s", got.Status, got.Body)
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if len(made) != 20 || count(t, f.all[1], f.root, "tokens") != 21 {
		t.Fatalf("%d were made, want 20", len(made))
	}
	a.Want(t, 429, "PUT", "auth/token/create", maker, `{"type":"batch","policies":["default"]}`)
	a.Want(t, 200, "PUT", "auth/token/create", f.root, `{"policies":["default"]}`) // root is counted, and not refused
	if n := count(t, a, f.root, "tokens"); n != 22 {
		t.Errorf("there are %v, want 22", n)
	}
	for i, tok := range made[:3] {
		f.all[i].Want(t, 204, "PUT", "auth/token/revoke", f.root, `{"token":"`+tok+`"}`)
	}
	f.all[2].Want(t, 200, "PUT", "auth/token/create", maker, `{}`)
	f.all[2].Want(t, 200, "PUT", "auth/token/create", maker, `{}`)
	f.all[1].Want(t, 429, "PUT", "auth/token/create", maker, `{}`)
	f.all[1].Want(t, 204, "PUT", "auth/token/revoke", f.root, `{"token":"`+maker+`"}`) // with its children
	if n := count(t, a, f.root, "tokens"); n != 18 {
		t.Errorf("there are %v, want 18", n)
	}
}

// Leases are counted, those from before the bound too, and what becomes of them is:
// revoked, expired with their token, or gone with their mount or namespace.
func TestLeaseCountFollowsLeases(t *testing.T) {
	s, _ := lending(t)
	s.Borrow(t, "lend", servertest.Root, "")
	old, _ := s.Borrow(t, "lend", servertest.Root, "")
	s.Want(t, 204, "POST", "sys/quotas/lease-count/lend", servertest.Root, `{"max_leases":4,"path":"lend"}`)
	s.Want(t, 204, "POST", "sys/quotas/lease-count/all", servertest.Root, `{"max_leases":1000}`)
	list := s.Want(t, 200, "LIST", "sys/quotas/lease-count", servertest.Root, "")
	if list.Field("data", "key_info", "lend", "max_leases") != 4.0 || list.Field("data", "key_info", "lend", "path") != "lend/" || list.Field("data", "key_info", "all", "counter") != nil {
		t.Errorf("lists %s", list.Text())
	}
	soon(t, "leases from before to be counted", func() bool { return count(t, s, servertest.Root, "lend") == 2 })
	s.Want(t, 204, "PUT", "sys/policies/acl/lend", servertest.Root, `{"policy":"path \"lend/*\" { capabilities=[\"read\",\"update\"] }"}`)
	tok := s.Want(t, 200, "PUT", "auth/token/create", servertest.Root, `{"policies":["lend"],"no_parent":true}`).String("auth", "client_token")
	others := count(t, s, servertest.Root, "all")
	s.Borrow(t, "lend", tok, "")
	s.Borrow(t, "lend", tok, "")
	if over := s.Want(t, 429, "GET", "lend/creds/app", tok, ""); !strings.Contains(over.Text(), `request path \"lend/creds/app\": lease count quota exceeded`) {
		t.Errorf("says %s", over.Body)
	}
	s.Want(t, 204, "PUT", "sys/leases/revoke", servertest.Root, servertest.LeaseBody(old, `,"sync":true`))
	s.Borrow(t, "lend", tok, "")
	s.Want(t, 429, "GET", "lend/creds/app", tok, "")
	s.Want(t, 204, "PUT", "auth/token/revoke", servertest.Root, `{"token":"`+tok+`"}`)
	soon(t, "the leases of the token to go", func() bool { return count(t, s, servertest.Root, "lend") == 1 })
	if got := count(t, s, servertest.Root, "all"); got != others-1 {
		t.Errorf("all the others are %v, want %v", got, others-1)
	}
	s.Want(t, 204, "DELETE", "sys/quotas/lease-count/lend", servertest.Root, "")
	soon(t, "the other quota to count them", func() bool { return count(t, s, servertest.Root, "all") == others })
	s.Want(t, 204, "DELETE", "sys/mounts/lend", servertest.Root, "")
	soon(t, "the leases of the mount to go", func() bool { return count(t, s, servertest.Root, "all") == others-1 })
}

func TestLeaseCountOfANamespace(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/quotas/lease-count/all", servertest.Root, `{"max_leases":1000}`)
	soon(t, "what there is to be counted", func() bool { return count(t, s, servertest.Root, "all") == 1 }) // the root token
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, "")
	for range 3 {
		s.Want(t, 200, "PUT", "team/auth/token/create", servertest.Root, `{"policies":["default"],"no_parent":true}`)
	}
	wrapped := s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "", "X-Vault-Wrap-TTL", "60").String("wrap_info", "token")
	if n := count(t, s, servertest.Root, "all"); n != 5 {
		t.Errorf("there are %v, want 5", n)
	}
	s.Want(t, 200, "PUT", "sys/wrapping/unwrap", wrapped, "")
	s.Want(t, 204, "POST", "sys/quotas/lease-count/team", servertest.Root, `{"max_leases":5,"path":"team"}`)
	soon(t, "the namespace's own to count its tokens", func() bool {
		return count(t, s, servertest.Root, "all") == 1 && count(t, s, servertest.Root, "team") == 3
	})
	s.Want(t, 204, "DELETE", "sys/quotas/lease-count/team", servertest.Root, "")
	soon(t, "them to be all's again", func() bool { return count(t, s, servertest.Root, "all") == 4 })
	s.Want(t, 200, "DELETE", "sys/namespaces/team", servertest.Root, "")
	soon(t, "what was in the namespace to go", func() bool { return count(t, s, servertest.Root, "all") == 1 })
}

// What is in a sealed namespace stays counted, and is not when the namespace is
// given up without having been read again.
func TestLeaseCountOfASealedNamespace(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/quotas/lease-count/all", servertest.Root, `{"max_leases":1000}`)
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, shamir)
	s.Want(t, 204, "POST", "team/sys/mounts/kv", servertest.Root, `{"type":"kv"}`)
	s.Want(t, 204, "POST", "sys/quotas/rate-limit/kv", servertest.Root, `{"rate":9,"path":"team/kv"}`)
	for range 3 {
		s.Want(t, 200, "PUT", "team/auth/token/create", servertest.Root, `{"policies":["default"],"no_parent":true}`)
	}
	soon(t, "what there is to be counted", func() bool { return count(t, s, servertest.Root, "all") == 4 })
	s.Want(t, 204, "POST", "sys/namespaces/team/seal", servertest.Root, "")
	s.Want(t, 200, "LIST", "sys/quotas/rate-limit", servertest.Root, "")
	if got := count(t, s, servertest.Root, "all"); got != 4 {
		t.Errorf("there are %v, want 4", got)
	}
	s.Want(t, 200, "DELETE", "sys/namespaces/team/delete-sealed?force=true", servertest.Root, "")
	soon(t, "what is given up to go", func() bool { return count(t, s, servertest.Root, "all") == 1 })
	soon(t, "the quota to go", func() bool { return s.Do(t, "LIST", "sys/quotas/rate-limit", servertest.Root, "").Status == 404 })
}
