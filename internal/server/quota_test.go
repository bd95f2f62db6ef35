package server_test

import (
	"strconv"
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
	if keys := s.Want(t, 200, "LIST", "sys/quotas/rate-limit", servertest.Root, "").Field("data", "keys").([]any); len(keys) != 1 || keys[0] != "all" {
		t.Errorf("lists %v", keys)
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
