// Package azure owns the auth method by which machines and programs in Azure log in with a token that
// Entra ID has signed for their identity. What a token says is believed as far as it is signed: on which
// machine it was made, too. Where a machine stands is asked of the Resource Manager.
package azure

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

type engine struct{}

// Rows of the method's store.
const (
	configKey = "config"
	issuerKey = "issuer"
)

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config", engine.readConfig),
		api.Handle(api.Write, "config", engine.putConfig),
		api.Handle(api.Delete, "config", engine.deleteConfig),
		api.Handle(api.List, "role", authrole.List[engine]),
		api.Handle(api.Read, "role/{name}", engine.readRole),
		api.Upsert("role/{name}", engine.putRole, authrole.Exists[engine, PutRole]),
		api.Handle(api.Delete, "role/{name}", authrole.Delete[engine, authrole.ByName]),
		api.Handle(api.Write, "login", engine.login, api.Public, api.Asks),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("azure: %w", err)
	}
	return api.Engine{Type: "azure", Auth: true, Description: "Logins of machines and programs in Azure.", Endpoints: eps, Renew: engine{}.renew}, nil
}

// cloud is one of Azure's.
type cloud struct {
	login      string // where tokens are made, and keys shown
	issuer     string // what tokens say that they are from, before the tenant
	management string // the Resource Manager
}

const usualCloud = "AzurePublicCloud"

func clouds() map[string]cloud {
	return map[string]cloud{
		usualCloud:               {"https://login.microsoftonline.com", "https://sts.windows.net", "https://management.azure.com"},
		"AzureUSGovernmentCloud": {"https://login.microsoftonline.us", "https://sts.windows.net", "https://management.usgovcloudapi.net"},
		"AzureChinaCloud":        {"https://login.chinacloudapi.cn", "https://sts.chinacloudapi.cn", "https://management.chinacloudapi.cn"},
	}
}

// config is the configuration as it is kept.
type config struct {
	Version   string            `json:"version"` // another with each change
	Tenant    string            `json:"tenant"`
	Resource  string            `json:"resource"`
	Cloud     string            `json:"cloud"`
	ClientID  string            `json:"client_id,omitempty"`
	Secret    string            `json:"secret,omitempty"`
	Endpoints map[string]string `json:"endpoints,omitempty"`
	Retries   *retries          `json:"retries,omitempty"`
}

// retries are kept for clients: Azure is asked once at each login.
type retries struct {
	Most  int           `json:"max_retries"`
	Delay time.Duration `json:"retry_delay"` // read in nanoseconds, as in Vault
	Limit time.Duration `json:"max_retry_delay"`
}

// retries are what clients have written or, where they have not, would find in Vault.
func (conf *config) retries() *retries {
	if conf.Retries == nil {
		return &retries{Most: 3, Delay: 4 * time.Second, Limit: time.Minute}
	}
	return conf.Retries
}

// PutConfig says whose tokens are taken; what is absent stays as it was.
type PutConfig struct {
	Tenant    *string            `json:"tenant_id" audit:"clear"`       // The tenant's identifier, a UUID.
	Resource  *string            `json:"resource" audit:"clear"`        // What tokens must be for: their aud.
	Cloud     *string            `json:"environment"`                   // AzurePublicCloud (the usual, where it is empty), AzureUSGovernmentCloud or AzureChinaCloud.
	ClientID  *string            `json:"client_id" audit:"clear"`       // Client that asks the Resource Manager where machines stand; needed for bound_locations alone.
	Secret    *api.Secret        `json:"client_secret"`                 // Its secret, which is given anew when it would go elsewhere.
	Endpoints *map[string]string `json:"custom_endpoint" audit:"clear"` // For private clouds: login, issuer and management, URLs with https in place of the environment's.
	Retries   *int               `json:"max_retries"`                   // Kept for clients: Azure is asked once at each login.
	Delay     *api.Duration      `json:"retry_delay"`                   // Kept for clients, likewise.
	Limit     *api.Duration      `json:"max_retry_delay"`               // Kept for clients, likewise.
}

// Config is the configuration as it is read, without the client's secret.
type Config struct {
	Tenant    string            `json:"tenant_id" audit:"clear"`
	Resource  string            `json:"resource" audit:"clear"`
	Cloud     string            `json:"environment"`
	ClientID  string            `json:"client_id" audit:"clear"`
	Endpoints map[string]string `json:"custom_endpoint" audit:"clear"`
	retries
}

// readConfig answers whose tokens are taken.
func (engine) readConfig(c *api.Call, _ *api.None) (*Config, error) {
	conf, err := store.LoadJSON[config](c, c.Store, configKey)
	switch {
	case err != nil:
		return nil, err
	case conf == nil:
		return nil, api.ErrNotFound()
	}
	a := &Config{Tenant: conf.Tenant, Resource: conf.Resource, Cloud: conf.Cloud, ClientID: conf.ClientID, Endpoints: conf.Endpoints, retries: *conf.retries()}
	if a.Endpoints == nil {
		a.Endpoints = map[string]string{}
	}
	return a, nil
}

// deleteConfig has no tokens taken.
func (engine) deleteConfig(c *api.Call, _ *api.None) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: configKey, Delete: true}})
	return nil, err
}

// putConfig says whose tokens are taken.
func (engine) putConfig(c *api.Call, q *PutConfig) (*api.None, error) {
	version := api.NewUUID()
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var conf config
		if _, err := tx.LoadJSON(configKey, &conf); err != nil {
			return err
		}
		before := conf
		conf.Version = version
		api.Set(&conf.Tenant, q.Tenant)
		api.Set(&conf.Resource, q.Resource)
		api.Set(&conf.Cloud, q.Cloud)
		api.Set(&conf.ClientID, q.ClientID)
		api.Set(&conf.Endpoints, q.Endpoints)
		conf.Retries = conf.retries()
		api.Set(&conf.Retries.Most, q.Retries)
		api.Set((*api.Duration)(&conf.Retries.Delay), q.Delay)
		api.Set((*api.Duration)(&conf.Retries.Limit), q.Limit)
		conf.Tenant = strings.ToLower(conf.Tenant)
		switch {
		case q.Secret != nil:
			conf.Secret = q.Secret.Reveal()
		case conf.ClientID == "":
			conf.Secret = "" // there is no client any more
		case conf.Secret != "" && !conf.sameClient(&before):
			return api.Errorf(api.Invalid, "client_secret: must be given again, as it would go elsewhere or be another client's")
		}
		if err := conf.check(); err != nil {
			return err
		}
		for name, own := range conf.Endpoints {
			if err := outbound.JudgeURL(c, "custom_endpoint: "+name, own); err != nil {
				return err
			}
		}
		return tx.PutJSON(configKey, &conf)
	})
	return nil, err
}

// sameClient reports whether the secret goes where it went, for the same client.
func (conf *config) sameClient(before *config) bool {
	return conf.ClientID == before.ClientID && conf.Tenant == before.Tenant && conf.cloud() == before.cloud() && maps.Equal(conf.Endpoints, before.Endpoints)
}

// Bounds of what is kept.
const (
	maxItems = 1000
	maxItem  = 512 // in bytes
)

var idForm = api.Regexp(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (conf *config) check() error {
	names := slices.Sorted(maps.Keys(clouds()))
	switch {
	case !idForm().MatchString(conf.Tenant):
		return api.Errorf(api.Invalid, "tenant_id: must be the tenant's identifier, a UUID")
	case conf.Resource == "" || len(conf.Resource) > maxItem:
		return api.Errorf(api.Invalid, "resource: must be what tokens are for")
	case !slices.Contains(names, conf.cloud()):
		return api.Errorf(api.Invalid, "environment: must be of %s", strings.Join(names, ", "))
	case (conf.ClientID == "") != (conf.Secret == ""):
		return api.Errorf(api.Invalid, "client_id and client_secret: one needs the other")
	case len(conf.ClientID) > maxItem || len(conf.Secret) > maxItem:
		return api.Errorf(api.Invalid, "client_id and client_secret: are longer than %d bytes", maxItem)
	}
	for name, text := range conf.Endpoints {
		if name != "login" && name != "issuer" && name != "management" {
			return api.Errorf(api.Invalid, "custom_endpoint: takes login, issuer and management")
		}
		if err := outbound.CheckBase(text); err != nil {
			return api.Errorf(api.Invalid, "custom_endpoint: %s %v", name, err)
		}
	}
	return nil
}

// cloud is the environment, the usual one where none was named. It is read as it was written.
func (conf *config) cloud() string { return cmp.Or(conf.Cloud, usualCloud) }

// place is the address of something in the cloud: the configuration's own, or the environment's.
func (conf *config) place(name string) string {
	if own := conf.Endpoints[name]; own != "" {
		return strings.TrimRight(own, "/")
	}
	in := clouds()[conf.cloud()]
	return map[string]string{"login": in.login, "issuer": in.issuer, "management": in.management}[name]
}

// issuer is what tokens of the tenant say that they are from.
func (conf *config) issuer() string { return conf.place("issuer") + "/" + conf.Tenant + "/" }

// source is where the tenant's keys come from.
func (conf *config) source() *issuer.Source {
	return &issuer.Source{ID: conf.Version, Row: issuerKey, Discovery: conf.place("login") + "/" + conf.Tenant, Name: conf.issuer(), Still: func(tx *store.Tx) (bool, error) {
		var now config
		_, err := tx.LoadJSON(configKey, &now)
		return now.Version == conf.Version, err
	}}
}

func configured(c *api.Call) (*config, error) {
	conf, err := store.LoadJSON[config](c, c.Store, configKey)
	if err == nil && conf == nil {
		err = c.Unconfigured("config", "the auth method has not been configured: it does not know whose tokens to take")
	}
	return conf, err
}
