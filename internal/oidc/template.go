package oidc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
)

// Bounds of claims.
const (
	maxTemplate = 16 << 10 // a template, in bytes
	maxClaims   = 64 << 10 // the claims that it makes, in bytes
)

// reserved are claims that no template sets, in any spelling: some who read tokens do not
// tell the spellings apart.
var reserved = [...]string{"iss", "sub", "aud", "exp", "iat", "namespace", "nonce", "auth_time", "at_hash", "c_hash", "azp", "acr", "amr", "jti"}

func isReserved(claim string) bool {
	return slices.ContainsFunc(reserved[:], func(r string) bool { return strings.EqualFold(r, claim) })
}

// takeTemplate checks a template that is given, and undoes base64.
func takeTemplate(given *string) (*string, error) {
	if given == nil {
		return nil, nil
	}
	text := strings.TrimSpace(*given)
	if len(text) > 2*maxTemplate {
		return nil, api.Errorf(api.Invalid, "template: longer than %d bytes", maxTemplate)
	}
	if plain, err := base64.StdEncoding.DecodeString(text); err == nil && text != "" {
		text = strings.TrimSpace(string(plain))
	}
	return &text, checkTemplate(text)
}

// checkTemplate refuses a template that does not make a JSON object whatever its values are.
// A value takes the place of a JSON value: not of a name, and not within a text.
func checkTemplate(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxTemplate {
		return api.Errorf(api.Invalid, "template: longer than %d bytes", maxTemplate)
	}
	unknown := false
	filled, err := fill(text, func(name string) any {
		unknown = unknown || !templateKnown(name)
		return []int{} // which is no object, no name, and no part of a number
	})
	if err != nil {
		return err
	}
	if unknown {
		return api.Errorf(api.Invalid, "template: names a value that there is not")
	}
	if strings.TrimSpace(filled) == "null" {
		return api.Errorf(api.Invalid, "template: is not a JSON object")
	}
	if _, err := api.ParseBody([]byte(filled)); err != nil {
		return &api.Error{Kind: api.Invalid, Message: "template: is not a JSON object", Hint: "a template such as {{identity.entity.name}} stands where a value does, without quotes around it", Err: err}
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal([]byte(filled), &claims); err != nil {
		return api.Errorf(api.Invalid, "template: is not a JSON object")
	}
	for name := range claims {
		if isReserved(name) {
			return api.Errorf(api.Invalid, "template: top level key %q not allowed. Restricted keys: %s", strings.ToLower(name), strings.Join(reserved[:], ", "))
		}
	}
	return nil
}

// fill puts a JSON value in the place of each template. Within a JSON text there is none.
func fill(text string, value func(name string) any) (string, error) {
	var out strings.Builder
	quoted := false
	for i := 0; i < len(text); {
		switch {
		case quoted && text[i] == '\\' && i+1 < len(text):
			out.WriteString(text[i : i+2])
			i += 2
			continue
		case text[i] == '"':
			quoted = !quoted
		case strings.HasPrefix(text[i:], "{{"):
			name, _, closed := strings.Cut(text[i+2:], "}}")
			if quoted || !closed {
				return "", api.Errorf(api.Invalid, "template: {{ stands within a text, or has no }}")
			}
			b, err := json.Marshal(value(strings.TrimSpace(name)))
			if err != nil {
				return "", fmt.Errorf("oidc: encoding a claim: %w", err)
			}
			out.Write(b)
			i += len(name) + 4
			continue
		}
		out.WriteByte(text[i])
		i++
	}
	return out.String(), nil
}

// templateKnown reports whether a template has the form of one.
func templateKnown(name string) bool {
	if rest, ok := strings.CutPrefix(name, "time.now"); ok {
		_, ok := shifted(rest, time.Time{})
		return ok
	}
	rest, ok := strings.CutPrefix(name, "identity.entity.")
	if !ok {
		return false
	}
	switch rest {
	case "id", "name", "metadata", "groups.ids", "groups.names":
		return true
	}
	if key, ok := strings.CutPrefix(rest, "metadata."); ok {
		return key != ""
	}
	rest, ok = strings.CutPrefix(rest, "aliases.")
	accessor, what, _ := strings.Cut(rest, ".")
	kind, key, keyed := strings.Cut(what, ".")
	switch {
	case !ok || accessor == "":
		return false
	case kind == "metadata" || kind == "custom_metadata":
		return !keyed || key != ""
	}
	return what == "id" || what == "name"
}

// shifted is a time as a template asks for it: with .plus.<duration> or .minus.<duration>.
func shifted(rest string, now time.Time) (time.Time, bool) {
	if rest == "" {
		return now, true
	}
	sign := time.Duration(1)
	text, ok := strings.CutPrefix(rest, ".plus.")
	if !ok {
		sign = -1
		if text, ok = strings.CutPrefix(rest, ".minus."); !ok {
			return now, false
		}
	}
	d, err := api.ParseDuration(text)
	if err != nil || text == "" || d < 0 || d > maxSpan {
		return now, false
	}
	return now.Add(sign * d), true
}

// claimed is what a template stands for, of a person in a namespace. What there is not is
// the empty value of its kind.
func claimed(p *identity.Person, nsID string, now time.Time) func(name string) any {
	return func(name string) any {
		if rest, ok := strings.CutPrefix(name, "time.now"); ok {
			at, _ := shifted(rest, now)
			return json.Number(strconv.FormatInt(at.Unix(), 10))
		}
		switch name {
		case "identity.entity.groups.ids":
			ids, _ := p.Groups(nsID)
			return api.Full(ids)
		case "identity.entity.groups.names":
			_, names := p.Groups(nsID)
			return api.Full(names)
		}
		if m, ok := p.Pairs(name); ok {
			return m
		}
		v, _ := p.Value(nsID, name)
		return v
	}
}

// claims fills a template in.
func claims(template string, p *identity.Person, nsID string, now time.Time) (map[string]json.RawMessage, error) {
	if template == "" {
		return map[string]json.RawMessage{}, nil
	}
	filled, err := fill(template, claimed(p, nsID, now))
	if err != nil {
		return nil, err
	}
	if len(filled) > maxClaims {
		return nil, api.Errorf(api.TooLarge, "template: makes claims of more than %d bytes for this entity", maxClaims)
	}
	out := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(filled), &out); err != nil {
		return nil, fmt.Errorf("oidc: a template makes no claims: %w", err)
	}
	for name := range out {
		if isReserved(name) { // none passes checkTemplate
			delete(out, name)
		}
	}
	return out, nil
}
