package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// reuseRow is the text of a token that may be handed out again. It stands and falls with
// the token's row, and is encrypted as every row is.
type reuseRow struct {
	TokenID string `json:"token"`
	Text    string `json:"text"`
}

func reuseKey(ns, likeness string) string { return ns + "/token/reuse/" + likeness }

// reuses reports whether a live token may be handed out in place of a new one: of a
// login by somebody who is known, a service token that any number of requests can use.
func (sp Spec) reuses(t *Token) bool {
	return sp.Reuse && t.Login && t.EntityID != "" && t.Type == Service && t.NumUses == 0 && sp.ID.Empty() && sp.With == nil
}

// likeness is the same for two tokens of a namespace when they are the same in all but
// their names and times: mount, path, role, entity, alias, policies, metadata, addresses,
// terms, and what a renewal looks at again. It is keyed, so that nobody can try
// from a stolen store who has logged in.
func (s *Store) likeness(ctx context.Context, t *Token) (string, error) {
	like := *t
	like.Accessor, like.Quota, like.Reuse, like.TTL = "", "", "", 0
	like.CreationTime, like.ExpireTime, like.LastRenewal, like.Due = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	text, err := json.Marshal(&like)
	if err != nil {
		return "", fmt.Errorf("token: encode likeness: %w", err)
	}
	hash, err := s.Keys.TokenHash(ctx, t.NamespaceID, "login like "+string(text)) // with spaces, so that it is no token's text
	if err != nil {
		return "", fmt.Errorf("token: hash: %w", err)
	}
	return hash, nil
}

// errAlike says that a token which may be handed out in place of the new one was made meanwhile.
var errAlike = errors.New("token: there is one like it")

// found is a live token that may be handed out again.
type found struct {
	token *Token
	text  string
}

// auth is the answer that hands it out.
func (f *found) auth(now time.Time) *api.Auth {
	a := f.token.auth(f.text)
	a.TTL, a.Reused = f.token.ttlLeft(now), true
	return a
}

// issueAgain hands out a live token that is as this one would be; else this one, which then is
// what the next such login gets. Of logins at the same time, on any nodes, one makes a token.
func (s *Store) issueAgain(ctx context.Context, t *Token, sp Spec) (*api.Auth, error) {
	var err error
	if t.Reuse, err = s.likeness(ctx, t); err != nil {
		return nil, err
	}
	live, err := s.alike(ctx, t, func(key string) (store.Entry, error) { return s.Store.Get(ctx, key) })
	if err != nil {
		return nil, err
	}
	if live != nil {
		return live.auth(sp.Now), nil
	}
	text, err := s.create(ctx, t, creation{exempt: sp.Exempt, with: func(tx *store.Tx, t *Token, text string) (err error) {
		if live, err = s.alike(ctx, t, tx.Get); err != nil {
			return err
		}
		if live != nil {
			return errAlike
		}
		return keep(tx, t, text)
	}})
	switch {
	case errors.Is(err, errAlike):
		return live.auth(sp.Now), nil
	case err != nil:
		return nil, err
	}
	return t.auth(text), nil
}

// alike is a live token that may be handed out in place of t, which is about to be made;
// nil when there is none. What was acknowledged before the call is seen, by a
// transaction also what was until its commit. A token that has less than half of
// the time left which a new one would have is not handed out, nor one that another quota counts than
// the new one's.
func (s *Store) alike(ctx context.Context, t *Token, get func(string) (store.Entry, error)) (*found, error) {
	f, err := s.kept(t, get)
	if errors.Is(err, store.ErrCorrupt) { // the new one's takes its place
		s.tell(err)
		return nil, nil
	}
	if err != nil || f == nil {
		return nil, err
	}
	if now := t.CreationTime; !f.token.Alive(now) || f.token.ttlLeft(now) < t.CreationTTL/2 {
		return nil, nil
	}
	if same, err := s.likeness(ctx, f.token); err != nil || same != t.Reuse { // by a renewal, say
		return nil, err
	}
	if s.Counter != nil {
		if right, err := s.Counter.Counts(ctx, f.token.counted(false), f.token.Quota); err != nil || !right {
			return nil, err
		}
	}
	return f, nil
}

// kept is the token that was last made like t, alive or not; nil when its row is gone.
func (s *Store) kept(t *Token, get func(string) (store.Entry, error)) (*found, error) {
	e, err := get(reuseKey(t.NamespaceID, t.Reuse))
	if err != nil || !e.Exists() {
		return nil, err
	}
	row, err := store.DecodeJSON[reuseRow](e)
	if err != nil {
		return nil, err
	}
	k := rowKey{t.NamespaceID, row.TokenID}
	e, err = get(k.String())
	if err != nil || !e.Exists() {
		return nil, err
	}
	live, err := decodeToken(k, e.Value)
	if err != nil {
		return nil, err
	}
	return &found{live, row.Text}, nil
}

// keep keeps the text of a token that is being made.
func keep(tx *store.Tx, t *Token, text string) error {
	value, err := json.Marshal(reuseRow{t.ID, text})
	if err != nil {
		return fmt.Errorf("token: encode text: %w", err)
	}
	tx.Put(reuseKey(t.NamespaceID, t.Reuse), value)
	return nil
}

// forget removes the text of a token that is dead, if it is kept; that of a later one stays.
func (s *Store) forget(tx *store.Tx, t *Token) error {
	if t.Reuse == "" {
		return nil
	}
	e, err := tx.Get(reuseKey(t.NamespaceID, t.Reuse))
	if err == nil && !e.Exists() {
		return nil
	}
	var row *reuseRow
	if err == nil {
		row, err = store.DecodeJSON[reuseRow](e)
	}
	switch {
	case errors.Is(err, store.ErrCorrupt):
		s.tell(err)
	case err != nil:
		return err
	case row.TokenID != t.ID:
		return nil
	}
	tx.Delete(reuseKey(t.NamespaceID, t.Reuse))
	return nil
}
