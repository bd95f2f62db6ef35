// Package cert owns the auth method by which who holds a client certificate logs
// in: entries that trust authorities or single certificates and say which names must be
// in what they let in, revocation lists, and asking OCSP responders.
package cert

import (
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

type engine struct{}

// Rows of the method's store. Names hold no slash.
const (
	entryPrefix  = "cert/"     // + name: an entry
	trustPrefix  = "trust/"    // + hash of what is trusted / name: the entries that trust it
	listPrefix   = "crl/"      // + name: what is known of a revocation list
	derPrefix    = "crl-der/"  // + name: the list itself
	issuerPrefix = "crl-from/" // + hash of the issuer / name: the lists of an issuer
	configKey    = "config"
)

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.List, "certs", engine.listCerts),
		api.Handle(api.Read, "certs/{name}", engine.readCert),
		api.Handle(api.Write, "certs/{name}", engine.putCert),
		api.Handle(api.Delete, "certs/{name}", engine.deleteCert),
		api.Handle(api.List, "crls", engine.listCRLs),
		api.Handle(api.Read, "crls/{name}", engine.readCRL),
		api.Handle(api.Write, "crls/{name}", engine.putCRL),
		api.Handle(api.Delete, "crls/{name}", engine.deleteCRL),
		api.Handle(api.Read, "config", engine.readConfig),
		api.Handle(api.Write, "config", engine.putConfig),
		api.Handle(api.Write, "login", engine.login, api.Public, api.Asks),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("cert: %w", err)
	}
	return api.Engine{Type: "cert", Auth: true, Description: "Logins by client certificates.", Endpoints: eps, Renew: engine{}.renew}, nil
}

// Config is what holds for a whole mount.
type Config struct {
	DisableBinding  bool `json:"disable_binding"`
	AliasMetadata   bool `json:"enable_identity_alias_metadata"`
	OCSPCacheSize   int  `json:"ocsp_cache_size"`
	RoleCacheSize   int  `json:"role_cache_size"`
	FailureMetadata bool `json:"enable_metadata_on_failures"`
}

// PutConfig changes what holds for the whole mount; what is absent stays as it was.
type PutConfig struct {
	DisableBinding  *bool `json:"disable_binding"`                // Renewals need no client certificate.
	AliasMetadata   *bool `json:"enable_identity_alias_metadata"` // Store what is in the certificate with the entity's alias.
	OCSPCacheSize   *int  `json:"ocsp_cache_size"`                // Kept for clients: responders are asked at each login.
	RoleCacheSize   *int  `json:"role_cache_size"`                // Kept for clients: entries are found without a cache.
	FailureMetadata *bool `json:"enable_metadata_on_failures"`    // Kept for clients: what is refused is told nothing.
}

// largest is the most that a size may be.
const largest = 1_000_000

func defaults() Config { return Config{OCSPCacheSize: 100, RoleCacheSize: 200} }

func config(c *api.Call) (*Config, error) {
	conf, err := store.LoadJSON[Config](c, c.Store, configKey)
	if conf == nil {
		d := defaults()
		conf = &d
	}
	return conf, err
}

// readConfig answers what holds for the whole mount.
func (engine) readConfig(c *api.Call, _ *api.None) (*Config, error) { return config(c) }

// putConfig changes what holds for the whole mount.
func (engine) putConfig(c *api.Call, q *PutConfig) (*api.None, error) {
	for name, n := range map[string]*int{"ocsp_cache_size": q.OCSPCacheSize, "role_cache_size": q.RoleCacheSize} {
		if n != nil && (*n < -1 || *n > largest) {
			return nil, api.Errorf(api.Invalid, "%s: must be from -1 to %d", name, largest)
		}
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		conf := defaults()
		if _, err := tx.LoadJSON(configKey, &conf); err != nil {
			return err
		}
		api.Set(&conf.DisableBinding, q.DisableBinding)
		api.Set(&conf.AliasMetadata, q.AliasMetadata)
		api.Set(&conf.OCSPCacheSize, q.OCSPCacheSize)
		api.Set(&conf.RoleCacheSize, q.RoleCacheSize)
		api.Set(&conf.FailureMetadata, q.FailureMetadata)
		return tx.PutJSON(configKey, conf)
	})
	return nil, err
}
