package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"
	bao "github.com/openbao/openbao/api/v2"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// must takes a call's value and error, and gives the value to a test that the error ends: must(f())(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// equal compares what as they print, so that a json.Number equals the number it spells.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	if g, w := fmt.Sprintf("%v", got), fmt.Sprintf("%v", want); g != w {
		t.Errorf("%s is %s, want %s", what, g, w)
	}
}

func holds(t *testing.T, what, got, part string) {
	t.Helper()
	if !strings.Contains(got, part) {
		t.Errorf("%s is %q, which lacks %q", what, got, part)
	}
}

// refused checks the status of an error as the client parsed it, and that one of its messages contains the text.
func refused(t *testing.T, err error, status int, text string) {
	t.Helper()
	code, messages := parsed(err)
	if code != status {
		t.Fatalf("got status %d (%v), want %d %q", code, err, status, text)
	}
	if !slices.ContainsFunc(messages, func(m string) bool { return strings.Contains(m, text) }) {
		t.Errorf("errors are %q, want one with %q", messages, text)
	}
}

// refusedSilently checks for an answer of the status whose list of errors is empty.
func refusedSilently(t *testing.T, err error, status int) {
	t.Helper()
	if code, messages := parsed(err); code != status || len(messages) > 0 {
		t.Errorf("got status %d with %q, want %d with no message", code, messages, status)
	}
}

// parsed is the status and the messages either client took out of an error answer; status 0 for any other error.
func parsed(err error) (int, []string) {
	if v := (*vault.ResponseError)(nil); errors.As(err, &v) {
		return v.StatusCode, v.Errors
	}
	if b := (*bao.ResponseError)(nil); errors.As(err, &b) {
		return b.StatusCode, b.Errors
	}
	return 0, nil
}

// absent checks the client's way to say that a read or list found nothing: no secret and no error.
func absent(t *testing.T, what string, s *vault.Secret, err error) {
	t.Helper()
	if err != nil || s != nil {
		t.Errorf("%s gave (%v, %v), want nothing", what, s, err)
	}
}

// keys is the list of names in the answer to a LIST.
func keys(t *testing.T, s *vault.Secret) []string {
	t.Helper()
	if s == nil {
		return nil
	}
	list, isList := s.Data["keys"].([]any)
	if !isList {
		t.Fatalf("keys is %T, want a list", s.Data["keys"])
	}
	names := make([]string, len(list))
	for i, k := range list {
		names[i] = fmt.Sprint(k)
	}
	return names
}

// answer is an answer as it came over the wire.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// send makes a plain request with the client's token; extra are header names and values by turns.
func (c *client) send(t *testing.T, method, path, body string, extra ...string) answer {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), method, c.server.URL+path, strings.NewReader(body)))(t)
	req.Header.Set("X-Vault-Token", c.token)
	for i := 0; i < len(extra); i += 2 {
		req.Header.Set(extra[i], extra[i+1])
		if extra[i+1] == "" {
			req.Header.Del(extra[i])
		}
	}
	resp := must(noRedirects.Do(req))(t)
	text := must(io.ReadAll(resp.Body))(t)
	ok(t, resp.Body.Close())
	return answer{resp.StatusCode, resp.Header, string(text), decoded(t, text)}
}

// decoded is a JSON object with its numbers kept as they were spelt, or nil for an empty body.
func decoded(t *testing.T, text []byte) map[string]any {
	t.Helper()
	if len(text) == 0 || text[0] != '{' {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var body map[string]any
	ok(t, d.Decode(&body))
	return body
}

// at walks nested objects of a decoded answer by the names of the dotted path.
func at(body map[string]any, path string) any {
	var v any = body
	for name := range strings.SplitSeq(path, ".") {
		object, isObject := v.(map[string]any)
		if !isObject {
			return nil
		}
		v = object[name]
	}
	return v
}
