// Package wrapping owns wrapped answers: an answer that is kept, encrypted like
// everything in the store, for the bearer of a single-use token, and handed out
// once.
//
// In namespace N, N/wrapping/<token hash> is the answer. It is written in the
// commit that makes its token and removed in the commit that takes it out, which
// also kills the token: whoever commits that has the answer, and everybody else
// finds no token. An answer that nobody takes out goes when its token is revoked
// or expires.
package wrapping

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// MaxAnswer bounds what can be wrapped: an answer as it is kept, in bytes. It goes
// into one commit with its token.
const MaxAnswer = 640 << 10

// Store keeps wrapped answers. It is safe for concurrent use.
type Store struct {
	store   store.Store // the whole encrypted store
	tokens  *token.Store
	address string
	closed  func(ctx context.Context, nsID string) error
}

// New keeps answers in the store that the tokens are in. The address is where
// clients reach this node, which tokens in JWT form tell. closed is why no request reaches
// a namespace that is sealed or locked; nil where one does.
func New(s store.Store, tokens *token.Store, address string, closed func(ctx context.Context, nsID string) error) *Store {
	return &Store{store: s, tokens: tokens, address: address, closed: closed}
}

func rowKey(nsID, tokenID string) string { return nsID + "/wrapping/" + tokenID }

// row is the stored form of an answer.
type row struct {
	Data          json.RawMessage `json:"data,omitempty"`
	Raw           *api.Raw        `json:"raw,omitempty"`
	Auth          *authRow        `json:"auth,omitempty"`
	LeaseID       string          `json:"lease_id,omitempty"`
	Renewable     bool            `json:"renewable,omitempty"`
	LeaseDuration time.Duration   `json:"lease_duration,omitempty"`
	MountType     string          `json:"mount_type,omitempty"`
	Warnings      []string        `json:"warnings,omitempty"`
}

// authRow is an Auth together with its token, which hides the field that would
// be written as [redacted].
type authRow struct {
	api.Auth
	ClientToken string
}

func encode(a *api.Answer) ([]byte, error) {
	r := row{Data: a.Data, Raw: a.Raw, LeaseID: a.LeaseID, Renewable: a.Renewable, LeaseDuration: a.LeaseDuration, MountType: a.MountType, Warnings: a.Warnings}
	if a.Auth != nil {
		r.Auth = &authRow{*a.Auth, a.Auth.ClientToken.Reveal()}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // what is kept is what would have been answered
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("wrapping: the answer cannot be encoded: %w", err)
	}
	b := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if len(b) > MaxAnswer {
		return nil, api.Errorf(api.TooLarge, "the answer is larger than %d KiB and cannot be wrapped", MaxAnswer>>10)
	}
	return b, nil
}

func decode(b []byte) (*api.Answer, error) {
	var r row
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("wrapping: answer cannot be read: %w", store.ErrCorrupt)
	}
	a := &api.Answer{Data: r.Data, Raw: r.Raw, LeaseID: r.LeaseID, Renewable: r.Renewable, LeaseDuration: r.LeaseDuration, MountType: r.MountType, Warnings: r.Warnings}
	if r.Auth != nil {
		a.Auth = &r.Auth.Auth
		a.Auth.ClientToken = api.NewSecret(r.Auth.ClientToken)
	}
	return a, nil
}

// Wrap keeps an answer of the call's namespace for the call's WrapTTL. path is
// where the answer was asked for. It returns TooLarge above MaxAnswer.
func (s *Store) Wrap(c *api.Call, path string, a *api.Answer) (*api.WrapInfo, error) {
	value, err := encode(a)
	if err != nil {
		return nil, err
	}
	info, err := s.issue(c, c.Namespace.ID, path, c.WrapTTL, func(tx *store.Tx, t *token.Token) error {
		tx.Put(rowKey(t.NamespaceID, t.ID), value)
		return nil
	})
	if err == nil {
		info.WrappedAccessor = accessorOf(a)
	}
	return info, err
}

// accessorOf is by what the token or the secret id (of approle) that an answer
// holds can be ended without being unwrapped; empty where it holds neither.
func accessorOf(a *api.Answer) string {
	if a.Auth != nil {
		return a.Auth.Accessor
	}
	var issued struct {
		Accessor string `json:"secret_id_accessor"`
	}
	if a.MountType != "approle" || json.Unmarshal(a.Data, &issued) != nil {
		return ""
	}
	return issued.Accessor
}

// issue makes a wrapping token in one commit with what put writes, in the form
// that the call asks for.
func (s *Store) issue(c *api.Call, nsID, path string, ttl time.Duration, put func(*store.Tx, *token.Token) error) (*api.WrapInfo, error) {
	var key *ecdsa.PrivateKey // before the token, which would be lost without it
	var err error
	if c.WrapJWT {
		if key, err = s.signingKey(c); err != nil {
			return nil, err
		}
	}
	a, err := s.tokens.Issue(c, token.Spec{
		Auth: api.Auth{TTL: ttl, NumUses: 1, NoDefaultPolicy: true}, Namespace: nsID, Path: path, Now: c.Now,
		Wrapping: true, With: put, Warn: c.Warn, Exempt: c.Caller.Root,
	})
	if err != nil {
		return nil, err
	}
	info := &api.WrapInfo{Token: a.ClientToken, Accessor: a.Accessor, TTL: a.TTL, CreationTime: c.Now, CreationPath: path}
	if c.WrapJWT {
		err = s.toJWT(key, info)
	}
	return info, err
}

// take kills a token and takes its answer, as it is stored, out of the store.
func (s *Store) take(c *api.Call, tx *store.Tx, t *token.Token) ([]byte, error) {
	if err := s.tokens.Consume(tx, t.NamespaceID, t.ID, c.Now); err != nil {
		return nil, refusal(err)
	}
	k := rowKey(t.NamespaceID, t.ID)
	e, err := tx.Get(k)
	if err != nil {
		return nil, err
	}
	if !e.Exists() {
		return nil, errToken()
	}
	tx.Delete(k)
	return e.Value, nil
}

// Withdraw ends a wrapping token that nobody was told of, with the answer that it stands for.
func (s *Store) Withdraw(c *api.Call, info *api.WrapInfo) error {
	t, err := s.find(c, info.Token)
	if err != nil {
		return err
	}
	_, err = store.Update(c, s.store, func(tx *store.Tx) error {
		_, err := s.take(c, tx, t)
		return err
	})
	return err
}

// find is the wrapping token that a request is about: the one it names, else the
// one that was presented; either may be in JWT form. It may be of another namespace than
// the request, which must be one that requests reach.
func (s *Store) find(c *api.Call, named api.Secret) (*token.Token, error) {
	if named.Empty() {
		named = c.Caller.Token
	}
	if named.Empty() {
		return nil, &api.Error{Kind: api.Denied, Message: "no wrapping token was given", Hint: "send it as X-Vault-Token or as the parameter token"}
	}
	text := named.Reveal()
	if jwtForm(text) {
		var err error
		if text, err = s.fromJWT(c, text, c.Now); err != nil {
			return nil, err
		}
	}
	t, err := s.tokens.Lookup(c, text, c.Now)
	if err != nil {
		return nil, refusal(err)
	}
	if !t.Wrapping() {
		return nil, errToken()
	}
	if t.NamespaceID != c.Namespace.ID {
		err = s.closed(c, t.NamespaceID)
	}
	return t, err
}

// Home is the namespace of the wrapping token that a request is about, by its identifier;
// empty where there is none.
func (s *Store) Home(c *api.Call, named api.Secret) (string, error) {
	t, err := s.find(c, named)
	if t != nil {
		return t.NamespaceID, nil
	}
	if kind := api.KindOf(err); kind == api.Invalid || kind == api.Denied {
		err = nil // the handler says so
	}
	return "", err
}

// errToken is the one answer for whatever is no live wrapping token.
func errToken() *api.Error {
	return api.Errorf(api.Invalid, "wrapping token is not valid or does not exist")
}

// refusal is the token store's denial in the words of this package.
func refusal(err error) error {
	if api.KindOf(err) == api.Denied {
		return errToken()
	}
	return err
}

// Erase removes the answer that a token stood for, if it is a wrapping token. It
// is for a token that is dead, and may be repeated.
func (s *Store) Erase(ctx context.Context, nsID, tokenID string) error {
	k := rowKey(nsID, tokenID)
	e, err := s.store.Get(ctx, k)
	if err != nil || !e.Exists() {
		return err
	}
	_, err = s.store.Commit(ctx, nil, []store.Write{{Key: k, Delete: true}})
	return err
}
