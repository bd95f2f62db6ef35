// Package issuer owns what is known of those who sign tokens: their keys, and what an OpenID
// provider says of itself. It is asked for over HTTP, kept in a row of the mount with the time it was
// fetched, and asked for anew when it is old or a token names a key that is not there; of all nodes
// one asks, and not often, whatever strangers send.
package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// How long what was fetched from an issuer is used.
const (
	Fresh      = time.Hour        // then it is fetched again
	Usable     = 24 * time.Hour   // then, when it could not be fetched, it is used no more
	AskEvery   = 5 * time.Second  // at most so often, by all nodes together, is an issuer asked for a key that is not known
	askTimeout = 10 * time.Second // an answer that has not come by then does not come
)

// maxListed bounds the ways to show who a client is that a provider names.
const maxListed = 200

// Source is where an issuer's keys come from: from what a provider says of itself, or from an
// address.
type Source struct {
	ID        string                        // of the configuration: another with each change
	Row       string                        // where in the mount's store it is kept
	Discovery string                        // address of the OpenID provider, or empty
	Name      string                        // what the provider must call itself; empty: by its address
	JWKS      string                        // address of the keys, where there is no provider
	CA        string                        // certificates that the server's must come from; empty: the system's
	Still     func(*store.Tx) (bool, error) // whether the configuration is still that one
}

// Known is what was fetched of an issuer.
type Known struct {
	Of      string    `json:"of"` // Source.ID that it was fetched by
	Fetched time.Time `json:"fetched"`
	Asked   time.Time `json:"asked"` // last, with or without an answer
	Keys    []jws.Key `json:"keys"`
	Meta    *Metadata `json:"meta,omitempty"`
}

// Metadata is what an OpenID provider says of itself (OpenID Connect Discovery 1.0, 3).
type Metadata struct {
	Issuer        string   `json:"issuer"`
	JWKS          string   `json:"jwks_uri"`
	Authorization string   `json:"authorization_endpoint,omitempty"`
	Token         string   `json:"token_endpoint,omitempty"`
	UserInfo      string   `json:"userinfo_endpoint,omitempty"`
	Device        string   `json:"device_authorization_endpoint,omitempty"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported,omitempty"`
}

// Question is a request to an issuer.
type Question struct {
	Method, Target string
	Header         http.Header
	Body           []byte
}

// Ask asks an issuer and wants its answer to be a JSON object, whatever its status.
func Ask(ctx context.Context, ca string, q Question) (*outbound.Answer, error) {
	if q.Header == nil {
		q.Header = http.Header{}
	}
	q.Header.Set("Accept", "application/json")
	return outbound.Peer{CAPEM: ca, Timeout: askTimeout}.Do(ctx, q.Method, q.Target, q.Header, q.Body)
}

func get(ctx context.Context, ca, target string) ([]byte, error) {
	a, err := Ask(ctx, ca, Question{Method: http.MethodGet, Target: target})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, jws.Wrong("the answer has status %d", a.Status)
	}
	return a.Body, nil
}

// discover asks a provider what it says of itself.
func (s *Source) discover(ctx context.Context) (*Metadata, error) {
	b, err := get(ctx, s.CA, strings.TrimSuffix(s.Discovery, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var m Metadata
	if _, err := api.ParseBodyWithin(b, jws.MaxValues); err != nil || json.Unmarshal(b, &m) != nil {
		return nil, jws.Wrong("what the provider says of itself is not as OpenID Connect Discovery wants it")
	}
	name := s.Name
	if name == "" {
		name = s.Discovery
	}
	if strings.TrimSuffix(m.Issuer, "/") != strings.TrimSuffix(name, "/") {
		return nil, jws.Wrong("the provider calls itself another issuer than it was asked as")
	}
	for _, u := range []string{m.JWKS, m.Authorization, m.Token, m.UserInfo, m.Device} {
		if u == "" && u != m.JWKS {
			continue
		}
		if err := outbound.CheckURL(u); err != nil {
			return nil, jws.Wrong("an address that the provider names %v", err)
		}
	}
	if len(m.TokenAuth) > maxListed {
		m.TokenAuth = nil
	}
	return &m, nil
}

// Fetch asks the issuer for its keys, and for what it says of itself.
func (s *Source) Fetch(ctx context.Context) ([]jws.Key, *Metadata, error) {
	target, meta := s.JWKS, (*Metadata)(nil)
	if s.Discovery != "" {
		var err error
		if meta, err = s.discover(ctx); err != nil {
			return nil, nil, err
		}
		target = meta.JWKS
	}
	b, err := get(ctx, s.CA, target)
	if err != nil {
		return nil, nil, err
	}
	keys, err := jws.ParseKeys(b)
	return keys, meta, err
}

// ErrAsking is for who comes while nothing that could be used is known of the issuer.
func ErrAsking() *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "the issuer's keys are not known yet, or could not be fetched", Hint: "try again in a few seconds"}
}

// errAway is ErrAsking with why, for the log, or Forbidden. What is wrong with an issuer's answer is nothing that is wrong with a
// token.
func errAway(why error) *api.Error {
	if f := outbound.Forbidden(why); f != nil {
		return f
	}
	e := ErrAsking()
	e.Err = errors.New("the issuer was asked: " + why.Error())
	return e
}

// Current is what is known of the issuer; it is fetched when it is too old, or was never fetched.
func (s *Source) Current(c *api.Call) (*Known, error) {
	k, err := store.LoadJSON[Known](c, c.Store, s.Row)
	if err != nil {
		return nil, err
	}
	if k == nil {
		k = &Known{}
	}
	if k.Of == s.ID && near(k.Fetched, c.Now, Fresh) {
		return k, nil
	}
	newer, away, err := s.refresh(c)
	switch {
	case err != nil:
		return nil, err
	case newer != nil:
		return newer, nil
	case s.Usable(k, c.Now):
		return k, nil // it could not be fetched, or another is at it
	}
	return nil, away
}

// Usable reports whether something is known by the source that can be used still.
func (s *Source) Usable(k *Known, now time.Time) bool {
	return k.Of == s.ID && near(k.Fetched, now, Usable)
}

// near reports whether a moment lies within a span before now, or a little after it: the
// clocks of nodes differ.
func near(then, now time.Time, span time.Duration) bool {
	age := now.Sub(then)
	return age < span && age > -time.Minute
}

// refresh fetches the issuer's keys, unless it was asked a moment ago: then, and when the issuer does not
// answer, there is no issuer and no error, and away is for who has no other keys. Of all nodes one asks.
func (s *Source) refresh(c *api.Call) (newer *Known, away, failed error) {
	mine := false
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var k Known
		if _, err := tx.LoadJSON(s.Row, &k); err != nil {
			return err
		}
		if k.Of != s.ID {
			k = Known{Of: s.ID}
		}
		if mine = !near(k.Asked, c.Now, AskEvery); !mine {
			return nil
		}
		k.Asked = c.Now
		return tx.PutJSON(s.Row, &k)
	})
	if err != nil || !mine {
		return nil, ErrAsking(), err
	}
	ctx := context.WithoutCancel(c) // nobody else asks for a while: this goes on though who asked goes away
	keys, meta, err := s.Fetch(ctx)
	if err != nil { // what is known is used while it may be
		return nil, errAway(err), nil
	}
	k := &Known{Of: s.ID, Fetched: c.Now, Asked: c.Now, Keys: keys, Meta: meta}
	_, err = store.Update(ctx, c.Store, func(tx *store.Tx) error {
		if still, err := s.Still(tx); err != nil || !still {
			return err // the configuration is another by now
		}
		return tx.PutJSON(s.Row, k)
	})
	return k, nil, err
}

// Read verifies a token's signature by the issuer's keys, and answers what it says. A key that is not
// known is asked for.
func (s *Source) Read(c *api.Call, raw string, allowed []string) (jws.Claims, error) {
	raw = strings.TrimSpace(raw)
	h, err := jws.HeaderOf(raw)
	if err != nil {
		return nil, err
	}
	k, err := s.Current(c)
	if err != nil {
		return nil, err
	}
	said, err := jws.Read(raw, k.Keys, allowed)
	if err == nil || !errors.Is(err, jws.ErrSignature) || len(jws.Candidates(k.Keys, h.Kid)) > 0 && h.Kid != "" {
		return said, err
	}
	newer, _, err := s.refresh(c)
	switch {
	case err != nil:
		return nil, err
	case newer == nil && k.Asked.After(k.Fetched) && near(k.Asked, c.Now, askTimeout):
		return nil, ErrAsking()
	case newer == nil:
		return nil, jws.ErrSignature
	}
	return jws.Read(raw, newer.Keys, allowed)
}
