package mfa_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/test/softkey"
)

const origin = "https://vault.example.com:8200"

// keyring is somebody with passkeys in a world where logins need one.
type keyring struct {
	*world
	method, entity string
}

func newKeyring(t testing.TB, nodes int, fields string) *keyring {
	t.Helper()
	w := newWorld(t, nodes)
	k := &keyring{w, w.passkeyMethod(fields), w.person("ann")}
	w.enforce(k.method)
	return k
}

func (w *world) passkeyMethod(fields string) string {
	w.t.Helper()
	return w.do(api.Write, "mfa/method/webauthn", `{"relying_party_id":"vault.example.com","origins":["`+origin+`"]`+fields+`}`)["method_id"].(string)
}

// as is a call with a token of an entity.
func (w *world) as(entity string) *api.Call {
	c := w.call("root")
	c.Caller.EntityID, c.Caller.EntityNamespace = entity, "root"
	return c
}

// answered is an answer as JSON has it.
func (w *world) answered(v any, err error) map[string]any {
	w.t.Helper()
	var out map[string]any
	if err := json.Unmarshal(must(json.Marshal(must(v, err)(w.t)))(w.t), &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func options(a map[string]any) []byte {
	b, err := json.Marshal(a["public_key"])
	if err != nil {
		panic(err)
	}
	return b
}

// begin begins to register a passkey, and answers the registration.
func (k *keyring) begin(entity string) (id string, asked []byte) {
	k.t.Helper()
	a := k.answered(k.try(k.nodes[0], k.as(entity), api.Write, "mfa/method/webauthn/register", `{"method_id":"`+k.method+`"}`))
	return a["registration_id"].(string), options(a)
}

func (k *keyring) finish(entity, id, credential string) (any, error) {
	return k.try(k.nodes[0], k.as(entity), api.Write, "mfa/method/webauthn/finish", finishing(id, credential))
}

func finishing(id, credential string) string {
	return fmt.Sprintf(`{"registration_id":%q,"name":"phone","credential":%s}`, id, credential)
}

// registered is an authenticator with a passkey of an entity.
func (k *keyring) registered(entity string) *softkey.Authenticator {
	k.t.Helper()
	a := must(softkey.New(origin))(k.t)
	id, asked := k.begin(entity)
	must(k.finish(entity, id, must(a.Create(asked))(k.t)))(k.t)
	return a
}

// asks has a login wait, and answers its identifier and what the passkey is to answer.
func (k *keyring) asks(n *node) (id string, asked []byte) {
	k.t.Helper()
	id = k.hold(n, k.entity, &api.Auth{})
	return id, options(k.answered(k.challenge(n, id, k.method)))
}

func (k *keyring) challenge(n *node, id, method string) (any, error) {
	c := k.call("root")
	c.Remote = netip.MustParseAddr("10.1.1.1")
	return k.try(n, c, api.Write, "mfa/passkey/challenge", fmt.Sprintf(`{"mfa_request_id":%q,"method_id":%q}`, id, method))
}

// in reports whether a login is let in by what a passkey has answered.
func (k *keyring) in(n *node, id, answer string) bool {
	k.t.Helper()
	a, err := k.validate(n, "10.1.1.1", id, k.method, answer)
	if err != nil {
		k.denied("a passkey", a, err)
	}
	return err == nil && a != nil
}

// A passkey is registered and proves logins; each of its answers is good once, and for one login.
func TestPasskeys(t *testing.T) {
	k := newKeyring(t, 2, "")
	phone := k.registered(k.entity)
	login := &api.Auth{TokenPolicies: []string{"a"}, Metadata: map[string]string{"k": "v"}, TTL: time.Hour, BoundCIDRs: []string{"10.0.0.0/8"}, Alias: &api.Alias{Name: "ann"}, Private: []byte("p"), BindIP: true}
	whole := k.hold(k.nodes[0], k.entity, login)
	from := must(phone.Get(options(k.answered(k.challenge(k.nodes[0], whole, k.method)))))(t)
	a := must(k.validate(k.nodes[1], "10.1.1.1", whole, k.method, from))(t)
	a.Entrance = nil
	if got, want := strip(fmt.Sprintf("%+v", *a)), strip(fmt.Sprintf("%+v", *login)); got != want {
		t.Errorf("completed as\n%s\nwant\n%s", got, want)
	}
	id, asked := k.asks(k.nodes[0])
	answer := must(phone.Get(asked))(t)
	other, _ := k.asks(k.nodes[0])
	if k.in(k.nodes[1], other, answer) {
		t.Error("the answer for one login is taken for another")
	}
	if !k.in(k.nodes[1], id, answer) {
		t.Fatal("a passkey is refused")
	}
	if k.in(k.nodes[0], id, answer) {
		t.Error("a login is completed twice")
	}
	listed := k.answered(k.try(k.nodes[0], k.as(k.entity), api.List, "mfa/method/webauthn/"+k.method+"/passkey", ""))
	if text := fmt.Sprint(listed); !strings.Contains(text, "name:phone") || !strings.Contains(text, "last_used_time:2026-01-02T03:04:00Z") {
		t.Errorf("listed as %s", text)
	}
	if _, err := k.try(k.nodes[0], k.as(k.entity), api.Delete, "mfa/method/webauthn/"+k.method+"/passkey/"+listed["keys"].([]any)[0].(string), ""); err != nil {
		t.Fatal(err)
	}
	waits := k.hold(k.nodes[0], k.entity, &api.Auth{})
	if _, err := k.challenge(k.nodes[0], waits, k.method); api.KindOf(err) != api.Denied {
		t.Errorf("without a passkey: %v", err)
	}
}

// What must not be let in is not, and takes the challenge with it.
func TestPasskeysThatAreRefused(t *testing.T) {
	k := newKeyring(t, 1, `,"max_validation_attempts":1000`)
	phone := k.registered(k.entity)
	bob := k.personAt("hall_1", "bob")
	theirs := k.registered(bob)
	for what, change := range map[string]func(a *softkey.Authenticator){
		"another origin":             func(a *softkey.Authenticator) { a.Origin = "https://vault.example.com.evil.org:8200" },
		"another port":               func(a *softkey.Authenticator) { a.Origin = "https://vault.example.com" },
		"another scheme":             func(a *softkey.Authenticator) { a.Origin = "http://vault.example.com:8200" },
		"another relying party":      func(a *softkey.Authenticator) { a.Party = "example.com" },
		"a frame":                    func(a *softkey.Authenticator) { a.CrossOrigin = true },
		"nobody verified":            func(a *softkey.Authenticator) { a.Flags = softkey.Present },
		"nobody present":             func(a *softkey.Authenticator) { a.Flags = softkey.Verified },
		"a count that stays":         func(a *softkey.Authenticator) { a.Step = 0 },
		"a count that goes back":     func(a *softkey.Authenticator) { a.Count = 0 },
		"another challenge":          func(a *softkey.Authenticator) { a.Challenge = strings.Repeat("A", 43) },
		"another person":             func(a *softkey.Authenticator) { a.Handle = theirs.Handle },
		"another's key":              func(a *softkey.Authenticator) { id := a.ID; *a = *theirs; a.ID = id },
		"another's passkey":          func(a *softkey.Authenticator) { *a = *theirs },
		"a passkey that is not ours": func(a *softkey.Authenticator) { *a = *must(softkey.New(origin))(t) },
		"one that can be backed up":  func(a *softkey.Authenticator) { a.Flags |= softkey.BackupEligible },
	} {
		id, asked := k.asks(k.nodes[0])
		if !k.in(k.nodes[0], id, must(phone.Get(asked))(t)) {
			t.Fatalf("before %s: the passkey itself is refused", what)
		}
		changed := *phone
		change(&changed)
		id, asked = k.asks(k.nodes[0])
		if k.in(k.nodes[0], id, must(changed.Assert(asked))(t)) {
			t.Errorf("%s is let in", what)
		}
		if k.in(k.nodes[0], id, must(phone.Get(asked))(t)) {
			t.Errorf("%s: the challenge was not taken", what)
		}
	}
	listed := k.answered(k.try(k.nodes[0], k.call("root"), api.List, "mfa/method/webauthn/"+k.method+"/entity/"+k.entity, ""))
	if text := fmt.Sprint(listed); !strings.Contains(text, "suspected_copy_time:2026-01-02T03:04:00Z") {
		t.Errorf("a copy that was suspected is listed as %s", text)
	}
}

func (k *keyring) both(entity string) string {
	return `{"method_id":"` + k.method + `","entity_id":"` + entity + `"}`
}

// Of one answer shown many times at once on several nodes, one is let in; and of two answers to one challenge.
func TestAChallengeIsTakenOnce(t *testing.T) {
	k := newKeyring(t, 3, `,"max_validation_attempts":1000`)
	phone := k.registered(k.entity)
	for range 30 {
		id, asked := k.asks(k.nodes[0])
		answers := []string{must(phone.Get(asked))(t), must(phone.Get(asked))(t)}
		need := k.need(k.nodes[0], "root", k.entity)
		var in atomic.Int64
		var work sync.WaitGroup
		for i := range 12 {
			work.Go(func() {
				right, err := k.nodes[i%3].mfa.ProvePasskey(k.call("root"), need, k.method, answers[i%2], id)
				if err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
				if right {
					in.Add(1)
				}
			})
		}
		work.Wait()
		if in.Load() != 1 {
			t.Fatalf("%d of 12 were let in", in.Load())
		}
	}
}

// The challenge for one person's login is not another's, whatever their passkey.
func TestAChallengeIsOfOnePerson(t *testing.T) {
	k := newKeyring(t, 1, "")
	k.registered(k.entity)
	bob := k.personAt("hall_1", "bob")
	theirs := k.registered(bob)
	id, asked := k.asks(k.nodes[0])
	right, err := k.nodes[0].mfa.ProvePasskey(k.call("root"), k.need(k.nodes[0], "root", bob), k.method, must(theirs.Assert(asked))(t), id)
	if right || err != nil {
		t.Errorf("%v, %v", right, err)
	}
}

// With a method its passkeys go.
func TestPasskeysGoWithTheirMethod(t *testing.T) {
	k := newKeyring(t, 1, "")
	k.registered(k.entity)
	row := "root/mfa/of/" + k.entity + "/webauthn/"
	k.do(api.Delete, "mfa/login-enforcement/all", "")
	if k.rows(row) != 1 {
		t.Fatal("a passkey has no row")
	}
	k.do(api.Delete, "mfa/method/webauthn/"+k.method, "")
	k.jobs(0)
	if n := k.rows(row); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Wrong answers are counted on all nodes, and beyond the limit a right one is refused.
func TestWrongPasskeysAreCounted(t *testing.T) {
	k := newKeyring(t, 3, `,"max_validation_attempts":3`)
	phone := k.registered(k.entity)
	for i := range 3 {
		id, asked := k.asks(k.nodes[i])
		wrong := *phone
		wrong.Origin = "https://evil.org"
		if k.in(k.nodes[i], id, must(wrong.Get(asked))(t)) || k.in(k.nodes[i], id, "{}") || k.in(k.nodes[i], id, "") {
			t.Fatal("a wrong passkey is let in")
		}
	}
	show := func() bool {
		id, asked := k.asks(k.nodes[0])
		return k.in(k.nodes[0], id, must(phone.Get(asked))(t))
	}
	k.now = k.now.Add(29 * time.Second)
	if show() {
		t.Error("a passkey is let in beyond the limit")
	}
	k.now = k.now.Add(time.Second)
	if !show() {
		t.Error("the limit stays for ever")
	}
}

// A passkey answers a login that waits, in time, and by the method as it is by then.
func TestPasskeysInTimeAndByTheMethod(t *testing.T) {
	k := newKeyring(t, 1, "")
	phone := k.registered(k.entity)
	write := func(body string) { k.do(api.Write, "mfa/method/webauthn/"+k.method, body) }
	for what, change := range map[string][2]string{
		"origins":           {`{"origins":["https://other.vault.example.com"]}`, `{"origins":["` + origin + `"]}`},
		"user_verification": {`{"user_verification":"required"}`, `{"user_verification":"discouraged"}`},
	} {
		write(change[1])
		phone.Flags = softkey.Present // nobody is verified
		write(`{"user_verification":"discouraged"}`)
		id, asked := k.asks(k.nodes[0])
		if !k.in(k.nodes[0], id, must(phone.Get(asked))(t)) {
			t.Fatalf("%s: a passkey is refused", what)
		}
		id, asked = k.asks(k.nodes[0])
		write(change[0])
		if k.in(k.nodes[0], id, must(phone.Get(asked))(t)) {
			t.Errorf("%s: a passkey is let in as the method was", what)
		}
		write(change[1])
	}
	id, asked := k.asks(k.nodes[0])
	k.now = k.now.Add(5 * time.Minute)
	if k.in(k.nodes[0], id, must(phone.Get(asked))(t)) {
		t.Error("a passkey is let in after five minutes")
	}
	if _, err := k.challenge(k.nodes[0], id, k.method); api.KindOf(err) != api.Denied {
		t.Errorf("a challenge after five minutes: %v", err)
	}
	id = k.hold(k.nodes[0], k.entity, &api.Auth{})
	other := k.passkeyMethod("")
	for _, c := range [][2]string{{api.NewUUID(), k.method}, {id, other}, {id, "x"}} {
		if _, err := k.challenge(k.nodes[0], c[0], c[1]); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("a challenge for %v: %v", c, err)
		}
	}
	err := k.nodes[0].mfa.Satisfy(k.call("root"), k.need(k.nodes[0], "root", k.entity), mfa.Shown{k.method: api.NewSecret(must(phone.Get(asked))(t))})
	if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "X-Vault-MFA") {
		t.Errorf("in one request: %v", err)
	}
}

// What a browser makes is registered for who has asked for it, once, in time, and only as the method has it.
func TestPasskeysThatAreNotRegistered(t *testing.T) {
	k := newKeyring(t, 1, `,"max_passkeys":2`)
	bob := k.personAt("hall_1", "bob")
	for what, change := range map[string]func(a *softkey.Authenticator){
		"another origin":        func(a *softkey.Authenticator) { a.Origin = "https://evil.org" },
		"another relying party": func(a *softkey.Authenticator) { a.Party = "evil.org" },
		"a frame":               func(a *softkey.Authenticator) { a.CrossOrigin = true },
		"nobody verified":       func(a *softkey.Authenticator) { a.Flags = softkey.Present },
		"nobody present":        func(a *softkey.Authenticator) { a.Flags = softkey.Verified },
		"another challenge":     func(a *softkey.Authenticator) { a.Challenge = strings.Repeat("A", 43) },
		"backed up, and cannot": func(a *softkey.Authenticator) { a.Flags |= softkey.BackedUp },
		"a long identifier":     func(a *softkey.Authenticator) { a.ID = make([]byte, 1024) },
	} {
		a := must(softkey.New(origin))(t)
		change(a)
		id, asked := k.begin(k.entity)
		if _, err := k.finish(k.entity, id, must(a.Create(asked))(t)); api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), "credential: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	id, asked := k.begin(k.entity)
	made := must(must(softkey.New(origin))(t).Create(asked))(t)
	if _, err := k.finish(bob, id, made); api.KindOf(err) != api.Denied {
		t.Errorf("by somebody else: %v", err)
	}
	if _, err := k.try(k.nodes[0], k.call("root"), api.Write, "mfa/passkey/finish", finishing(id, made)); api.KindOf(err) != api.Denied {
		t.Errorf("without a token: %v", err)
	}
	must(k.finish(k.entity, id, made))(t)
	if _, err := k.finish(k.entity, id, made); api.KindOf(err) != api.Denied {
		t.Errorf("twice: %v", err)
	}
	again, _ := k.begin(k.entity)
	if _, err := k.finish(k.entity, again, made); api.KindOf(err) != api.Invalid {
		t.Errorf("for another challenge: %v", err)
	}
	late, asked := k.begin(k.entity)
	made = must(must(softkey.New(origin))(t).Create(asked))(t)
	k.now = k.now.Add(5 * time.Minute)
	if _, err := k.finish(k.entity, late, made); api.KindOf(err) != api.Denied {
		t.Errorf("too late: %v", err)
	}
	twin := must(softkey.New(origin))(t)
	one, asked := k.begin(k.entity)
	other, forgetful := k.begin(k.entity)
	must(k.finish(k.entity, one, must(twin.Create(asked))(t)))(t)
	if _, err := k.finish(k.entity, other, must(must(softkey.New(origin))(t).Create(forgetful))(t)); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "max_passkeys") {
		t.Errorf("one too many that was begun before: %v", err)
	}
	k.do(api.Write, "mfa/method/webauthn/"+k.method, `{"max_passkeys":3}`)
	if _, err := k.finish(k.entity, other, must(twin.Create(forgetful))(t)); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "registered already") {
		t.Errorf("one that is registered already: %v", err)
	}
	k.do(api.Write, "mfa/method/webauthn/"+k.method, `{"max_passkeys":2}`)
	if _, err := k.try(k.nodes[0], k.as(k.entity), api.Write, "mfa/method/webauthn/register", `{"method_id":"`+k.method+`"}`); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "max_passkeys") {
		t.Errorf("one too many: %v", err)
	}
	if _, err := k.try(k.nodes[0], k.call("root"), api.Write, "mfa/method/webauthn/register", `{"method_id":"`+k.method+`"}`); api.KindOf(err) != api.Invalid {
		t.Errorf("of nobody: %v", err)
	}
}

// right has an administrator give the right to register a passkey.
func (k *keyring) right(entity, ttl string) string {
	k.t.Helper()
	return k.do(api.Write, "mfa/method/webauthn/admin-register", `{"method_id":"`+k.method+`","entity_id":"`+entity+`","ttl":"`+ttl+`"}`)["registration_id"].(string)
}

func (k *keyring) byRight(path, body string) (any, error) {
	return k.try(k.nodes[0], k.call("root"), api.Write, "mfa/passkey/"+path, body)
}

// A right registers one passkey of one entity, without a token, for a while; and goes with the entity.
func TestRightsToRegister(t *testing.T) {
	k := newKeyring(t, 3, "")
	id := k.right(k.entity, "1h")
	begin := func(id string) (map[string]any, error) {
		v, err := k.byRight("register", `{"registration_id":"`+id+`"}`)
		if err != nil {
			return nil, err
		}
		return k.answered(v, nil), nil
	}
	first := options(must(begin(id))(t))
	second := options(must(begin(id))(t))
	phone := must(softkey.New(origin))(t)
	if _, err := k.byRight("finish", finishing(id, must(phone.Create(first))(t))); api.KindOf(err) != api.Invalid {
		t.Errorf("by the challenge before: %v", err)
	}
	if _, err := k.finish(k.entity, id, must(phone.Create(second))(t)); api.KindOf(err) != api.Denied {
		t.Errorf("as one's own: %v", err)
	}
	var in atomic.Int64
	var work sync.WaitGroup
	for i := range 9 {
		body := finishing(id, must(must(softkey.New(origin))(t).Create(second))(t))
		work.Go(func() {
			if _, err := k.try(k.nodes[i%3], k.call("root"), api.Write, "mfa/passkey/finish", body); err == nil {
				in.Add(1)
			} else if api.KindOf(err) != api.Denied && !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if in.Load() != 1 {
		t.Errorf("a right has registered %d passkeys", in.Load())
	}
	if _, err := begin(id); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
		t.Errorf("once more: %v", err)
	}
	slow := k.right(k.entity, "1h")
	asked := options(must(begin(slow))(t))
	k.now = k.now.Add(5 * time.Minute)
	if _, err := k.byRight("finish", finishing(slow, must(must(softkey.New(origin))(t).Create(asked))(t))); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "too late") {
		t.Errorf("five minutes after it was begun: %v", err)
	}
	late := k.right(k.entity, "60s")
	k.now = k.now.Add(time.Minute)
	if _, err := begin(late); api.KindOf(err) != api.Denied {
		t.Errorf("too late: %v", err)
	}
	for range 20 {
		k.right(k.entity, "24h")
	}
	if n := k.rows("root/mfa/right/"); n > 9 { // one is late, and goes by the schedule
		t.Errorf("%d rights of one entity", n)
	}
	last := k.right(k.entity, "24h")
	k.do(api.Write, "mfa/method/webauthn/admin-destroy", k.both(k.entity))
	if _, err := begin(last); api.KindOf(err) != api.Denied {
		t.Errorf("after admin-destroy: %v", err)
	}
	orphan := k.right(k.entity, "24h")
	k.do(api.Delete, "entity/id/"+k.entity, "")
	if _, err := begin(orphan); api.KindOf(err) != api.Denied {
		t.Errorf("of somebody who is gone: %v", err)
	}
	k.jobs(24 * time.Hour)
	if n := k.rows("root/mfa/right/") + k.rows("root/mfa/of/"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	for body, text := range map[string]string{k.both(api.NewUUID()): "entity_id", k.both("x"): "entity_id", `{"method_id":"x","entity_id":"` + k.entity + `"}`: "method_id",
		`{"ttl":"25h"}`: "ttl", `{"ttl":0}`: "ttl"} {
		k.refused(api.Write, "mfa/method/webauthn/admin-register", body, text)
	}
}

// jobs runs what is scheduled by a time from now.
func (w *world) jobs(ahead time.Duration) {
	w.t.Helper()
	for _, e := range must(w.store.List(context.Background(), store.Prefix("root/due/")))(w.t) {
		parts := strings.Split(e.Key, "/")
		if do := w.nodes[0].mfa.Jobs()[parts[3]]; do != nil {
			if err := do(context.Background(), &schedule.Job{Item: schedule.Item{Namespace: "root", At: w.now.Add(ahead), Kind: parts[3], ID: parts[4]}}); err != nil {
				w.t.Error(err)
			}
		}
	}
}
