package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// change is a namespace whose holders are replaced.
type change struct {
	t    testing.TB
	root string
	base string
}

func (c *change) ask(s *servertest.Server, status int, method, step, body string) *servertest.Answer {
	c.t.Helper()
	return s.Want(c.t, status, method, c.base+step, c.root, body)
}

// hand hands keys in, and answers the last answer.
func (c *change) hand(s *servertest.Server, step, nonce string, keys ...string) (last *servertest.Answer) {
	c.t.Helper()
	for _, k := range keys {
		last = c.ask(s, 200, "POST", step, fmt.Sprintf(`{"key":%q,"nonce":%q}`, k, nonce))
	}
	return last
}

// renew makes new unseal keys, up to their verification.
func (c *change) renew(s *servertest.Server, spec string, old ...string) (keys []string, nonce string) {
	c.t.Helper()
	nonce = c.ask(s, 200, "POST", "init", spec).String("data", "nonce")
	a := c.hand(s, "update", nonce, old...)
	if a.Field("data", "complete") != true || a.Field("data", "verification_required") != true {
		c.t.Fatalf("not complete: %s", a.Text())
	}
	for _, k := range a.Field("data", "keys").([]any) {
		keys = append(keys, k.(string))
	}
	return keys, a.String("data", "verification_nonce")
}

// opens fails unless keys open the namespace through a node, or do not.
func (c *change) opens(s *servertest.Server, whether bool, keys ...string) {
	c.t.Helper()
	s.Want(c.t, 204, "POST", "sys/namespaces/team/seal", c.root, "")
	s.Want(c.t, 200, "POST", "sys/namespaces/team/unseal", c.root, `{"reset":true}`)
	var last *servertest.Answer
	for _, k := range keys {
		last = s.Do(c.t, "POST", "sys/namespaces/team/unseal", c.root, `{"key":"`+k+`"}`)
	}
	if got := last.Status == 200 && last.Field("data", "sealed") == false; got != whether {
		c.t.Errorf("they open it: %v, %s", got, last.Text())
	}
	if whether {
		s.Want(c.t, 200, "GET", "kv/a", c.root, "", in("team")...)
	}
}

func holders(t testing.TB, s *servertest.Server, root string) (*change, []string) {
	t.Helper()
	keys := keysOf(t, s.Want(t, 200, "POST", "sys/namespaces/team", root, shamir))
	s.Want(t, 204, "POST", "sys/mounts/kv", root, `{"type":"kv"}`, in("team")...)
	s.Want(t, 204, "POST", "kv/a", root, `{"v":"x"}`, in("team")...)
	return &change{t, root, "sys/namespaces/team/rotate/root/"}, keys
}

// The holders of a namespace's unseal keys are replaced: begun on one node, made on another and
// verified on a third. Until the last step the old keys work, and after it the new ones alone.
func TestHoldersAreReplaced(t *testing.T) {
	f := startNodes(t, 3)
	one, two, three := f.all[0], f.all[1], f.all[2]
	c, old := holders(t, one, f.root)
	nonce := c.ask(one, 200, "POST", "init", `{"secret_shares":2,"secret_threshold":2}`).String("data", "nonce")
	c.ask(two, 400, "POST", "init", `{"secret_shares":2,"secret_threshold":2}`) // one is under way
	if a := c.ask(three, 200, "GET", "init", ""); a.String("data", "nonce") != nonce || a.Field("data", "required") != 2.0 {
		t.Errorf("another node says: %s", a.Text())
	}
	c.ask(two, 400, "POST", "update", `{"key":"`+old[0]+`","nonce":"other"}`)
	c.ask(two, 400, "POST", "update", `{"key":"nonsense","nonce":"`+nonce+`"}`)
	c.ask(two, 400, "POST", "verify", `{"key":"`+old[0]+`","nonce":"`+nonce+`"}`)
	two.Want(t, 400, "POST", c.base+"update", f.root, `{"key":"`+old[0]+`","nonce":"`+nonce+`"}`, "X-Vault-Wrap-TTL", "60")
	if a := c.hand(two, "update", nonce, old[0], old[0]); a.Field("data", "progress") != 1.0 {
		t.Errorf("one key twice: %s", a.Text())
	}
	a := c.hand(two, "update", nonce, old[2])
	keys, _ := a.Field("data", "keys").([]any)
	verify := a.String("data", "verification_nonce")
	if len(keys) != 2 || verify == "" || verify == nonce {
		t.Fatalf("no new keys: %s", a.Text())
	}
	first, second := keys[0].(string), keys[1].(string)
	if again := c.ask(three, 200, "GET", "verify", ""); strings.Contains(again.Text(), first) || again.String("data", "verification_nonce") != verify {
		t.Errorf("they are shown again, or not waited for: %s", again.Text())
	}
	c.opens(one, false, first, second)
	c.opens(two, true, old[0], old[1]) // sealing and unsealing between the steps change nothing
	c.ask(three, 400, "POST", "verify", `{"key":"`+old[0]+`","nonce":"`+verify+`"}`)
	c.ask(three, 400, "POST", "verify", `{"key":"`+first+`","nonce":"`+nonce+`"}`)
	two.End() // who made them is gone
	if done := c.hand(three, "verify", verify, first, second); done.Field("data", "complete") != true {
		t.Fatalf("verified: %s", done.Text())
	}
	c.opens(one, false, old[0], old[1], old[2])
	c.opens(three, true, second, first)
	if st := one.Want(t, 200, "GET", "sys/namespaces/team/seal-status", f.root, ""); st.Field("data", "n") != 2.0 {
		t.Errorf("%s", st.Text())
	}
	for _, n := range f.all {
		for _, k := range append(old, first, second) {
			if strings.Contains(string(n.Audit.Bytes()), k) || strings.Contains(string(n.Log.Bytes()), k) {
				t.Error("an unseal key is in the audit log or the server's")
			}
		}
	}
}

// A change that is given up, at either step, leaves the old keys, and the new ones are
// nobody's; so does one that was cut short before the new keys were answered.
func TestHoldersChangeIsGivenUp(t *testing.T) {
	f := startNodes(t, 2)
	one, two := f.all[0], f.all[1]
	c, old := holders(t, one, f.root)
	c.ask(one, 200, "POST", "init", `{"secret_shares":1,"secret_threshold":1}`)
	c.ask(two, 204, "DELETE", "init", "")
	c.opens(one, true, old[0], old[1])
	made, nonce := c.renew(one, `{"secret_shares":1,"secret_threshold":1}`, old[1], old[2])
	c.ask(two, 400, "POST", "init", `{"secret_shares":1,"secret_threshold":1}`)
	c.ask(two, 204, "DELETE", "verify", "")
	c.ask(two, 400, "POST", "verify", `{"key":"`+made[0]+`","nonce":"`+nonce+`"}`)
	c.opens(two, false, made[0])
	c.opens(two, true, old[0], old[2])
	made, nonce = c.renew(two, `{"secret_shares":1,"secret_threshold":1}`, old[1], old[0])
	c.hand(one, "verify", nonce, made[0])
	c.opens(one, true, made[0])
	if a := c.ask(one, 200, "GET", "init", ""); a.Field("data", "started") != false {
		t.Errorf("it goes on: %s", a.Text())
	}
}

// Whoever may not seal a namespace replaces no holders, and a namespace without a seal of its
// own has none; a deleted one leaves nothing that its keys would open.
func TestHoldersAreForThoseAbove(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	c, old := holders(t, s, root)
	inside := tokenOf(t, s, root, "team", `path "*" { capabilities = ["create","read","update","delete","list","sudo"] }`)
	weak := s.Policy(t, "", "weak", `path "sys/namespaces/*" { capabilities = ["read"] }`)
	for _, token := range []string{inside, weak, ""} {
		for _, step := range []string{"init", "update", "verify"} {
			s.Want(t, 403, "POST", c.base+step, token, `{"secret_shares":1,"secret_threshold":1,"key":"`+old[0]+`","nonce":"x"}`)
		}
		s.Want(t, 403, "DELETE", c.base+"init", token, "")
	}
	for _, bad := range []string{`{}`, `{"secret_shares":1,"secret_threshold":2}`, `{"secret_shares":2,"secret_threshold":1}`, `{"secret_shares":1,"secret_threshold":1,"pgp_keys":["x"]}`} {
		c.ask(s, 400, "POST", "init", bad)
	}
	s.Want(t, 200, "POST", "sys/namespaces/plain", root, "")
	s.Want(t, 400, "POST", "sys/namespaces/plain/rotate/root/init", root, `{"secret_shares":1,"secret_threshold":1}`)
	s.Want(t, 404, "POST", "sys/namespaces/none/rotate/root/init", root, `{"secret_shares":1,"secret_threshold":1}`)
	c.renew(s, `{"secret_shares":1,"secret_threshold":1}`, old[1], old[0])
	s.Want(t, 200, "DELETE", "sys/namespaces/team", root, "")
	waitFor(t, "the namespace is gone", func() bool {
		got, err := s.Try("GET", "sys/namespaces/team", root, "")
		return err == nil && got.Status == 404
	})
	fresh := keysOf(t, s.Want(t, 200, "POST", "sys/namespaces/team", root, shamir))
	if a := c.ask(s, 200, "GET", "init", ""); a.Field("data", "started") != false {
		t.Errorf("a new namespace goes on with another's: %s", a.Text())
	}
	c.renew(s, `{"secret_shares":1,"secret_threshold":1}`, fresh[1], fresh[0])
}
