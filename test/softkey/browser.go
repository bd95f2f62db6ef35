package softkey

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// page is what a page is asked for behind the # of its address.
type page struct {
	What    string          `json:"what"`
	Options json.RawMessage `json:"options"`
	Port    int             `json:"port"`
	State   string          `json:"state"`
}

// Browse does what a browser and the server's page do with an address that a program shows: it follows it to the page,
// has the passkey made or shown, and hands what comes of it to the program. It answers what the program said.
func (a *Authenticator) Browse(ctx context.Context, address string) (string, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	_, header, err := fetch(ctx, client, http.MethodGet, address, "")
	if err != nil {
		return "", err
	}
	to, err := url.Parse(header.Get("Location"))
	if err != nil {
		return "", err
	}
	if origin := to.Scheme + "://" + to.Host; origin != a.Origin {
		return "", fmt.Errorf("the page is at %s", origin)
	}
	var asked page
	text, err := base64.RawURLEncoding.DecodeString(to.Fragment)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(text, &asked); err != nil {
		return "", err
	}
	to.Fragment = ""
	body, header, err := fetch(ctx, client, http.MethodGet, to.String(), "")
	if err != nil {
		return "", err
	}
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(body, "navigator.credentials") || !strings.Contains(policy, "form-action http://127.0.0.1:*;") {
		return "", fmt.Errorf("the page may do %q", policy)
	}
	made, err := a.Get(asked.Options)
	if asked.What == "create" {
		made, err = a.Create(asked.Options)
	}
	if err != nil {
		return "", err
	}
	form := url.Values{"state": {asked.State}, "credential": {made}}
	body, _, err = fetch(ctx, client, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/passkey", asked.Port), form.Encode())
	return body, err
}

func fetch(ctx context.Context, client *http.Client, method, address, form string) (string, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return "", nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return "", nil, fmt.Errorf("%s %s: %s", method, address, resp.Status)
	}
	return string(body), resp.Header, nil
}
