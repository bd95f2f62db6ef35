// Package gcp owns the auth method by which service accounts and instances of Google Cloud log in
// with a signed token: one that an account has signed with a key of its own (iam), or one that Google
// has signed for an instance (gce). What a token says is believed as far as it is signed, and nothing
// that only Google's APIs know is taken for a condition.
package gcp

import (
	"fmt"
	"maps"
	"strings"

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
	googleKey = "google" // Google's keys
)

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config", engine.readConfig),
		api.Handle(api.Write, "config", engine.putConfig),
		api.Handle(api.List, "role", authrole.List[engine]),
		api.Handle(api.List, "roles", authrole.List[engine]),
		api.Handle(api.Read, "role/{name}", engine.readRole),
		api.Upsert("role/{name}", engine.putRole, authrole.Exists[engine, PutRole]),
		api.Handle(api.Delete, "role/{name}", authrole.Delete[engine, authrole.ByName]),
		api.Handle(api.Write, "role/{name}/service-accounts", engine.editAccounts),
		api.Handle(api.Write, "role/{name}/labels", engine.editLabels),
		api.Handle(api.Write, "login", engine.login, api.Public, api.Asks),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("gcp: %w", err)
	}
	return api.Engine{Type: "gcp", Auth: true, Description: "Logins of service accounts and instances of Google Cloud.", Endpoints: eps, Renew: engine{}.renew}, nil
}

// What an alias is called by.
const (
	byRole     = "role_id"
	byID       = "unique_id"
	byInstance = "instance_id"
)

// usualAPI is where Google shows keys.
const usualAPI = "https://www.googleapis.com"

// Config is what aliases are called by, and where Google is asked.
type Config struct {
	IAMAlias    string            `json:"iam_alias"`
	IAMMetadata []string          `json:"iam_metadata" audit:"clear"`
	GCEAlias    string            `json:"gce_alias"`
	GCEMetadata []string          `json:"gce_metadata" audit:"clear"`
	Endpoints   map[string]string `json:"custom_endpoint,omitempty" audit:"clear"`
}

// PutConfig says what aliases are called by, and where Google is asked; what is absent stays as it was.
type PutConfig struct {
	IAMAlias    *string           `json:"iam_alias"`                     // What an alias of a role of the type iam is called by: unique_id, the account (at first), or role_id.
	IAMMetadata *[]string         `json:"iam_metadata" audit:"clear"`    // Which of the login's metadata the alias has at a role of the type iam: project_id, role, service_account_id, service_account_email; all of them when empty.
	GCEMetadata *[]string         `json:"gce_metadata" audit:"clear"`    // The same at a role of the type gce, which also has project_number, zone, instance_id, instance_name and instance_creation_timestamp.
	GCEAlias    *string           `json:"gce_alias"`                     // What an alias of a role of the type gce is called by: unique_id, the account's identifier (at first), instance_id or role_id.
	Endpoints   map[string]string `json:"custom_endpoint" audit:"clear"` // Where Google is asked: api, a URL with https in place of https://www.googleapis.com. iam, crm and compute are kept for clients. Those that are not named stay; an empty one goes.
	Credentials api.Secret        `json:"credentials"`                   // Not needed and not kept: keys are public.
}

func configured(c *api.Call) (*Config, error) {
	conf, err := store.LoadJSON[Config](c, c.Store, configKey)
	return conf.usual(), err
}

// usual fills in what has not been said.
func (conf *Config) usual() *Config {
	if conf == nil {
		conf = &Config{}
	}
	if conf.IAMAlias == "" {
		conf.IAMAlias = byID
	}
	if conf.GCEAlias == "" {
		conf.GCEAlias = byID
	}
	if conf.IAMMetadata == nil {
		conf.IAMMetadata = []string{}
	}
	if conf.GCEMetadata == nil {
		conf.GCEMetadata = []string{}
	}
	return conf
}

// api is where Google shows keys.
func (conf *Config) api() string {
	if own := conf.Endpoints["api"]; own != "" {
		return strings.TrimSuffix(own, "/")
	}
	return usualAPI
}

// google is where the keys come from by which Google signs for instances.
func (conf *Config) google() *issuer.Source {
	return &issuer.Source{ID: conf.api(), Row: googleKey, JWKS: conf.api() + "/oauth2/v3/certs", Still: func(tx *store.Tx) (bool, error) {
		var now Config
		_, err := tx.LoadJSON(configKey, &now)
		return now.api() == conf.api(), err
	}}
}

// readConfig answers what aliases are called by, and where Google is asked.
func (engine) readConfig(c *api.Call, _ *api.None) (*Config, error) { return configured(c) }

// putConfig says what aliases are called by, and where Google is asked.
func (engine) putConfig(c *api.Call, q *PutConfig) (*api.None, error) {
	if !q.Credentials.Empty() {
		c.Warn("credentials: are not needed and were not kept: keys by which tokens are verified are public")
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var conf Config
		if _, err := tx.LoadJSON(configKey, &conf); err != nil {
			return err
		}
		api.Set(&conf.IAMAlias, q.IAMAlias)
		api.Set(&conf.IAMMetadata, q.IAMMetadata)
		api.Set(&conf.GCEAlias, q.GCEAlias)
		api.Set(&conf.GCEMetadata, q.GCEMetadata)
		conf.setEndpoints(q.Endpoints)
		if err := conf.usual().check(); err != nil {
			return err
		}
		if own := conf.Endpoints["api"]; own != "" { // the others are never asked
			if err := outbound.JudgeURL(c, "custom_endpoint: api", own); err != nil {
				return err
			}
		}
		return tx.PutJSON(configKey, &conf)
	})
	return nil, err
}

// setEndpoints sets those that are named, and takes away what is set to nothing.
func (conf *Config) setEndpoints(named map[string]string) {
	if conf.Endpoints == nil {
		conf.Endpoints = map[string]string{}
	}
	maps.Copy(conf.Endpoints, named)
	maps.DeleteFunc(conf.Endpoints, func(_, text string) bool { return text == "" })
}

func (conf *Config) check() error {
	if conf.IAMAlias != byID && conf.IAMAlias != byRole {
		return api.Errorf(api.Invalid, "iam_alias: must be %s or %s", byID, byRole)
	}
	if conf.GCEAlias != byID && conf.GCEAlias != byRole && conf.GCEAlias != byInstance {
		return api.Errorf(api.Invalid, "gce_alias: must be %s, %s or %s", byID, byInstance, byRole)
	}
	for name, text := range conf.Endpoints {
		switch name {
		case "api", "iam", "crm", "compute":
		default:
			return api.Errorf(api.Invalid, "custom_endpoint: takes api, iam, crm and compute")
		}
		if err := outbound.CheckBase(text); err != nil {
			return api.Errorf(api.Invalid, "custom_endpoint: %s %v", name, err)
		}
	}
	account := []string{"project_id", "role", "service_account_id", "service_account_email"}
	if err := authrole.CheckMetadata("iam_metadata", conf.IAMMetadata, account...); err != nil {
		return err
	}
	return authrole.CheckMetadata("gce_metadata", conf.GCEMetadata, append(account, "project_number", "zone", "instance_id", "instance_name", "instance_creation_timestamp")...)
}
