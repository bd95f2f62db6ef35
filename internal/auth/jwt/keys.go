package jwt

import (
	"errors"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/store"
)

const issuerRow = "issuer"

// source is where the issuer's keys come from.
func (cfg *config) source() *issuer.Source {
	s := &issuer.Source{ID: cfg.ID, Row: issuerRow, Discovery: cfg.DiscoveryURL, JWKS: cfg.JWKSURL, CA: cfg.JWKSCA}
	if cfg.DiscoveryURL != "" {
		s.CA = cfg.DiscoveryCA
	}
	s.Still = func(tx *store.Tx) (bool, error) {
		var now config
		_, err := tx.LoadJSON(configRow, &now)
		return now.ID == cfg.ID, err
	}
	return s
}

// static are the keys that the configuration itself holds.
func (cfg *config) static() ([]jws.Key, error) {
	out := make([]jws.Key, 0, len(cfg.PublicKeys))
	for _, text := range cfg.PublicKeys {
		k, err := jws.ParsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("jwt: a key of the configuration %w", errors.Join(err, store.ErrCorrupt))
		}
		out = append(out, k)
	}
	return out, nil
}

// read verifies a token's signature by the keys that the configuration stands for,
// and answers what it says.
func (cfg *config) read(c *api.Call, raw string, allowed []string) (jws.Claims, error) {
	if len(cfg.PublicKeys) == 0 {
		return cfg.source().Read(c, raw, allowed)
	}
	keys, err := cfg.static()
	if err != nil {
		return nil, err
	}
	return jws.Read(raw, keys, allowed)
}

// allowed are the algorithms that the configuration lets tokens be signed with.
func (cfg *config) allowed(usual []string) []string {
	if len(cfg.Algorithms) > 0 {
		return cfg.Algorithms
	}
	return slices.Clone(usual)
}
