package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/strongroom/strongroom/test/process"
)

// Dev starts a server on the store that is as a development server is in memory: initialised with one unseal key, unsealed,
// with the given root token and no other, and with secret/ mounted as KV version 2. Its files lie in dir.
func (t Template) Dev(bin, dir, token, settings string) (*process.Server, error) {
	s, err := t.Durable(bin, dir, settings)
	if err != nil {
		return nil, err
	}
	if err := Furnish(s.URL, token); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// Furnish makes a new server at url like a development server.
func Furnish(url, token string) error {
	var made struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	if err := call(url+"/v1/sys/init", "", map[string]any{"secret_shares": 1, "secret_threshold": 1}, &made); err != nil {
		return err
	}
	for _, step := range []struct {
		path, as string
		body     map[string]any
	}{
		{"sys/unseal", "", map[string]any{"key": made.Keys[0]}},
		{"auth/token/create-orphan", made.Root, map[string]any{"id": token, "policies": []string{"root"}, "display_name": "token"}},
		{"auth/token/revoke-self", made.Root, nil},
		{"sys/mounts/secret", token, map[string]any{"type": "kv-v2"}},
	} {
		if err := call(url+"/v1/"+step.path, step.as, step.body, nil); err != nil {
			return err
		}
	}
	return nil
}

// call makes a request and reads its answer, unless into is nil.
func call(url, token string, body map[string]any, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest("PUT", url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s answered %d: %s", url, resp.StatusCode, answer)
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}
