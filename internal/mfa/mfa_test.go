package mfa_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// race has many show passcodes at once on all nodes, and counts who is let in.
func (w *world) race(n int, entity, method string, codes ...string) int64 {
	w.t.Helper()
	var in atomic.Int64
	var work sync.WaitGroup
	for i := range n {
		node, code := w.nodes[i%len(w.nodes)], codes[i%len(codes)]
		need := w.need(node, "root", entity)
		work.Go(func() {
			switch err := node.mfa.Satisfy(w.call("root"), need, mfa.Shown{method: api.NewSecret(code)}); {
			case err == nil:
				in.Add(1)
			case api.KindOf(err) != api.Denied && !errors.Is(err, store.ErrConflict):
				w.t.Error(err)
			}
		})
	}
	work.Wait()
	return in.Load()
}

func fullWidth(code string) string {
	return strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
}

// CVE-2025-6014: a passcode is taken once, in whatever spelling and on whatever nodes it is
// shown, and one alone of each time step.
func TestCVE_2025_6014_CodesAreTakenOnce(t *testing.T) {
	w := newWorld(t, 3)
	method, entity := w.method(""), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	for range 3 {
		code := app.code(w.now)
		if n := w.race(1000, entity, method, code, " "+code, code+" ", code[:2]+" "+code[2:], fullWidth(code), code+"\n", "\t"+code, code+"\x00", "0"+code, "+"+code[1:]); n != 1 {
			t.Fatalf("%d of 1000 were let in by one passcode", n)
		}
		w.now = w.now.Add(time.Minute)
	}
	code := app.code(w.now)
	for _, spelled := range []string{" " + code, code + " ", code[:2] + " " + code[2:], fullWidth(code), code + "\n", code + "\x00", "0" + code} {
		if w.shows(w.nodes[0], entity, method, spelled) {
			t.Errorf("%q was taken", spelled)
		}
	}
	if !w.shows(w.nodes[1], entity, method, code) || w.shows(w.nodes[2], entity, method, code) {
		t.Error("the passcode itself is not taken once")
	}
	if w.shows(w.nodes[0], entity, method, app.code(w.now.Add(-30*time.Second))) {
		t.Error("a passcode of a step before one that was taken is taken")
	}
}

// CVE-2025-6015: wrong passcodes are counted for all nodes together, a used one among
// them, and beyond the limit it is not told whether one is right.
func TestCVE_2025_6015_AttemptsAreCountedOnAllNodes(t *testing.T) {
	w := newWorld(t, 3)
	method, entity := w.method(`,"max_validation_attempts":4`), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	used := app.code(w.now)
	if !w.shows(w.nodes[0], entity, method, used) {
		t.Fatal("a right passcode is refused")
	}
	w.now = w.now.Add(30 * time.Second)
	for i := range 4 {
		code := app.wrong(w.now)
		if i%2 == 1 {
			code = used // within the skew
		}
		if w.shows(w.nodes[i%3], entity, method, code) {
			t.Fatalf("attempt %d was let in", i)
		}
	}
	for _, n := range w.nodes {
		if w.shows(n, entity, method, app.code(w.now)) {
			t.Error("a right passcode is taken beyond the limit")
		}
	}
	w.now = w.now.Add(29 * time.Second)
	if w.shows(w.nodes[0], entity, method, app.code(w.now)) {
		t.Error("the limit is forgotten within the period")
	}
	w.now = w.now.Add(time.Second)
	if !w.shows(w.nodes[0], entity, method, app.code(w.now)) {
		t.Error("the limit stays for ever")
	}
	w.now = w.now.Add(time.Minute)
	wrong := app.wrong(w.now)
	if n := w.race(64, entity, method, wrong); n != 0 {
		t.Errorf("%d wrong passcodes were taken", n)
	}
	var row struct{ Failures int }
	e := must(w.store.Get(context.Background(), "root/mfa/of/"+entity+"/totp/"+method))(t)
	if err := json.Unmarshal(e.Value, &row); err != nil || row.Failures != 4 {
		t.Errorf("%d wrong passcodes were judged, want 4 (%v)", row.Failures, err)
	}
}

// CVE-2022-30689: what is enforced is in the store, and holds for the first login after a restart
// as for any other.
func TestCVE_2022_30689_EnforcedAfterARestart(t *testing.T) {
	w := newWorld(t, 1)
	method, entity := w.method(""), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	fresh := w.node()
	if w.need(fresh, "root", entity) == nil {
		t.Fatal("nothing is needed after a restart")
	}
	if !w.shows(fresh, entity, method, app.code(w.now)) {
		t.Error("the secret is gone after a restart")
	}
	e := must(w.store.Get(context.Background(), "root/mfa/login-enforcement/all"))(t)
	must(w.store.Commit(context.Background(), nil, []store.Write{{Key: "root/mfa/enforcement/all", Value: []byte("{")}}))(t)
	must(fresh.cache.Fresh(context.Background()))(t)
	if _, err := fresh.mfa.Required(w.call("root"), mfa.Login{Accessor: "other", Type: "other"}); err == nil {
		t.Error("an enforcement that cannot be read is none", e.Key)
	}
}

// Enforcements are about logins by accessor, type, entity and group, in their namespace
// and those below.
func TestWhatIsEnforced(t *testing.T) {
	w := newWorld(t, 1)
	method, ann, bob := w.method(`,"method_name":"app"`), w.person("ann"), w.personAt("hall_1", "bob")
	group := func(body string) string {
		return w.do(api.Write, "group", body)["id"].(string)
	}
	inner := group(`{"name":"inner","member_entity_ids":["` + ann + `"]}`)
	outer := group(`{"name":"outer","member_group_ids":["` + inner + `"]}`)
	for _, c := range []struct {
		fields   string
		ann, bob bool
	}{{`"auth_method_accessors":["door_1"]`, true, true}, {`"auth_method_accessors":["door_2"]`, false, false}, {`"auth_method_types":["door"]`, true, true}, {`"auth_method_types":["hall"]`, false, false},
		{`"identity_entity_ids":["` + ann + `"]`, true, false}, {`"identity_group_ids":["` + inner + `"]`, true, false}, {`"identity_group_ids":["` + outer + `"]`, true, false}} {
		w.do(api.Write, "mfa/login-enforcement/one", `{"mfa_method_ids":["`+method+`"],`+c.fields+`}`)
		if a, b := w.need(w.nodes[0], "root", ann) != nil, w.need(w.nodes[0], "root", bob) != nil; a != c.ann || b != c.bob {
			t.Errorf("%s: ann %v, bob %v", c.fields, a, b)
		}
		if below := w.need(w.nodes[0], "team", ann) != nil; below != c.ann {
			t.Errorf("%s: below %v", c.fields, below)
		}
		w.do(api.Delete, "mfa/login-enforcement/one", "")
	}
	if w.need(w.nodes[0], "root", ann) != nil {
		t.Error("an enforcement that was deleted is in force")
	}
	w.enforce(method)
	must(w.nodes[0].cache.Fresh(t.Context()))(t)
	if _, err := w.nodes[0].mfa.Required(w.call("root"), mfa.Login{Accessor: "door_1"}); api.KindOf(err) != api.Denied {
		t.Errorf("a login of nobody: %v", err)
	}
	w.do(api.Write, "mfa/login-enforcement/all", `{"auth_method_accessors":[],"identity_entity_ids":["`+bob+`"]}`)
	w.do(api.Write, "entity/merge", `{"from_entity_ids":["`+bob+`"],"to_entity_id":"`+ann+`"}`)
	if w.need(w.nodes[0], "root", ann) == nil {
		t.Error("who has become another is free of what was needed")
	}
}

// An authenticator calls somebody as they log in, and not by a name that was made up.
func TestLabelIsThePersonsName(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	named := w.do(api.Write, "entity", `{"name":"Bob Builder"}`)["id"].(string)
	for entity, want := range map[string]string{ann: "ann", named: "Bob Builder"} {
		a := w.do(api.Write, "mfa/method/totp/admin-generate", `{"method_id":"`+method+`","entity_id":"`+entity+`"}`)
		if got := must(otp.NewKeyFromURL(a["url"].(string)))(t).AccountName(); got != want {
			t.Errorf("called %q, want %q", got, want)
		}
	}
}

// A type that no auth method can have is refused, and what is not there is warned of: neither
// would ever be asked for a second factor.
func TestMistypedEnforcement(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	group := w.do(api.Write, "group", `{"name":"admins"}`)["id"].(string)
	other := w.do(api.Write, "entity", `{"name":"other"}`)["id"].(string)
	w.do(api.Write, "entity/merge", `{"from_entity_ids":["`+other+`"],"to_entity_id":"`+ann+`"}`)
	for _, types := range []string{`["doo"]`, `["door","doo"]`, `["Door"]`, `["token"]`} {
		w.refused(api.Write, "mfa/login-enforcement/one", `{"mfa_method_ids":["`+method+`"],"auth_method_types":`+types+`}`, "auth_method_types")
	}
	for fields, warns := range map[string]string{
		`"identity_group_ids":["nosuch"]`: "identity_group_ids", `"identity_group_ids":["` + group + `"]`: "", `"identity_group_ids":["` + ann + `"]`: "identity_group_ids",
		`"identity_entity_ids":["ann"]`: "identity_entity_ids", `"identity_entity_ids":["` + ann + `","` + other + `"]`: "", `"identity_entity_ids":["` + api.NewUUID() + `"]`: "identity_entity_ids",
		`"auth_method_accessors":["door_2"]`: "auth_method_accessors", `"auth_method_accessors":["door_1"],"auth_method_types":["hall"]`: "",
	} {
		c := w.call("root")
		must(w.try(w.nodes[0], c, api.Write, "mfa/login-enforcement/one", `{"mfa_method_ids":["`+method+`"],`+fields+`}`))(t)
		if got := strings.Join(c.Warnings(), " "); (warns == "") != (got == "") || !strings.HasPrefix(got, warns) {
			t.Errorf("%s: warned %q, want %q", fields, got, warns)
		}
		w.do(api.Delete, "mfa/login-enforcement/one", "")
	}
}

// Of each enforcement one method is needed, and no more.
// Of whom it is not known in which groups they are, a second factor is asked wherever it is asked of a group.
func TestGroupsThatAreNotKnown(t *testing.T) {
	w := newWorld(t, 1)
	method, ann := w.method(""), w.person("ann")
	group := w.do(api.Write, "group", `{"name":"admins"}`)["id"].(string)
	w.do(api.Write, "mfa/login-enforcement/admins", `{"mfa_method_ids":["`+method+`"],"identity_group_ids":["`+group+`"]}`)
	if w.need(w.nodes[0], "root", ann) != nil {
		t.Fatal("is asked of who is in no group")
	}
	for part := range slices.Chunk(make([]store.Write, 1025), 100) { // more than are read
		for i := range part {
			part[i].Key = "root/identity/in/" + ann + "/team/" + api.NewUUID()
		}
		must(w.store.Commit(t.Context(), nil, part))(t)
	}
	w.do(api.Write, "entity/id/"+ann, `{"metadata":{"a":"b"}}`)
	if w.need(w.nodes[0], "root", ann) == nil {
		t.Error("is not asked of whom it is not known in which groups they are")
	}
}

func TestEachEnforcementIsMet(t *testing.T) {
	w := newWorld(t, 1)
	a, b, c, entity := w.method(`,"method_name":"A"`), w.method(""), w.method(""), w.person("ann")
	appA, appC := w.secret(a, entity), w.secret(c, entity)
	w.do(api.Write, "mfa/login-enforcement/one", `{"mfa_method_ids":["`+a+`","`+b+`"],"auth_method_types":["door"]}`)
	w.do(api.Write, "mfa/login-enforcement/two", `{"mfa_method_ids":["`+c+`"],"auth_method_types":["door"]}`)
	show := func(shown mfa.Shown) error {
		return w.nodes[0].mfa.Satisfy(w.call("root"), w.need(w.nodes[0], "root", entity), shown)
	}
	if err := show(mfa.Shown{"A": api.NewSecret(appA.code(w.now))}); api.KindOf(err) != api.Denied {
		t.Errorf("one of two: %v", err)
	}
	w.now = w.now.Add(time.Minute)
	if err := show(mfa.Shown{"": api.NewSecret(appA.code(w.now)), c: api.NewSecret(appC.code(w.now))}); api.KindOf(err) != api.Denied {
		t.Errorf("a method without name: %v", err)
	}
	w.now = w.now.Add(time.Minute)
	if err := show(mfa.Shown{"A": api.NewSecret(appA.code(w.now)), b: api.NewSecret("123456"), c: api.NewSecret(appC.code(w.now))}); err != nil {
		t.Errorf("one of each: %v", err)
	}
}

// hold has a login wait, and answers its identifier. Without an alias it is by the entity's at the door.
func (w *world) hold(n *node, entity string, login *api.Auth) string {
	w.t.Helper()
	if login.Alias == nil {
		login.Alias = &api.Alias{Name: w.aliasOf(entity)["name"].(string)}
	}
	in := &api.Entrance{MountID: "m", Accessor: "door_1", Type: "door", Path: "auth/door/login", Role: "r", EntityID: entity, At: w.now, WrapTTL: time.Minute}
	return must(n.mfa.Hold(w.call("root"), w.need(n, "root", entity), login, in))(w.t).RequestID
}

// aliasOf is the alias of an entity.
func (w *world) aliasOf(entity string) map[string]any {
	w.t.Helper()
	return w.do(api.Read, "entity/id/"+entity, "")["aliases"].([]any)[0].(map[string]any)
}

func (w *world) validate(n *node, from, id, method, code string) (*api.Auth, error) {
	w.t.Helper()
	c := w.call("root")
	c.Remote = netip.MustParseAddr(from)
	v, err := w.try(n, c, api.Write, "mfa/validate", fmt.Sprintf(`{"mfa_request_id":%q,"mfa_payload":{%q:[%q]}}`, id, method, code))
	a, _ := v.(*api.Auth)
	return a, err
}

func (w *world) denied(what string, a *api.Auth, err error) {
	w.t.Helper()
	if api.KindOf(err) != api.Denied || err.Error() != "permission denied" || a != nil {
		w.t.Errorf("%s: %v, %v", what, a, err)
	}
}

// A login that waits is completed once, with all that it was; whatever is wrong gets the
// one refusal.
func TestALoginWaits(t *testing.T) {
	w := newWorld(t, 3)
	method, entity := w.method(""), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	login := &api.Auth{TokenPolicies: []string{"a"}, Metadata: map[string]string{"k": "v"}, TTL: time.Hour, MaxTTL: 2 * time.Hour, ExplicitMaxTTL: 3 * time.Hour, Period: time.Minute,
		Renewable: true, TokenType: "service", NumUses: 3, DisplayName: "door-ann", NoDefaultPolicy: true, BoundCIDRs: []string{"10.0.0.0/8"}, Alias: &api.Alias{Name: "ann"},
		GroupAliases: []string{"g"}, Private: []byte("p"), BindIP: true}
	id := w.hold(w.nodes[0], entity, login)
	w.now = w.now.Add(time.Minute)
	a, err := w.validate(w.nodes[1], "10.1.1.1", id, method, app.wrong(w.now))
	w.denied("a wrong passcode", a, err)
	a, err = w.validate(w.nodes[1], "10.1.1.1", api.NewUUID(), method, app.code(w.now))
	w.denied("another identifier", a, err)
	a, err = w.validate(w.nodes[1], "11.1.1.1", id, method, app.code(w.now))
	w.denied("another address", a, err)
	a, err = w.validate(w.nodes[1], "10.1.1.1", id, method, app.code(w.now))
	if err != nil {
		t.Fatal(err)
	}
	in := a.Entrance
	a.Entrance = nil
	got, want := fmt.Sprintf("%+v %v", *a, *a.Alias), fmt.Sprintf("%+v %v", *login, *login.Alias)
	if strip(got) != strip(want) || in.Role != "r" || in.EntityID != entity || in.WrapTTL != time.Minute || in.MountID != "m" {
		t.Errorf("completed as\n%s\nwant\n%s\n%+v", got, want, in)
	}
	w.now = w.now.Add(time.Minute)
	a, err = w.validate(w.nodes[2], "10.1.1.1", id, method, app.code(w.now))
	w.denied("the second time", a, err)
	if n := w.rows("root/mfa/waiting/") + w.rows("root/due/"); n != 1 { // the one that reaps
		t.Errorf("%d rows are left", n)
	}
	late := w.hold(w.nodes[0], entity, login)
	w.now = w.now.Add(5 * time.Minute)
	a, err = w.validate(w.nodes[0], "10.1.1.1", late, method, app.code(w.now))
	w.denied("after five minutes", a, err)
}

// strip takes pointers out.
func strip(s string) string {
	i := strings.Index(s, "Alias:0x")
	j := i + strings.IndexByte(s[i:], ' ')
	return s[:i] + s[j:]
}

// Of two who complete one login at once, each with a right passcode of its own, one is let in.
func TestALoginIsCompletedOnce(t *testing.T) {
	w := newWorld(t, 2)
	method, entity := w.method(""), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	for range 50 {
		id := w.hold(w.nodes[0], entity, &api.Auth{})
		var in atomic.Int64
		var work sync.WaitGroup
		for i, code := range []string{app.code(w.now), app.code(w.now.Add(30 * time.Second))} {
			work.Go(func() {
				if a, err := w.validate(w.nodes[i], "10.1.1.1", id, method, code); err == nil && a != nil {
					in.Add(1)
				}
			})
		}
		work.Wait()
		if in.Load() != 1 {
			t.Fatalf("%d of 2 completed the login", in.Load())
		}
		w.now = w.now.Add(2 * time.Minute)
	}
}

// No more logins of one entity wait than there is room for, and they are forgotten.
func TestLoginsThatWaitAreBounded(t *testing.T) {
	w := newWorld(t, 1)
	method, entity := w.method(""), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	var ids []string
	for range 20 {
		ids = append(ids, w.hold(w.nodes[0], entity, &api.Auth{}))
	}
	if n := w.rows("root/mfa/waiting/"); n != 8 {
		t.Errorf("%d wait", n)
	}
	a, err := w.validate(w.nodes[0], "10.1.1.1", ids[11], method, app.code(w.now))
	w.denied("the oldest", a, err)
	if _, err := w.validate(w.nodes[0], "10.1.1.1", ids[12], method, app.code(w.now)); err != nil {
		t.Error(err)
	}
	for _, e := range must(w.store.List(context.Background(), store.Prefix("root/due/")))(t) {
		parts := strings.Split(e.Key, "/")
		if do := w.nodes[0].mfa.Jobs()[parts[3]]; do != nil {
			if err := do(context.Background(), &schedule.Job{Item: schedule.Item{Namespace: "root", At: w.now.Add(5 * time.Minute), Kind: parts[3], ID: parts[4]}}); err != nil {
				t.Error(err)
			}
		}
	}
	if n := w.rows("root/mfa/waiting/") + w.rows("root/mfa/of/"+entity+"/waiting"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Between the two phases an entity may go, be disabled or have become another, and its alias may be somebody else's, or nobody's. Then
// nobody is let in: not as whom the login began as, and not as another by factors that are not theirs.
func TestWhoHasGoneMeanwhile(t *testing.T) {
	for what, c := range map[string]struct {
		op         api.Op
		path, body string
	}{
		"deleted":        {api.Delete, "entity/id/ANN", ""},
		"disabled":       {api.Write, "entity/id/ANN", `{"disabled":true}`},
		"tokens revoked": {api.Write, "entity/id/ANN/revoke-tokens", ""},
		"merged":         {api.Write, "entity/merge", `{"from_entity_ids":["ANN"],"to_entity_id":"OTHER"}`},
		"alias moved":    {api.Write, "entity-alias/id/ALIAS", `{"canonical_id":"OTHER"}`},
		"alias renamed":  {api.Write, "entity-alias/id/ALIAS", `{"name":"anna"}`},
		"of another way": {api.Write, "entity-alias/id/ALIAS", `{"mount_accessor":"door_2"}`},
		"alias deleted":  {api.Delete, "entity-alias/id/ALIAS", ""},
	} {
		w := newWorld(t, 2)
		method := w.method("")
		w.enforce(method)
		entity, other := w.person("ann"), w.personAt("hall_1", "other")
		app, others := w.secret(method, entity), w.secret(method, other)
		id := w.hold(w.nodes[0], entity, &api.Auth{})
		in := strings.NewReplacer("ANN", entity, "OTHER", other, "ALIAS", w.aliasOf(entity)["id"].(string))
		w.do(c.op, in.Replace(c.path), in.Replace(c.body))
		for whose, code := range map[string]string{"their own": app.code(w.now), "the other's": others.code(w.now)} {
			a, err := w.validate(w.nodes[1], "10.1.1.1", id, method, code)
			if api.KindOf(err) != api.Denied || !strings.HasPrefix(err.Error(), "permission denied; log in again") || a != nil {
				t.Errorf("%s, with %s factor: %v, %v", what, whose, a, err)
			}
		}
		if n := w.rows("root/mfa/of/" + entity + "/"); (what == "deleted" || what == "merged") && n != 0 {
			t.Errorf("%s: %d rows are left", what, n)
		}
	}
}

// An alias that was written anew for the same entity names who has logged in, as ever.
func TestTheSameAliasMeanwhile(t *testing.T) {
	w := newWorld(t, 1)
	method, entity := w.method(""), w.person("ann")
	app := w.secret(method, entity)
	w.enforce(method)
	id := w.hold(w.nodes[0], entity, &api.Auth{})
	w.do(api.Delete, "entity-alias/id/"+w.aliasOf(entity)["id"].(string), "")
	w.do(api.Write, "entity-alias", `{"name":"ann","mount_accessor":"door_1","canonical_id":"`+entity+`"}`)
	if a, err := w.validate(w.nodes[0], "10.1.1.1", id, method, app.code(w.now)); err != nil || a == nil {
		t.Errorf("%v, %v", a, err)
	}
}

// A secret is shown once, and is in nothing else that is answered.
func TestSecretsAreShownOnce(t *testing.T) {
	w := newWorld(t, 1)
	method, entity := w.method(`,"algorithm":"sha256","digits":8,"period":60,"method_name":"App"`), w.person("ann")
	w.do(api.Write, "mfa/method/totp/"+method, `{"qr_size":200}`)
	both := `{"method_id":"` + method + `","entity_id":"` + entity + `"}`
	made := w.do(api.Write, "mfa/method/totp/admin-generate", both)
	app := newAuthenticator(t, made["url"].(string))
	if !strings.HasPrefix(made["barcode"].(string), "iVBORw0KGgo") {
		t.Errorf("the barcode is no PNG: %.20s", made["barcode"])
	}
	if again := must(w.try(w.nodes[0], w.call("root"), api.Write, "mfa/method/totp/admin-generate", both))(t); again != nil {
		t.Errorf("shown again: %v", again)
	}
	w.enforce(method)
	c := w.call("root")
	c.Caller.EntityID, c.Caller.EntityNamespace = entity, "root"
	if again := must(w.try(w.nodes[0], c, api.Write, "mfa/method/totp/generate", both))(t); again != nil {
		t.Errorf("shown again: %v", again)
	}
	for _, path := range []string{"mfa/method/" + method, "mfa/method/totp/" + method, "entity/id/" + entity, "mfa/login-enforcement/all"} {
		if text := fmt.Sprint(w.do(api.Read, path, "")); strings.Contains(text, app.key) {
			t.Errorf("%s shows the secret", path)
		}
	}
	if !w.shows(w.nodes[0], entity, method, app.code(w.now)) {
		t.Error("a passcode of eight digits is refused")
	}
	w.do(api.Write, "mfa/method/totp/admin-destroy", both)
	w.now = w.now.Add(5 * time.Minute)
	if w.shows(w.nodes[0], entity, method, app.code(w.now)) {
		t.Error("a secret that was destroyed is good")
	}
	must(w.try(w.nodes[0], c, api.Write, "mfa/method/totp/generate", both))(t)
	c.Caller.EntityID = ""
	if _, err := w.try(w.nodes[0], c, api.Write, "mfa/method/totp/generate", both); api.KindOf(err) != api.Invalid {
		t.Errorf("a secret of nobody: %v", err)
	}
}

func TestMethodsAreJudged(t *testing.T) {
	w := newWorld(t, 1)
	for fields, text := range map[string]string{`"issuer":""`: "issuer", `"period":0`: "period", `"period":"1.5s"`: "period", `"key_size":8`: "key_size", `"digits":7`: "digits", `"skew":2`: "skew", `"qr_size":5000`: "qr_size",
		`"algorithm":"MD5"`: "algorithm", `"max_validation_attempts":0`: "max_validation_attempts", `"method_name":" x"`: "method_name"} {
		body := `{"issuer":"Acme",` + fields + `}`
		if strings.HasPrefix(fields, `"issuer"`) {
			body = "{" + fields + "}"
		}
		w.refused(api.Write, "mfa/method/totp", body, text)
	}
	id := w.method(`,"method_name":"App"`)
	w.refused(api.Write, "mfa/method/totp", `{"issuer":"Acme","method_name":"aPP"}`, "method_name")
	w.do(api.Write, "mfa/method/totp/"+id, `{"skew":0,"method_name":"other"}`)
	m := w.do(api.Read, "mfa/method/totp/"+id, "")
	for field, want := range map[string]any{"skew": 0.0, "issuer": "Acme", "period": 30.0, "algorithm": "SHA1", "digits": 6.0, "key_size": 20.0, "max_validation_attempts": 5.0, "name": "other", "type": "totp", "namespace_id": "root"} {
		if m[field] != want {
			t.Errorf("%s is %v, want %v", field, m[field], want)
		}
	}
	w.method(`,"method_name":"App"`) // is free again
	for body, text := range map[string]string{`{}`: "mfa_method_ids", `{"mfa_method_ids":["x"],"auth_method_types":["door"]}`: "mfa_method_ids", `{"mfa_method_ids":["` + id + `"]}`: "auth_method_accessors"} {
		w.refused(api.Write, "mfa/login-enforcement/x", body, text)
	}
	w.enforce(id)
	w.refused(api.Delete, "mfa/method/totp/"+id, "", "an enforcement needs the method")
	w.do(api.Delete, "mfa/login-enforcement/all", "")
	w.do(api.Delete, "mfa/method/totp/"+id, "")
	for _, kind := range []string{"duo", "okta", "pingid"} {
		w.refused(api.Write, "mfa/method/"+kind, "", "use a method of type totp")
		w.refused(api.Read, "mfa/method/"+kind+"/x", "", "use a method of type totp")
		w.refused(api.List, "mfa/method/"+kind, "", "use a method of type totp")
	}
}

func TestHeaders(t *testing.T) {
	h := http.Header{}
	h.Add("X-Vault-MFA", "app:123:456")
	h.Add("X-Vault-MFA", "other")
	got := must(mfa.FromHeaders(h))(t)
	if len(got) != 2 || !got["app"].Equal(api.NewSecret("123:456")) || !got["other"].Empty() {
		t.Errorf("got %d: %v", len(got), got)
	}
	h.Add("X-Vault-MFA", "app:1")
	if _, err := mfa.FromHeaders(h); api.KindOf(err) != api.Invalid {
		t.Errorf("twice: %v", err)
	}
}

// FuzzPayload reads anything as passcodes: it is refused as malformed, or judged.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":["1"]}`, `{"a":[]}`, `{"a":["1","2"]}`, `null`, `[`, `""`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown, err := mfa.ParsePayload([]byte(s))
		if err != nil && api.KindOf(err) != api.Invalid || err == nil && len(shown) > 16 {
			t.Fatalf("%d, %v", len(shown), err)
		}
	})
}
