package mfa_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func finishingTOTP(id, code string) string {
	return fmt.Sprintf(`{"registration_id":%q,"passcode":%q}`, id, code)
}

// Somebody with a token makes a secret of their own, which is theirs once they have shown a passcode of it.
func TestOwnSecret(t *testing.T) {
	w := newWorld(t, 1)
	n, method, ann, bob := w.nodes[0], w.method(""), w.person("ann"), w.personAt("hall_1", "bob")
	w.enforce(method)
	begin := func() (string, *authenticator) {
		a := w.answered(w.try(n, w.as(ann), api.Write, "mfa/method/totp/register", `{"method_id":"`+method+`"}`))
		return a["registration_id"].(string), newAuthenticator(t, a["url"].(string))
	}
	id, app := begin()
	if w.rows("root/mfa/of/"+ann+"/totp/") != 0 {
		t.Error("a secret that was not confirmed is the entity's")
	}
	for what, c := range map[string]struct {
		as   *api.Call
		body string
		kind api.Kind
	}{
		"a wrong passcode":       {w.as(ann), finishingTOTP(id, app.wrong(w.now)), api.Invalid},
		"none":                   {w.as(ann), finishingTOTP(id, ""), api.Invalid},
		"by somebody else":       {w.as(bob), finishingTOTP(id, app.code(w.now)), api.Denied},
		"another registration":   {w.as(ann), finishingTOTP("x", app.code(w.now)), api.Denied},
		"by a token of nobody's": {w.call("root"), finishingTOTP(id, app.code(w.now)), api.Invalid},
	} {
		if _, err := w.try(n, c.as, api.Write, "mfa/method/totp/finish", c.body); api.KindOf(err) != c.kind {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.try(n, w.call("root"), api.Write, "mfa/totp/finish", finishingTOTP(id, app.code(w.now))); api.KindOf(err) != api.Denied {
		t.Errorf("without a token: %v", err)
	}
	used := app.code(w.now)
	must(w.try(n, w.as(ann), api.Write, "mfa/method/totp/finish", finishingTOTP(id, used)))(t)
	if w.shows(n, ann, method, used) {
		t.Error("the passcode that has confirmed the secret is taken once more")
	}
	w.now = w.now.Add(30 * time.Second)
	if !w.shows(n, ann, method, app.code(w.now)) {
		t.Error("the next passcode is refused")
	}
	if _, err := w.try(n, w.as(ann), api.Write, "mfa/method/totp/register", `{"method_id":"`+method+`"}`); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "admin-destroy") {
		t.Errorf("a second one: %v", err)
	}
	w.do(api.Write, "mfa/method/totp/admin-destroy", `{"method_id":"`+method+`","entity_id":"`+ann+`"}`)
	slow, app := begin()
	w.now = w.now.Add(5 * time.Minute)
	if _, err := w.try(n, w.as(ann), api.Write, "mfa/method/totp/finish", finishingTOTP(slow, app.code(w.now))); err == nil {
		t.Error("after five minutes a secret is still confirmed")
	}
}

// A right that an administrator gave makes a secret without a token, once; and no passkey, as one for passkeys makes no secret.
func TestRightToASecret(t *testing.T) {
	w := newWorld(t, 2)
	n, method, ann := w.nodes[0], w.method(""), w.person("ann")
	keys := w.passkeyMethod("")
	w.enforce(method)
	give := func(kind, method string) string {
		return w.do(api.Write, "mfa/method/"+kind+"/admin-register", `{"method_id":"`+method+`","entity_id":"`+ann+`","ttl":"1h"}`)["registration_id"].(string)
	}
	begin := func(kind, id string) (any, error) {
		return w.try(n, w.call("root"), api.Write, "mfa/"+kind+"/register", `{"registration_id":"`+id+`"}`)
	}
	finish := func(id, code string) error {
		_, err := w.try(w.nodes[1], w.call("root"), api.Write, "mfa/totp/finish", finishingTOTP(id, code))
		return err
	}
	id := give("totp", method)
	if err := finish(id, "123456"); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "begin anew") {
		t.Errorf("before a secret was shown: %v", err)
	}
	if _, err := begin("passkey", id); api.KindOf(err) != api.Denied {
		t.Errorf("a passkey by a right to a secret: %v", err)
	}
	if _, err := begin("totp", give("webauthn", keys)); api.KindOf(err) != api.Denied {
		t.Errorf("a secret by a right to a passkey: %v", err)
	}
	first := newAuthenticator(t, w.answered(begin("totp", id))["url"].(string))
	second := newAuthenticator(t, w.answered(begin("totp", id))["url"].(string))
	if err := finish(id, first.code(w.now)); api.KindOf(err) != api.Invalid || first.key == second.key {
		t.Errorf("by the secret that was shown before: %v", err)
	}
	if err := finish(id, second.code(w.now)); err != nil {
		t.Fatal(err)
	}
	if err := finish(id, second.code(w.now.Add(30*time.Second))); api.KindOf(err) != api.Denied {
		t.Errorf("once more: %v", err)
	}
	w.now = w.now.Add(30 * time.Second)
	if !w.shows(w.nodes[1], ann, method, second.code(w.now)) {
		t.Error("the secret is not the entity's")
	}
	held := give("totp", method)
	if _, err := begin("totp", held); api.KindOf(err) != api.Invalid {
		t.Errorf("for somebody who has one: %v", err)
	}
	w.do(api.Write, "mfa/method/totp/admin-destroy", `{"method_id":"`+method+`","entity_id":"`+ann+`"}`)
	if _, err := begin("totp", held); api.KindOf(err) != api.Denied {
		t.Errorf("a right that was there before admin-destroy: %v", err)
	}
	w.refused(api.Write, "mfa/method/totp/admin-register", `{"method_id":"`+keys+`","entity_id":"`+ann+`"}`, "method_id")
	gone := give("totp", method)
	w.do(api.Delete, "entity/id/"+ann, "")
	if _, err := begin("totp", gone); api.KindOf(err) != api.Denied {
		t.Errorf("of somebody who is gone: %v", err)
	}
}

// An administrator names whom a secret or a right is for by identifier, name or alias.
func TestWhoIsMeant(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	w.do(api.Write, "entity/id/"+ann, `{"name":"Ann Lee"}`)
	destroy := func() {
		w.do(api.Write, "mfa/method/totp/admin-destroy", `{"method_id":"`+method+`","alias_name":"ann","alias_mount_accessor":"door_1"}`)
	}
	for _, who := range []string{`"entity_id":"` + ann + `"`, `"entity_name":"Ann Lee"`, `"alias_name":"ann","alias_mount_accessor":"door_1"`} {
		body := `{"method_id":"` + method + `",` + who + `}`
		w.do(api.Write, "mfa/method/totp/admin-generate", body)
		if w.rows("root/mfa/of/"+ann+"/totp/") != 1 {
			t.Errorf("%s makes no secret", who)
		}
		destroy()
		w.do(api.Write, "mfa/method/totp/admin-register", body)
		if w.rows("root/mfa/of/"+ann+"/rights") != 1 {
			t.Errorf("%s gives no right", who)
		}
		destroy()
		if n := w.rows("root/mfa/of/"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	}
	for who, text := range map[string]string{`"entity_name":"bob"`: "entity_id", `"alias_name":"bob","alias_mount_accessor":"door_1"`: "entity_id", `"alias_name":"ann"`: "both",
		`"entity_name":"Ann Lee","entity_id":"` + ann + `"`: "one of", `"entity_name":"Ann Lee","alias_name":"ann","alias_mount_accessor":"door_1"`: "one of", `"entity_id":""`: "entity_id"} {
		for _, path := range []string{"admin-generate", "admin-destroy", "admin-register"} {
			w.refused(api.Write, "mfa/method/totp/"+path, `{"method_id":"`+method+`",`+who+`}`, text)
		}
	}
}

// A right by which nothing can be registered is given with a warning.
func TestRightForWhoHasAll(t *testing.T) {
	k := newKeyring(t, 1, `,"max_passkeys":1`)
	app := k.world.method("")
	give := func(kind, method string) string {
		c := k.call("root")
		must(k.try(k.nodes[0], c, api.Write, "mfa/method/"+kind+"/admin-register", `{"method_id":"`+method+`","entity_id":"`+k.entity+`"}`))(t)
		return strings.Join(c.Warnings(), "\n")
	}
	for kind, method := range map[string]string{"totp": app, "webauthn": k.method} {
		if warned := give(kind, method); warned != "" {
			t.Errorf("%s: for somebody who has none: warned of %q", kind, warned)
		}
	}
	k.secret(app, k.entity)
	k.registered(k.entity)
	for kind, method := range map[string]string{"totp": app, "webauthn": k.method} {
		if warned := give(kind, method); !strings.Contains(warned, "identity/mfa/method/"+kind+"/admin-destroy") {
			t.Errorf("%s: warned of %q", kind, warned)
		}
	}
	k.do(api.Write, "mfa/method/totp/admin-destroy", `{"method_id":"`+app+`","entity_id":"`+k.entity+`"}`)
	if warned := give("totp", app); warned != "" {
		t.Errorf("once the secret is removed: warned of %q", warned)
	}
}
