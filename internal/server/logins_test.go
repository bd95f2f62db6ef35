package server_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/server"
)

// CVE-2025-6004: wrong passwords in all spellings of a name, on three nodes at once, lock
// the one account, which the right one then does not open on any node.
func TestCVE_2025_6004_Spellings(t *testing.T) {
	f := startNodes(t, 3)
	f.all[0].Want(t, 204, "POST", "sys/auth/userpass", f.root, `{"type":"userpass"}`)
	f.all[1].Want(t, 204, "POST", "auth/userpass/users/ann", f.root, `{"password":"hunter2"}`)
	f.all[2].Want(t, 200, "POST", "auth/userpass/login/ANN", "", `{"password":"hunter2"}`)
	var wg sync.WaitGroup
	for i, name := range []string{"ann", "Ann", "aNn", "anN", "ANN"} {
		wg.Go(func() {
			if a, err := f.all[i%3].Try("POST", "auth/userpass/login/"+name, "", `{"password":"wrong"}`); err != nil || a.Status != 400 {
				t.Errorf("%s: %v, %v", name, a, err)
			}
		})
	}
	wg.Wait()
	wrong := f.all[0].Want(t, 400, "POST", "auth/userpass/login/nobody", "", `{"password":"hunter2"}`)
	for i, s := range f.all {
		if a := s.Want(t, 400, "POST", "auth/userpass/login/ann", "", `{"password":"hunter2"}`); a.Text() != wrong.Text() {
			t.Errorf("node %d tells that the account is locked: %s", i, a.Body)
		}
		if n := s.Want(t, 200, "GET", "sys/locked-users", f.root, "").Field("data", "total"); fmt.Sprint(n) != "1" {
			t.Errorf("node %d: %v accounts are locked", i, n)
		}
	}
	accessor := f.all[0].Want(t, 200, "GET", "sys/auth", f.root, "").String("data", "userpass/", "accessor")
	f.all[1].Want(t, 204, "POST", "sys/locked-users/"+accessor+"/unlock/ann", f.root, "")
	f.all[2].Want(t, 200, "POST", "auth/userpass/login/ann", "", `{"password":"hunter2"}`)
}

// A secret id with k uses lets in exactly k times, however many nodes are asked at once.
func TestSecretIDsOnThreeNodes(t *testing.T) {
	f := startNodes(t, 3)
	f.all[0].Want(t, 204, "POST", "sys/auth/approle", f.root, `{"type":"approle"}`)
	f.all[0].Want(t, 204, "POST", "sys/auth/approle/tune", f.root, `{"user_lockout_config":{"lockout_disable":true}}`)
	f.all[1].Want(t, 204, "POST", "auth/approle/role/ci", f.root, `{"role_id":"ci","token_policies":"default"}`)
	for trial := range 20 {
		uses := 1 + trial%4
		sid := f.all[trial%3].Want(t, 200, "POST", "auth/approle/role/ci/secret-id", f.root, fmt.Sprintf(`{"num_uses":%d}`, uses)).String("data", "secret_id")
		var in atomic.Int64
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				a, err := f.all[i%3].Try("POST", "auth/approle/login", "", `{"role_id":"ci","secret_id":"`+sid+`"}`)
				switch {
				case err != nil || a.Status != 200 && a.Status != 400:
					t.Errorf("%v, %v", a, err)
				case a.Status == 200:
					in.Add(1)
				}
			})
		}
		wg.Wait()
		if int(in.Load()) != uses {
			t.Fatalf("trial %d: %d were let in, want %d", trial, in.Load(), uses)
		}
	}
	f.all[2].Want(t, 204, "DELETE", "auth/approle/role/ci", f.root, "")
	f.all[0].Want(t, 400, "POST", "auth/approle/login", "", `{"role_id":"ci","secret_id":"x"}`)
}

func TestLockoutSettings(t *testing.T) {
	c, err := server.ParseConfig("x.hcl", []byte(`
user_lockout "all" { lockout_threshold = 7 lockout_duration = "10m" }
user_lockout "approle" { disable_lockout = true }
`))
	if err != nil || c.Lockout["all"].Threshold != 7 || c.Lockout["all"].Duration.Std() != 10*time.Minute || !*c.Lockout["approle"].Disabled {
		t.Errorf("%+v, %v", c.Lockout, err)
	}
	_, err = server.ParseConfig("x.hcl", []byte(`
user_lockout "aprole" { disable_lockout = true }
user_lockout "all" {
  lockout_threshold = 0
  lockout_duration = "x"
}
user_lockout "ldap" { disable = true }
`))
	for _, want := range []string{`x.hcl:2: user_lockout "aprole"`, "did you mean approle?", "x.hcl:4:", "x.hcl:5:", "x.hcl:7:", "disable_lockout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	for _, bad := range []string{`user_lockout "all" { lockout_threshold = 0 }`, `user_lockout "all" { lockout_duration = "x" }`, `user_lockout "all" { threshold = 3 }`} {
		if _, err := server.ParseConfig("x.hcl", []byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
