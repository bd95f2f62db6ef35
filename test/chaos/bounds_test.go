package chaos

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// Parts of the keys of rows by which it is decided whether a login needs a second factor: while one of them is damaged, none is let in.
const (
	enforcements = "/mfa/enforcement/"
	methods      = "/mfa/method/"
)

// bounds are probes of what may be done so often and no oftener: requests, leases, and wrong passwords.
func (f *fleet) bounds(t *testing.T, c *client) []probe {
	t.Helper()
	for _, r := range [][2]string{
		{"plain/slow", `{"n":1}`},
		{"sys/quotas/rate-limit/slow", `{"path":"plain/slow","rate":1,"interval":"24h","group_by":"none"}`},
		{"auth/approle/role/few", `{"token_policies":"wide"}`},
		{"sys/quotas/lease-count/few", `{"path":"auth/approle","role":"few","max_leases":1}`},
		{"sys/auth/doors", `{"type":"userpass"}`},
		{"sys/auth/doors/tune", `{"user_lockout_config":{"lockout_threshold":"1","lockout_duration":"24h"}}`},
	} {
		must(t, c.call("POST", r[0], r[1], nil))
	}
	token, err := c.issue(`,"policies":["wide"]`)
	must(t, err)
	few := c.program(t, "auth/approle/role/few")
	must(t, c.enterBy("auth/approle/login", few))
	for _, name := range []string{"kim", "kay", "lee"} { // of whom the last is not locked
		must(t, c.call("POST", "auth/doors/users/"+name, `{"password":"`+right+`","token_policies":"wide"}`, nil))
		if name != "lee" {
			_, err := c.ask("POST", "auth/doors/login/"+name, map[string]string{"password": "wrong"})
			must(t, err)
		}
	}
	doors := []string{at("auth/doors/"), "/lockout/", enforcements, methods}
	return []probe{
		{name: "rate limit", rests: []string{at("plain/"), "/quota/rate-limit/slow"}, lifts: "/quota/rate-limit/slow", ask: func(c *client) (bool, string) {
			if _, err := newHolder(c, token).ask("GET", "plain/slow", nil); err != nil { // a node that has just started has counted none
				return false, ""
			}
			return newHolder(c, token).isHeld("GET", "plain/slow", nil)
		}},
		{name: "lease count", rests: []string{at("auth/approle/"), "/quota/lease-count/few", "/quota/room/", enforcements, methods}, lifts: "/quota/lease-count/few", ask: func(c *client) (bool, string) {
			return c.isHeld("POST", "auth/approle/login", few)
		}},
		{name: "locked", rests: doors, ask: func(c *client) (bool, string) {
			return c.isKeptOut("POST", "auth/doors/login/kim", map[string]string{"password": right})
		}},
		{name: "not locked", rests: doors, ask: func(c *client) (bool, string) {
			return c.isLetIn("auth/doors/login/lee", map[string]string{"password": right})
		}},
	}
}

// isHeld asks for what would be one too many.
func (c *client) isHeld(method, path string, body any) (right bool, lie string) {
	a, err := c.ask(method, path, body)
	if err == nil && a.status != http.StatusTooManyRequests {
		lie = fmt.Sprintf("%s is answered with %d where the limit is reached", path, a.status)
	}
	return err == nil && lie == "", lie
}

// enterBy logs in.
func (c *client) enterBy(path string, creds any) error {
	in, lie := c.isLetIn(path, creds)
	if !in {
		return fmt.Errorf("%s lets nobody in: %s", path, lie)
	}
	return nil
}

// factor is the second factor of a program's logins, which they need by a group: passcodes of one second each.
type factor struct {
	creds       map[string]any
	method, key string

	mu   sync.Mutex
	step int64 // the last one whose passcode was shown
}

// factors are probes of logins that need a second factor.
func (f *fleet) factors(t *testing.T, c *client) []probe {
	t.Helper()
	must(t, c.call("POST", "auth/approle/role/two", `{"token_policies":"wide"}`, nil))
	two := &factor{creds: c.program(t, "auth/approle/role/two")}
	var made struct {
		Auth entry
		Data struct {
			ID       string `json:"id"`
			MethodID string `json:"method_id"`
			URL      string `json:"url"`
		}
	}
	must(t, c.call("POST", "auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, two.creds["role_id"], two.creds["secret_id"]), &made))
	must(t, c.call("POST", "identity/group", fmt.Sprintf(`{"name":"careful","member_entity_ids":%q}`, made.Auth.Entity), &made))
	group := made.Data.ID
	must(t, c.call("POST", "identity/mfa/method/totp", `{"issuer":"x","method_name":"app","period":1,"max_validation_attempts":1000,"qr_size":0}`, &made))
	two.method = made.Data.MethodID
	must(t, c.call("POST", "identity/mfa/method/totp/admin-generate", fmt.Sprintf(`{"method_id":%q,"entity_id":%q}`, two.method, made.Auth.Entity), &made))
	_, key, _ := strings.Cut(made.Data.URL, "secret=")
	two.key, _, _ = strings.Cut(key, "&")
	must(t, c.call("POST", "identity/mfa/login-enforcement/careful", fmt.Sprintf(`{"mfa_method_ids":%q,"identity_group_ids":%q}`, two.method, group), nil))
	return []probe{{name: "second factor", rests: []string{at("auth/approle/"), enforcements, methods, "/mfa/of/"}, ask: two.isNeeded}}
}

// isNeeded logs in: neither the password alone nor a wrong passcode may give a token, and the right passcode has to.
func (two *factor) isNeeded(c *client) (right bool, lie string) {
	two.mu.Lock()
	defer two.mu.Unlock()
	for range 3 { // a slow machine shows a passcode too late
		a, err := c.ask("POST", "auth/approle/login", two.creds)
		switch {
		case err != nil:
			return false, ""
		case a.text("auth", "client_token") != "":
			return false, "a login passes without its second factor"
		case a.status != http.StatusOK:
			return false, fmt.Sprintf("a login that needs a second factor is answered with %d: %v", a.status, a.body["errors"])
		}
		waits := a.text("auth", "mfa_requirement", "mfa_request_id")
		code, err := two.next()
		if err != nil {
			return false, err.Error()
		}
		if a, err := two.show(c, waits, wrong(code)); err == nil && a.status == http.StatusOK {
			return false, "a login passes with a wrong passcode"
		}
		a, err = two.show(c, waits, code)
		if err != nil || a.status == http.StatusOK {
			return err == nil && a.text("auth", "client_token") != "", ""
		}
		lie = fmt.Sprintf("a right passcode is answered with %d: %v", a.status, a.body["errors"])
	}
	return false, lie
}

func (two *factor) show(c *client, waits, code string) (answer, error) {
	return c.ask("POST", "sys/mfa/validate", map[string]any{"mfa_request_id": waits, "mfa_payload": map[string][]string{two.method: {code}}})
}

// next is a passcode that was not shown yet, as soon as there is one.
func (two *factor) next() (string, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for two.step > time.Now().Unix() { // that of the next second is taken, too
		<-tick.C
	}
	two.step = max(two.step+1, time.Now().Unix())
	return hotp.GenerateCodeCustom(two.key, uint64(two.step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
}

// wrong is another passcode.
func wrong(code string) string { return code[:len(code)-1] + string('0'+('9'-code[len(code)-1])) }
