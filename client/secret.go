package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Secret is the envelope that most answers come in. Numbers within Data are
// json.Number. Marshalled as JSON it has the shape that Vault's CLI prints.
type Secret struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int            `json:"lease_duration"` // seconds
	Renewable     bool           `json:"renewable"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	Auth          *Auth          `json:"auth,omitempty"`
	WrapInfo      *WrapInfo      `json:"wrap_info,omitempty"`
}

// Auth is what a login or a new token answers.
type Auth struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"` // the two lists below together
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	Metadata         map[string]string `json:"metadata"`
	Orphan           bool              `json:"orphan"`
	EntityID         string            `json:"entity_id"`
	LeaseDuration    int               `json:"lease_duration"` // seconds; 0 means that it does not end
	Renewable        bool              `json:"renewable"`
	MFARequirement   json.RawMessage   `json:"mfa_requirement"`
}

// WrapInfo tells where a wrapped answer waits.
type WrapInfo struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int       `json:"ttl"` // seconds
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor"` // of the token inside, if one is
}

// Format implements fmt.Formatter; it prints no value.
func (s *Secret) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "secret(request %s)", s.RequestID) }

// Format implements fmt.Formatter; it prints no token.
func (a *Auth) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "auth(accessor %s)", a.Accessor) }

// Format implements fmt.Formatter; it prints no token.
func (w *WrapInfo) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wrapped(accessor %s)", w.Accessor) }

// Keys returns the names in Data["keys"], as lists answer them.
func (s *Secret) Keys() []string {
	if s == nil {
		return nil
	}
	return stringsOf(s.Data["keys"])
}

func stringsOf(v any) []string {
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Decode converts Data into to, which is anything encoding/json can fill.
func (s *Secret) Decode(to any) error {
	raw, err := json.Marshal(s.Data)
	if err != nil {
		return fmt.Errorf("re-encode the answer's data: %w", err)
	}
	if err := decode(raw, to); err != nil {
		return fmt.Errorf("decode the answer's data: %w", err)
	}
	return nil
}

// decode keeps numbers exact where to has an any.
func decode(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(to)
}

// parseSecret returns nil for an empty body, as 204 answers have.
func parseSecret(body []byte) (*Secret, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	var s Secret
	// Some answers repeat the keys of their data beside them. The catalogue of plugins
	// has one that is called auth and is a list.
	envelope := struct {
		*Secret
		Auth json.RawMessage `json:"auth"`
	}{Secret: &s}
	err := decode(body, &envelope)
	if err == nil && bytes.HasPrefix(envelope.Auth, []byte("{")) {
		err = decode(envelope.Auth, &s.Auth)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is not the JSON expected: %w", err)
	}
	return &s, nil
}

// secret sends req and decodes the envelope.
func (c *Client) secret(ctx context.Context, req Request) (*Secret, error) {
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	s, err := parseSecret(resp.Body)
	if err == nil && s != nil {
		err = s.orBare(resp.Body)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.Path, err)
	}
	return s, nil
}

// orBare takes an object without any member of the envelope, as sys/health and a
// few others answer, for the data.
func (s *Secret) orBare(body []byte) error {
	if s.RequestID != "" || s.Data != nil || s.Auth != nil || s.WrapInfo != nil {
		return nil
	}
	var object map[string]any
	if err := decode(body, &object); err != nil {
		return fmt.Errorf("the answer is not the JSON expected: %w", err)
	}
	for _, member := range []string{"request_id", "lease_id", "lease_duration", "data", "auth", "wrap_info", "warnings", "errors"} {
		if _, ok := object[member]; ok {
			return nil
		}
	}
	if len(object) > 0 {
		s.Data = object
	}
	return nil
}

// data sends req and decodes the data of its envelope into to.
func (c *Client) data(ctx context.Context, req Request, to any) error {
	return c.decodeField(ctx, req, "data", to)
}

// bare sends req and decodes an answer that has no envelope.
func (c *Client) bare(ctx context.Context, req Request, to any) error {
	resp, err := c.Do(ctx, req)
	if err != nil {
		return err
	}
	if err := decode(resp.Body, to); err != nil {
		return fmt.Errorf("%s: decode the answer: %w", req.Path, err)
	}
	return nil
}

func (c *Client) decodeField(ctx context.Context, req Request, field string, to any) error {
	var envelope map[string]json.RawMessage
	if err := c.bare(ctx, req, &envelope); err != nil {
		return err
	}
	if err := decode(envelope[field], to); err != nil {
		return fmt.Errorf("%s: decode the answer's %s: %w", req.Path, field, err)
	}
	return nil
}

// done sends req and drops the answer's body.
func (c *Client) done(ctx context.Context, req Request) error {
	_, err := c.Do(ctx, req)
	return err
}
