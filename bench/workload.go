package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// listed is how many secrets there are to read and to list.
const listed = 1000

// ring is how many different secrets each client writes in turn, and reads as a person.
const ring = 64

// workload is one kind of request to measure.
type workload struct {
	name string
	slug string // slug is its name in a path.
	// requests are what a client sends in turn, ready to be written to a connection.
	requests func(t *target, client int) [][]byte
}

const (
	payload = `{"data":{"username":"application","password":"correct horse battery staple","url":"postgres://db.internal:5432/app"}}`
	create  = `{"policies":["default"],"ttl":"1h"}`
)

// workloads are what is measured, in the order of the table. Lookups use a token of their own kind, not root.
var workloads = []workload{
	{"KV v2 read", "read", func(t *target, client int) [][]byte {
		return turn(listed, func(i int) []byte { return t.request("GET", secretPath(i+client*17), "") })
	}},
	{"KV v2 read, in 10 groups", "person", func(t *target, client int) [][]byte {
		who := *t
		who.token = t.person
		return turn(ring, func(i int) []byte { return who.request("GET", personPath(i+client*17), "") })
	}},
	{"KV v2 write", "write", func(t *target, client int) [][]byte {
		return turn(ring, func(i int) []byte {
			return t.request("POST", fmt.Sprintf("/v1/bench/data/w/%d-%d", client, i), payload)
		})
	}},
	{"LIST of 1,000 keys", "list", func(t *target, _ int) [][]byte {
		return turn(1, func(int) []byte { return t.request("LIST", "/v1/bench/metadata/app", "") })
	}},
	{"token create", "create", func(t *target, _ int) [][]byte {
		return turn(1, func(int) []byte { return t.request("POST", "/v1/auth/token/create", create) })
	}},
	{"token lookup-self", "lookup", func(t *target, _ int) [][]byte {
		return turn(1, func(int) []byte { return t.request("GET", "/v1/auth/token/lookup-self", "") })
	}},
	{"AppRole login", "login", func(t *target, client int) [][]byte {
		return turn(1, func(int) []byte { return t.request("POST", "/v1/auth/bench/login", t.login(client)) })
	}},
}

func secretPath(i int) string { return fmt.Sprintf("/v1/bench/data/app/key-%04d", i%listed) }

func turn(n int, f func(int) []byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = f(i)
	}
	return all
}

// request is a whole HTTP/1.1 request.
func (t *target) request(method, path, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Vault-Token: %s\r\n", method, path, t.addr, t.token)
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(b.String() + "\r\n" + body)
}

// requestsFor are the client's requests to the target; the bare handler is sent the same bytes but for the path.
func (wl workload) requestsFor(t *target, client int) [][]byte {
	all := wl.requests(t, client)
	if !t.bare {
		return all
	}
	for i, r := range all {
		line, rest, _ := strings.Cut(string(r), " HTTP/1.1")
		method, _, _ := strings.Cut(line, " ")
		if method == "LIST" {
			method = "GET"
		}
		all[i] = fmt.Appendf(nil, "%s /%s HTTP/1.1%s", method, wl.slug, rest)
	}
	return all
}

// teach makes the bare handler answer what the server answers.
func (wl workload) teach(server, bare *target) error {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wl.requests(server, 0)[0])))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	asker := *server
	asker.token = req.Header.Get("X-Vault-Token")
	answer, err := asker.call(req.Method, req.URL.Path, string(body))
	if err != nil {
		return err
	}
	_, err = bare.call("POST", "/learn/"+wl.slug, answer)
	return err
}

// write writes what will be read. A peer may not be ready at once for what is versioned.
func (t *target) write(path string) (err error) {
	for range 50 {
		if _, err = t.call("POST", path, payload); err == nil || !strings.Contains(err.Error(), "Upgrading") {
			return err
		}
		<-time.After(100 * time.Millisecond)
	}
	return err
}

// prepare mounts an engine, writes what will be read, and exchanges the token for one that is not root.
func (t *target) prepare() error {
	if t.bare {
		return nil
	}
	if _, err := t.call("POST", "/v1/sys/mounts/bench", `{"type":"kv","options":{"version":"2"}}`); err != nil {
		return err
	}
	for i := range listed {
		if err := t.write(secretPath(i)); err != nil {
			return err
		}
	}
	if err := t.prepareLogins(); err != nil {
		return err
	}
	if err := t.preparePerson(); err != nil {
		return err
	}
	rules := `{"policy":"path \"bench/*\" { capabilities = [\"create\",\"read\",\"update\",\"list\"] }\npath \"auth/token/*\" { capabilities = [\"create\",\"read\",\"update\"] }"}`
	if _, err := t.call("POST", "/v1/sys/policies/acl/bench", rules); err != nil {
		return err
	}
	text, err := t.call("POST", "/v1/auth/token/create", `{"policies":["bench"],"ttl":"24h"}`)
	if err != nil {
		return err
	}
	var made struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		return fmt.Errorf("reading the new token: %w", err)
	}
	t.token = made.Auth.ClientToken
	return nil
}

// roles is how many roles there are to log in by.
const roles = 8

// login is the body of a client's logins; the bare handler takes one of the same length.
func (t *target) login(client int) string {
	if t.bare {
		return `{"role_id":"role-0","secret_id":"00000000-0000-0000-0000-000000000000"}`
	}
	return t.logins[client%len(t.logins)]
}

// prepareLogins makes roles, and a secret id of each.
func (t *target) prepareLogins() error {
	if _, err := t.call("POST", "/v1/sys/auth/bench", `{"type":"approle"}`); err != nil {
		return err
	}
	for i := range roles {
		role := fmt.Sprintf("/v1/auth/bench/role/app-%d", i)
		if _, err := t.call("POST", role, fmt.Sprintf(`{"token_policies":"default","token_ttl":"24h","role_id":"role-%d"}`, i)); err != nil {
			return err
		}
		text, err := t.call("POST", role+"/secret-id", "{}")
		if err != nil {
			return err
		}
		var made struct {
			Data struct {
				SecretID string `json:"secret_id"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			return fmt.Errorf("reading the secret id: %w", err)
		}
		t.logins = append(t.logins, fmt.Sprintf(`{"role_id":"role-%d","secret_id":%q}`, i, made.Data.SecretID))
	}
	return nil
}
