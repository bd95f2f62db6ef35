package chaos

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	back     = "https://app.example.com/back"
	openID   = "identity/oidc/"
	provider = openID + "provider/p/"
)

// app is a client of the OpenID provider.
type app struct{ id, secret string }

// provider are probes of the OpenID provider: of the client one, whose people are Cia's, of others that it keeps apart from it, and of a token of a role.
func (f *fleet) provider(t *testing.T, c *client, operators []string) []probe {
	t.Helper()
	for _, r := range [][2]string{
		{"auth/userpass/users/cia", `{"password":"` + right + `"}`},
		{"auth/userpass/users/dan", `{"password":"` + right + `"}`},
		{"sys/policies/acl/tells", `{"policy":"path \"identity/oidc/token/*\" { capabilities = [\"read\"] }"}`},
		{openID + "config", `{"issuer":"https://sr.example.com"}`},
		{openID + "key/one", `{"algorithm":"ES256","allowed_client_ids":"*"}`},
		{openID + "key/narrow", `{"algorithm":"ES256","allowed_client_ids":"nobody"}`},
		{openID + "key/mine", `{"algorithm":"ES256","allowed_client_ids":"*"}`},
		{openID + "role/mine", `{"key":"mine","client_id":"mine"}`},
		{openID + "provider/p", `{"issuer":"https://p.example.com","allowed_client_ids":"*"}`},
	} {
		must(t, c.call("POST", r[0], r[1], nil))
	}
	cia, dan := c.enter(t, "cia"), c.enter(t, "dan")
	must(t, c.call("POST", "identity/entity/id/"+cia.Entity, `{"policies":"tells"}`, nil))
	must(t, c.call("POST", openID+"assignment/hers", fmt.Sprintf(`{"entity_ids":%q}`, cia.Entity), nil))
	must(t, c.call("POST", openID+"assignment/his", fmt.Sprintf(`{"entity_ids":%q}`, dan.Entity), nil))
	one, two, narrow := c.app(t, "one", "one", "hers"), c.app(t, "two", "one", "his"), c.app(t, "narrow", "narrow", "hers")
	var told struct{ Data struct{ Token string } }
	must(t, newHolder(c, cia.Token).call("GET", openID+"token/mine", "", &told))
	itsTokens, its := at("auth/userpass/"), at("identity/")
	return []probe{
		{name: "sign-in", rests: []string{itsTokens, its, "/oidc/client/one", "/oidc/client/two", "/oidc/client-id/" + one.id, "/oidc/client-id/" + two.id, "/oidc/key/one", "/oidc/sign/one", "/oidc/assignment/hers", "/oidc/provider/p"},
			ask: func(c *client) (bool, string) { return c.signsIn(cia, one, two) }},
		{name: "sign-in of somebody else", rests: []string{itsTokens, its, "/oidc/client/one", "/oidc/client-id/" + one.id, "/oidc/key/one", "/oidc/assignment/hers", "/oidc/provider/p"},
			ask: func(c *client) (bool, string) { return c.signsInNowhere(dan, one) }},
		{name: "sign-in by a key of others", rests: []string{itsTokens, its, "/oidc/client/narrow", "/oidc/client-id/" + narrow.id, "/oidc/key/narrow", "/oidc/provider/p"},
			ask: func(c *client) (bool, string) { return c.signsInNowhere(cia, narrow) }},
		{name: "identity token", rests: []string{its, "/oidc/key/mine", "/oidc/config"}, ask: func(c *client) (bool, string) { return c.believes(operators, told.Data.Token) }},
		{name: "published key", rests: []string{its, "/oidc/key/mine"}, lifts: "/oidc/key/mine", ask: func(c *client) (bool, string) { return c.publishes(told.Data.Token) }},
	}
}

// app makes a client of the provider.
func (c *client) app(t *testing.T, name, key, assignment string) app {
	t.Helper()
	must(t, c.call("POST", openID+"client/"+name, fmt.Sprintf(`{"redirect_uris":%q,"key":%q,"assignments":%q}`, back, key, assignment), nil))
	var made struct {
		Data struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
	}
	must(t, c.call("GET", openID+"client/"+name, "", &made))
	return app{made.Data.ID, made.Data.Secret}
}

// code asks for a code for a client.
func (c *client) code(who entry, for_ app) (answer, error) {
	return newHolder(c, who.Token).ask("POST", provider+"authorize", map[string]string{"client_id": for_.id, "redirect_uri": back, "response_type": "code", "scope": "openid", "state": "s", "nonce": "n"})
}

// signsIn has somebody sign in to a client: another gets nothing for the code, and the client what says who it is.
func (c *client) signsIn(who entry, mine, other app) (right bool, lie string) {
	redeem := func(code string, by app) (answer, error) {
		return c.ask("POST", provider+"token", map[string]string{"grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": by.id, "client_secret": by.secret})
	}
	var codes [2]string
	for i := range codes { // whoever shows one uses it up
		a, err := c.code(who, mine)
		if err != nil {
			return false, ""
		}
		if codes[i] = a.text("code"); codes[i] == "" {
			return false, fmt.Sprintf("who may sign in is answered with %d: %v", a.status, a.body)
		}
	}
	a, err := redeem(codes[0], other)
	if err == nil && a.status == http.StatusOK {
		return false, "a code is redeemed by another client"
	}
	otherwise := err == nil
	if a, err = redeem(codes[1], mine); err != nil {
		return false, ""
	}
	if a.status != http.StatusOK {
		return false, fmt.Sprintf("a code is answered with %d: %v", a.status, a.body)
	}
	aud, sub := says(a.text("id_token"))
	info, err := newHolder(c, a.text("access_token")).ask("GET", provider+"userinfo", nil)
	if err == nil && info.status != http.StatusOK {
		return false, fmt.Sprintf("an access token is answered with %d: %v", info.status, info.body)
	}
	if aud != mine.id || sub != who.Entity || err == nil && info.text("sub") != who.Entity {
		return false, fmt.Sprintf("the tokens are for %s and of %s, and userinfo says %v", aud, sub, info.body)
	}
	return otherwise && err == nil, ""
}

// says is whom a token is for and of.
func says(token string) (aud, sub string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Aud, Sub string }
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return "", ""
	}
	return claims.Aud, claims.Sub
}

// signsInNowhere asks for a code that must not be had.
func (c *client) signsInNowhere(who entry, at app) (right bool, lie string) {
	a, err := c.code(who, at)
	if err == nil && a.text("code") != "" {
		lie = "who may not sign in to a client gets a code"
	}
	return err == nil && lie == "", lie
}

// believes asks whether a token counts, which it does.
func (c *client) believes(tokens []string, token string) (right bool, lie string) {
	for _, asker := range tokens {
		a, err := newHolder(c, asker).ask("POST", openID+"introspect", map[string]string{"token": token})
		active, _ := a.field("active").(bool)
		switch {
		case err != nil || a.status == http.StatusForbidden: // that token's row is damaged
		case active:
			right = true
		default:
			lie = fmt.Sprintf("a token that counts is answered with %v", a.body)
		}
	}
	return right, lie
}

// publishes asks for the keys that everybody may have, among which is the one that a token was signed with.
func (c *client) publishes(token string) (right bool, lie string) {
	status, text, err := c.send("GET", openID+".well-known/keys", "")
	if err != nil || status >= http.StatusInternalServerError {
		return false, ""
	}
	signed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	var set struct{ Keys []jose.JSONWebKey }
	if err != nil || json.Unmarshal(text, &set) != nil {
		return false, fmt.Sprintf("the keys are answered with %d: %s", status, text)
	}
	if !slices.ContainsFunc(set.Keys, func(k jose.JSONWebKey) bool { return k.KeyID == signed.Headers[0].KeyID }) {
		return false, "the key of a token that counts is not published"
	}
	return true, ""
}
