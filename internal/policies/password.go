package policies

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// passwordRow is the stored form of a password policy.
type passwordRow struct {
	Text string `json:"policy"`
}

func passwordPrefix(nsID string) string    { return nsID + "/policy/password/" }
func passwordKey(nsID, name string) string { return passwordPrefix(nsID) + name }

// passwordRoutes are the endpoints of password policies.
func passwordRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.List, "policies/password", (*Store).listPasswords),
		api.Handle(api.Read, "policies/password/{name}", (*Store).readPassword),
		api.Handle(api.Write, "policies/password/{name}", (*Store).writePassword),
		api.Handle(api.Delete, "policies/password/{name}", (*Store).removePassword),
		api.Handle(api.Read, "policies/password/{name}/generate", (*Store).generate),
	}
}

// PasswordWriteRequest creates or replaces a password policy.
type PasswordWriteRequest struct {
	Name   api.Name `path:"name"`                 // Name of the password policy.
	Policy string   `json:"policy" audit:"clear"` // Its text in HCL or JSON, plain or in base64: length, and rule "charset" blocks with charset and min-chars.
}

// PasswordPolicy is a password policy's text.
type PasswordPolicy struct {
	Policy string `json:"policy" audit:"clear"`
}

// GeneratedPassword is a password that was generated.
type GeneratedPassword struct {
	Password api.Disclosed `json:"password"`
}

// listPasswords lists the names of the password policies.
func (s *Store) listPasswords(c *api.Call, q *PageRequest) (*api.Keys, error) {
	r := store.Prefix(passwordPrefix(c.Namespace.ID))
	r.KeysOnly = true
	es, err := s.store.List(c, r)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(es))
	for _, e := range es {
		names = append(names, strings.TrimPrefix(e.Key, passwordPrefix(c.Namespace.ID)))
	}
	return &api.Keys{Keys: page(names, q)}, nil
}

// passwordText is a password policy's text.
func (s *Store) passwordText(ctx context.Context, nsID, name string) (string, error) {
	e, err := s.store.Get(ctx, passwordKey(nsID, name))
	if err != nil {
		return "", err
	}
	if !e.Exists() {
		return "", api.Errorf(api.NotFound, "policy does not exist")
	}
	row, err := store.DecodeJSON[passwordRow](e)
	if err != nil {
		return "", err
	}
	return row.Text, nil
}

// readPassword answers a password policy's text.
func (s *Store) readPassword(c *api.Call, q *NameRequest) (*PasswordPolicy, error) {
	text, err := s.passwordText(c, c.Namespace.ID, string(q.Name))
	if err != nil {
		return nil, err
	}
	return &PasswordPolicy{Policy: text}, nil
}

// writePassword creates or replaces a password policy. One that no password
// could meet is refused.
func (s *Store) writePassword(c *api.Call, q *PasswordWriteRequest) (*api.None, error) {
	text := plain(q.Policy)
	if strings.TrimSpace(text) == "" {
		return nil, api.Errorf(api.Invalid, "missing policy")
	}
	if _, err := policy.ParsePassword(string(q.Name), text); err != nil {
		return nil, api.Errorf(api.Invalid, "invalid password policy: %v", err)
	}
	b, err := json.Marshal(passwordRow{Text: text})
	if err != nil {
		return nil, err
	}
	_, err = s.store.Commit(c, nil, []store.Write{{Key: passwordKey(c.Namespace.ID, string(q.Name)), Value: b}})
	return nil, err
}

// removePassword deletes a password policy; one that is absent is no error.
func (s *Store) removePassword(c *api.Call, q *NameRequest) (*api.None, error) {
	_, err := s.store.Commit(c, nil, []store.Write{{Key: passwordKey(c.Namespace.ID, string(q.Name)), Delete: true}})
	return nil, err
}

// generate answers a password that meets the policy. It is kept nowhere.
func (s *Store) generate(c *api.Call, q *NameRequest) (*GeneratedPassword, error) {
	password, err := s.GeneratePassword(c, c.Namespace.ID, string(q.Name))
	if err != nil {
		return nil, err
	}
	return &GeneratedPassword{Password: api.Disclosed(password)}, nil
}

// GeneratePassword draws a password that meets a namespace's password policy,
// from the system's randomness. It returns NotFound without such a policy.
func (s *Store) GeneratePassword(ctx context.Context, nsID, name string) (string, error) {
	text, err := s.passwordText(ctx, nsID, name)
	if err != nil {
		return "", err
	}
	p, err := policy.ParsePassword(name, text)
	if err != nil {
		return "", fmt.Errorf("stored password policy %s: %w", passwordKey(nsID, name), err)
	}
	password, err := p.Generate(rand.Reader)
	if errors.Is(err, policy.ErrImprobable) {
		return "", &api.Error{Kind: api.Unavailable, Message: "no password that meets the policy was found", Hint: "ask again, or lower its min-chars"}
	}
	return password, err
}
