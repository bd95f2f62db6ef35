package mfa_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/store"
)

// With a skew of one the passcodes of one period before and one after are taken, and none further away; without, the present one alone.
func TestSkewIsOnePeriodEachWay(t *testing.T) {
	for skew, taken := range map[string][]int{`,"skew":1`: {-1, 0, 1}, `,"skew":0`: {0}} {
		for away := -2; away <= 2; away++ {
			w := newWorld(t, 1)
			method, ann := w.method(skew), w.person("ann")
			app := w.secret(method, ann)
			w.enforce(method)
			code := app.code(w.now.Add(time.Duration(away) * 30 * time.Second))
			if got := w.shows(w.nodes[0], ann, method, code); got != slices.Contains(taken, away) {
				t.Errorf("%s: the passcode of %d periods away is taken: %v", skew, away, got)
			}
		}
	}
}

// What has not the form of a passcode is no guess: however much of it is shown, the right one is judged.
func TestWhatIsNoPasscodeIsNotCounted(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	app := w.secret(method, ann)
	w.enforce(method)
	right := app.code(w.now)
	for _, none := range []string{right + "0", "0" + right, right + " ", " " + right, right[:5], "", "１２３４５６", strings.Repeat("1", 1000), "12345a"} {
		for range 3 {
			if w.shows(w.nodes[0], ann, method, none) {
				t.Errorf("%q is taken", none)
			}
		}
	}
	if !w.shows(w.nodes[0], ann, method, right) {
		t.Error("the right one is refused")
	}
}

// An enforcement of which nobody knows what it asks refuses every login.
func TestEnforcementThatAsksForNothing(t *testing.T) {
	for _, row := range []string{`{"id":"x","name":"all","accessors":["hall_1"]}`, `{"id":"x","methods":["m"],"accessors":["hall_1"]}`, `{"id":"x","name":"all","methods":[]}`} {
		w := newWorld(t, 1)
		ann := w.person("ann")
		must(w.store.Commit(t.Context(), nil, []store.Write{{Key: "root/mfa/enforcement/all", Value: []byte(row)}}))(t)
		must(w.nodes[0].cache.Fresh(t.Context()))(t)
		who := must(w.nodes[0].ids.Person(t.Context(), "root", ann))(t)
		if n, err := w.nodes[0].mfa.Required(w.call("root"), mfa.Login{Accessor: "door_1", Type: "door", Who: who}); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: a login needs %v, %v", row, n, err)
		}
	}
}

// between is a store that runs something once before a commit that deletes or writes a row.
type between struct {
	store.Store
	key string
	run func()
}

func (b *between) Commit(ctx context.Context, checks []store.Check, ws []store.Write) (store.Rev, error) {
	if run := b.run; run != nil && slices.ContainsFunc(ws, func(w store.Write) bool { return w.Key == b.key && w.Delete }) {
		b.run = nil
		run()
	}
	return b.Store.Commit(ctx, checks, ws)
}

// A method that an enforcement comes to need while it is deleted stays: else nobody could log in.
func TestMethodIsNeededMeanwhile(t *testing.T) {
	w := newWorld(t, 1)
	gate := &between{Store: w.store}
	w.store = gate
	w.nodes[0] = w.node()
	method := w.method("")
	gate.key, gate.run = "root/mfa/method/"+method, func() { w.enforce(method) }
	w.refused(api.Delete, "mfa/method/totp/"+method, "", "an enforcement needs the method")
	if gate.run != nil || w.rows("root/mfa/method/") != 1 {
		t.Error("the method is gone")
	}
}

// Of an enforcement that takes either of two methods no more passcodes are used up than it needs.
func TestNoMorePasscodesAreUsedThanNeeded(t *testing.T) {
	w := newWorld(t, 1)
	a, b, ann := w.method(`,"method_name":"a"`), w.method(`,"method_name":"b"`), w.person("ann")
	apps := map[string]*authenticator{a: w.secret(a, ann), b: w.secret(b, ann)}
	w.do(api.Write, "mfa/login-enforcement/either", `{"mfa_method_ids":["`+a+`","`+b+`"],"auth_method_accessors":["door_1"]}`)
	shown := mfa.Shown{}
	for id, app := range apps {
		shown[id] = api.NewSecret(app.code(w.now))
	}
	if err := w.nodes[0].mfa.Satisfy(w.call("root"), w.need(w.nodes[0], "root", ann), shown); err != nil {
		t.Fatal(err)
	}
	left := 0
	for id, app := range apps {
		if w.shows(w.nodes[0], ann, id, app.code(w.now)) {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d of the two passcodes can still be used, want 1", left)
	}
}

// A method without a name is shown by its identifier, and not by none.
func TestNoNameIsNoMethod(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	app := w.secret(method, ann)
	w.enforce(method)
	id := w.hold(w.nodes[0], ann, &api.Auth{})
	a, err := w.validate(w.nodes[0], "10.0.0.1", id, "", app.code(w.now))
	w.denied("by no name", a, err)
	if a, err := w.validate(w.nodes[0], "10.0.0.1", id, method, app.code(w.now)); err != nil || a == nil {
		t.Errorf("by its identifier: %v, %v", a, err)
	}
}

// A secret that was shown is waited for as long as a login is, however long the right to register one is good for.
func TestShownSecretIsWaitedForBriefly(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	for ttl, until := range map[string]time.Duration{"1h": 5 * time.Minute, "60s": time.Minute} {
		id := w.do(api.Write, "mfa/method/totp/admin-register", `{"method_id":"`+method+`","entity_id":"`+ann+`","ttl":"`+ttl+`"}`)["registration_id"].(string)
		shown := w.do(api.Write, "mfa/totp/register", `{"registration_id":"`+id+`"}`)
		if got := shown["expire_time"]; got != w.now.Add(until).Format(time.RFC3339Nano) {
			t.Errorf("with a right for %s the secret is waited for until %v", ttl, got)
		}
		app := newAuthenticator(t, shown["url"].(string))
		w.now = w.now.Add(until)
		_, err := w.try(w.nodes[0], w.call("root"), api.Write, "mfa/totp/finish", `{"registration_id":"`+id+`","passcode":"`+app.code(w.now)+`"}`)
		if k := api.KindOf(err); err == nil || k != api.Invalid && k != api.Denied || w.rows("root/mfa/of/"+ann+"/totp/") != 0 {
			t.Errorf("after %s: %v", until, err)
		}
	}
}

// Somebody from a namespace above registers nothing of their own by what the policies of one below let them do.
func TestOwnFactorsAreOfTheOwnNamespace(t *testing.T) {
	k := newKeyring(t, 1, "")
	method := k.world.method("")
	for path, body := range map[string]string{"totp/register": `{"method_id":"` + method + `"}`, "totp/generate": `{"method_id":"` + method + `"}`, "webauthn/register": `{"method_id":"` + k.method + `"}`} {
		c := k.call("team")
		c.Caller = api.Caller{TokenID: "t", EntityID: k.entity, EntityNamespace: "root"}
		if _, err := k.try(k.nodes[0], c, api.Write, "mfa/method/"+path, body); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "entity is of another namespace") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
