package oidc

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// configRow is what holds for all identity tokens of a namespace.
type configRow struct {
	Issuer string `json:"issuer,omitempty"` // scheme, host and port; empty: the server's address
}

func configKey(ns string) string { return ns + "/oidc/config" }

// ConfigRequest changes what holds for all identity tokens.
type ConfigRequest struct {
	Issuer *string `json:"issuer" audit:"clear"` // Scheme, host and port that the issuer of tokens begins with; empty: the server's address.
}

// ConfigAnswer is what holds for all identity tokens.
type ConfigAnswer struct {
	Issuer string `json:"issuer" audit:"clear"`
}

// readConfig shows the issuer that was set.
func (s *Store) readConfig(c *api.Call, _ *api.None) (*ConfigAnswer, error) {
	r, err := store.LoadJSON[configRow](c, s.Store, configKey(c.Namespace.ID))
	if err != nil || r == nil {
		return &ConfigAnswer{}, err
	}
	return &ConfigAnswer{r.Issuer}, nil
}

// writeConfig sets the issuer. Who checks tokens must be told of the new one: they trust none that
// says another.
func (s *Store) writeConfig(c *api.Call, q *ConfigRequest) (*api.None, error) {
	if q.Issuer == nil {
		return nil, nil
	}
	issuer, err := checkIssuer(*q.Issuer)
	if err != nil {
		return nil, err
	}
	c.Warn(`If "issuer" is set explicitly, all tokens must be validated against that address, including those issued by secondary clusters. Setting issuer to "" will restore the default behavior of using the cluster's api_addr as the issuer.`)
	return nil, s.change(c, c.Namespace.ID, func(tx *store.Tx) error {
		return tx.PutJSON(configKey(c.Namespace.ID), configRow{issuer})
	})
}

// checkIssuer takes a scheme, a host and a port; nothing else.
func checkIssuer(text string) (string, error) {
	text = strings.TrimSuffix(text, "/")
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	bad := err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Hostname() == ""
	if bad || len(text) > maxEntry || u.Scheme+"://"+u.Host != text {
		return "", api.Errorf(api.Invalid, "issuer: must be a scheme, a host and optionally a port, such as https://vault.example.com:8200")
	}
	return text, nil
}

// base is where the endpoints of a namespace are for others.
func (s *Store) base(address string, ns api.Namespace) string {
	if address == "" {
		address = strings.TrimSuffix(s.Address, "/")
	}
	return address + "/v1/" + ns.Path + "identity/oidc"
}

// issuer is who identity tokens of a namespace are from.
func (s *Store) issuer(ctx context.Context, ns api.Namespace) (string, error) {
	r, err := store.LoadJSON[configRow](ctx, s.Store, configKey(ns.ID))
	if err != nil {
		return "", err
	}
	if r == nil {
		r = &configRow{}
	}
	return s.base(r.Issuer, ns), nil
}

// merged are two lists of names as one, in order.
func merged(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
