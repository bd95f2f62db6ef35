// Package settings owns how the HTTP doors of all nodes behave towards browsers:
// which origins may ask (CORS), and which further headers answers carry. It is
// stored, and changed while the servers run.
package settings

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Rows, in the root namespace.
const (
	settingsPrefix = "root/settings/"
	corsKey        = settingsPrefix + "cors"
	headerPrefix   = settingsPrefix + "header/"
)

// Settings are what doors go by. They must not be modified.
type Settings struct {
	CORS    *CORS       // nil: no origin is known
	Headers http.Header // that answers carry, by canonical name
}

// CORS says which origins may ask. The zero CORS lets none.
type CORS struct {
	Origins     []string `json:"origins"` // as browsers spell them, or * alone for any
	Headers     []string `json:"headers"` // that requests may carry beside the usual ones
	Credentials bool     `json:"credentials"`
}

// Allows reports whether an origin, as a browser spells it, may ask.
func (c *CORS) Allows(origin string) bool {
	return slices.Contains(c.Origins, "*") || slices.ContainsFunc(c.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// namespaceHeader may be carried by requests of the origins, and is not among what is read of the settings: Terraform's
// provider takes whatever others do not answer there for a setting that somebody has made.
const namespaceHeader = "X-Vault-Namespace"

// AllowedHeaders are all headers that requests of the origins may carry.
func (c *CORS) AllowedHeaders() []string { return append(c.shownHeaders(), namespaceHeader) }

// shownHeaders are those that are read of the settings.
func (c *CORS) shownHeaders() []string {
	return append([]string{"Content-Type", "Authorization", "X-Vault-Token", "X-Vault-MFA", "X-Vault-No-Request-Forwarding", "X-Vault-Wrap-Format",
		"X-Vault-Wrap-TTL", "X-Requested-With", "X-Vault-AWS-IAM-Server-ID", "X-Vault-Policy-Override"}, c.Headers...)
}

// Store keeps the settings of all nodes.
type Store struct {
	store store.Store
	cache *store.Cache
	memo  *store.Memo[struct{}, *Settings]

	damaged *store.Quarantine
}

// New keeps settings in the encrypted store. damaged is told which of their rows
// are damaged; nil: nobody is.
func New(s store.Store, cache *store.Cache, damaged *store.Quarantine) *Store {
	out := &Store{store: s, cache: cache, damaged: damaged}
	out.memo = store.NewMemo(cache, 1, out.load)
	return out
}

// header is the stored form of a header.
type header struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// loadTime bounds how long answers wait for the settings, those of sys/health among them, when the store does not answer.
const loadTime = time.Second

// load reads the settings. A damaged header is left out of answers. A damaged CORS
// lets no origin ask: that none was configured would let browsers show what they got without asking.
func (s *Store) load(ctx context.Context, r store.Reader, _ struct{}) (*Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	out := &Settings{Headers: http.Header{}}
	var damaged []string
	e, err := r.Get(ctx, corsKey)
	if err == nil && e.Exists() {
		out.CORS, err = store.DecodeJSON[CORS](e)
	}
	switch {
	case errors.Is(err, store.ErrCorrupt) && e.Exists():
		out.CORS, damaged = &CORS{}, append(damaged, corsKey)
	case err != nil:
		return nil, err
	}
	headers, err := store.SiftJSON(ctx, r, store.Prefix(headerPrefix), func(_ store.Entry, h *header) { out.Headers[h.Name] = h.Values })
	if err != nil {
		return nil, err
	}
	s.damaged.Found(settingsPrefix, append(damaged, store.Keys(headers)...)...)
	return out, nil
}

// Current are the settings as of no earlier than the last commit that this
// node's cache has applied. It is what every answer pays for: nothing is waited for.
func (s *Store) Current(ctx context.Context) (*Settings, error) { return s.memo.Get(ctx, struct{}{}) }

// Fresh are the settings as of no earlier than any change that was acknowledged,
// on any node, before the call: for deciding which origin may ask.
func (s *Store) Fresh(ctx context.Context) (*Settings, error) {
	if _, err := s.cache.Fresh(ctx); err != nil {
		return nil, err
	}
	return s.Current(ctx)
}

// write puts or, when v is nil, deletes a row, and returns once this node goes by it.
func (s *Store) write(c *api.Call, key string, v any) error {
	w := store.Write{Key: key, Delete: v == nil}
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		w.Value = b
	}
	if _, err := s.store.Commit(c, nil, []store.Write{w}); err != nil {
		return err
	}
	_, err := s.cache.Fresh(c)
	return err
}
