package blackbox

import (
	"fmt"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// slotOfOne adds a key slot of one unseal key, which it returns with the slot's id.
func slotOfOne(t testing.TB, s *servertest.Server) (id, key string) {
	t.Helper()
	a := s.Want(t, 200, "POST", "sys/key-slots", root, `{"kind":"shamir","secret_shares":1,"secret_threshold":1}`)
	return a.String("data", "id"), a.Field("data", "keys").([]any)[0].(string)
}

// ceremonyPaths are where rekeying and making a root token begin without a token's
// being demanded by the path.
var ceremonyPaths = []string{"sys/rekey/init", "sys/generate-root/attempt", "sys/generate-root"}

// updates are where unseal keys are handed in to them.
var updates = map[string]string{"sys/rekey/init": "sys/rekey/update", "sys/generate-root/attempt": "sys/generate-root/update", "sys/generate-root": "sys/generate-root/update"}

// attackCeremony begins ceremonies as root, and has an attacker, with no token or
// with one that has every right but sudo, flood what could cancel, begin anew or use
// them up.
func attackCeremony(t *testing.T, paths ...string) {
	s := furnished(t)
	weak := s.Policy(t, "", "weak", `path "*" { capabilities = ["create", "read", "update", "delete", "list"] }`)
	_, key := slotOfOne(t, s)
	for _, path := range paths {
		begun := s.Want(t, 200, "PUT", path, root, `{"secret_shares":1,"secret_threshold":1,"key":"`+key+`"}`).String("nonce")
		var attackers sync.WaitGroup
		for _, token := range []string{"", weak, "s.unknown"} {
			attackers.Go(func() {
				for i := range 30 {
					for _, body := range []string{"", `{"nonce":"` + begun + `"}`, `{"key":"` + canary + `"}`, `{"key":"","nonce":"` + begun + `"}`} {
						for _, method := range []string{"DELETE", "PUT", "POST"} {
							a, err := s.Try(method, path, token, body)
							if err != nil || a.Status != 403 && a.Status != 400 {
								t.Errorf("%d: %s %s with token %q and %s: %+v, %v", i, method, path, token, body, a, err)
								return
							}
						}
					}
					for body, want := range map[string]int{`{"key":"AAAA","nonce":"` + begun + `"}`: 403, `{}`: 403, `{"key":"` + key + `","nonce":"x"}`: 400} {
						a, err := s.Try("PUT", updates[path], token, body)
						if err != nil || a.Status != want && (token != weak || a.Status != 400) {
							t.Errorf("%s with %s: %+v, %v", updates[path], body, a, err)
							return
						}
					}
				}
			})
		}
		attackers.Wait()
		if now := s.Want(t, 200, "GET", path, "", "").String("nonce"); now != begun {
			t.Errorf("%s: after the attack the ceremony %q is %q", path, begun, now)
		}
		s.Want(t, 204, "DELETE", path, root, "") // control: who may, cancels
		if now := s.Want(t, 200, "GET", path, "", ""); now.Field("started") != false {
			t.Errorf("%s: cancelled, and still %s", path, now.Body)
		}
	}
}

func TestCVE_2025_4656_CancelRekey(t *testing.T) { attackCeremony(t, "sys/rekey/init") }

func TestCVE_2025_52894_CancelRootGeneration(t *testing.T) {
	attackCeremony(t, "sys/generate-root/attempt", "sys/generate-root")
}

func TestCVE_2026_5807_CeremonyLoop(t *testing.T) {
	s := furnished(t)
	id, key := slotOfOne(t, s)
	for round := range 5 { // the attacker is faster than any operator, and begins nothing
		for range 50 {
			for _, path := range ceremonyPaths {
				for _, method := range []string{"PUT", "DELETE"} {
					if a := s.Do(t, method, path, "", `{"secret_shares":1,"secret_threshold":1}`); a.Status != 403 {
						t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
					}
				}
			}
		}
		begun := s.Want(t, 200, "PUT", "sys/rekey/init", root, fmt.Sprintf(`{"secret_shares":1,"secret_threshold":1,"slot":%q}`, id))
		done := s.Want(t, 200, "PUT", "sys/rekey/update", "", fmt.Sprintf(`{"key":%q,"nonce":%q}`, key, begun.String("nonce")))
		if done.Field("complete") != true {
			t.Fatalf("round %d: %s", round, done.Body)
		}
		key = done.Field("keys").([]any)[0].(string)
		slots := s.Want(t, 200, "LIST", "sys/key-slots", root, "").Field("data", "keys").([]any)
		id = slots[len(slots)-1].(string)
	}
}
