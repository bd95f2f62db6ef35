// Package aws owns the auth method by which who has credentials of AWS logs in: with a
// signed question to STS, GetCallerIdentity, which the server asks itself, of whom the
// operator has named, and in its own words. What EC2 instances know of themselves is not
// taken: their roles are known to STS as well.
package aws

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

type engine struct{}

// Rows of the method's store.
const (
	configKey   = "config"
	identityKey = "identity"
)

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config/client", engine.readConfig),
		api.Handle(api.Write, "config/client", engine.putConfig),
		api.Handle(api.Delete, "config/client", engine.deleteConfig),
		api.Handle(api.Read, "config/identity", engine.readIdentity),
		api.Handle(api.Write, "config/identity", engine.putIdentity),
		api.Handle(api.List, "role", authrole.List[engine]),
		api.Handle(api.List, "roles", authrole.List[engine]),
		api.Handle(api.Read, "role/{role}", engine.readRole),
		api.Upsert("role/{role}", engine.putRole, authrole.Exists[engine, PutRole]),
		api.Handle(api.Delete, "role/{role}", authrole.Delete[engine, ByRole]),
		api.Handle(api.Write, "login", engine.login, api.Public, api.Asks),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("aws: %w", err)
	}
	return api.Engine{Type: "aws", Auth: true, Description: "Logins with credentials of AWS.", Endpoints: eps, Renew: engine{}.renew}, nil
}

// Config is whom the server asks, and what must be in the questions that it is given.
type Config struct {
	Endpoint     string   `json:"sts_endpoint" audit:"clear"`
	Region       string   `json:"sts_region" audit:"clear"`
	ClientRegion bool     `json:"use_sts_region_from_client"`
	ServerID     string   `json:"iam_server_id_header_value" audit:"clear"`
	Headers      []string `json:"allowed_sts_header_values" audit:"clear"`
	EC2Endpoint  string   `json:"endpoint" audit:"clear"`
	IAMEndpoint  string   `json:"iam_endpoint" audit:"clear"`
	Retries      *int     `json:"max_retries"`
}

// PutConfig says whom the server asks; what is absent stays as it was.
type PutConfig struct {
	Endpoint     *string   `json:"sts_endpoint" audit:"clear"`               // Where STS is asked: a URL with https; https://sts.amazonaws.com when empty.
	Region       *string   `json:"sts_region" audit:"clear"`                 // Region that questions must be signed for; empty: any.
	ClientRegion *bool     `json:"use_sts_region_from_client"`               // Ask AWS's own endpoint in the region that a question is signed for, in place of sts_endpoint.
	ServerID     *string   `json:"iam_server_id_header_value" audit:"clear"` // What the signed header X-Vault-AWS-IAM-Server-ID must be; empty: it need not be there.
	Headers      *[]string `json:"allowed_sts_header_values" audit:"clear"`  // Further headers that questions may have.
	EC2Endpoint  *string   `json:"endpoint" audit:"clear"`                   // Kept for clients: EC2 is not asked.
	IAMEndpoint  *string   `json:"iam_endpoint" audit:"clear"`               // Kept for clients: IAM is not asked.
	Retries      *int      `json:"max_retries"`                              // Kept for clients: a question is asked once.
}

const usualEndpoint = "https://sts.amazonaws.com"

func config(c *api.Call) (*Config, error) {
	conf, err := store.LoadJSON[Config](c, c.Store, configKey)
	if conf == nil {
		conf = &Config{}
	}
	if conf.Headers == nil {
		conf.Headers = []string{}
	}
	if conf.Retries == nil {
		conf.Retries = new(-1)
	}
	return conf, err
}

// readConfig answers whom the server asks.
func (engine) readConfig(c *api.Call, _ *api.None) (*Config, error) { return config(c) }

// deleteConfig has the server ask whom it asks usually.
func (engine) deleteConfig(c *api.Call, _ *api.None) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: configKey, Delete: true}})
	return nil, err
}

// Bounds of what is kept.
const (
	maxItems = 200
	maxItem  = 512 // in bytes
)

// putConfig says whom the server asks.
func (engine) putConfig(c *api.Call, q *PutConfig) (*api.None, error) {
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var conf Config
		if _, err := tx.LoadJSON(configKey, &conf); err != nil {
			return err
		}
		api.Set(&conf.Endpoint, q.Endpoint)
		api.Set(&conf.Region, q.Region)
		api.Set(&conf.ClientRegion, q.ClientRegion)
		api.Set(&conf.ServerID, q.ServerID)
		api.Set(&conf.Headers, q.Headers)
		api.Set(&conf.EC2Endpoint, q.EC2Endpoint)
		api.Set(&conf.IAMEndpoint, q.IAMEndpoint)
		if q.Retries != nil {
			conf.Retries = q.Retries
		}
		if err := conf.check(); err != nil {
			return err
		}
		if conf.Endpoint != "" {
			if err := outbound.JudgeURL(c, "sts_endpoint", conf.Endpoint); err != nil {
				return err
			}
		}
		return tx.PutJSON(configKey, &conf)
	})
	return nil, err
}

// headerForm is a header's name; those that decide how a question is read or answered
// are the server's own.
var headerForm = api.Regexp(`^[A-Za-z0-9-]{1,64}$`)

func (conf *Config) check() error {
	if conf.Endpoint != "" && !isEndpoint(conf.Endpoint) {
		return api.Errorf(api.Invalid, "sts_endpoint: must be a URL with https and nothing behind the host; with http on this machine alone")
	}
	if len(conf.EC2Endpoint) > maxItem || len(conf.IAMEndpoint) > maxItem {
		return api.Errorf(api.Invalid, "endpoint, iam_endpoint: must be at most %d bytes", maxItem)
	}
	if conf.Region != "" && !regionForm().MatchString(conf.Region) {
		return api.Errorf(api.Invalid, "sts_region: is not the name of a region")
	}
	if len(conf.ServerID) > maxItem || strings.ContainsFunc(conf.ServerID, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return api.Errorf(api.Invalid, "iam_server_id_header_value: cannot stand in a header")
	}
	if len(conf.Headers) > maxItems {
		return api.Errorf(api.Invalid, "allowed_sts_header_values: holds more than %d", maxItems)
	}
	for _, h := range conf.Headers {
		if !headerForm().MatchString(h) || slices.Contains([]string{"Accept", "Accept-Encoding", "Host", "Connection", "Transfer-Encoding", "Content-Encoding", "Expect", "Te", "Trailer", "Upgrade"}, http.CanonicalHeaderKey(h)) {
			return api.Errorf(api.Invalid, "allowed_sts_header_values: holds one that is no header's name, or is the server's own to set")
		}
	}
	return nil
}

// isEndpoint reports whether STS can be asked at an address: by TLS, or on this machine.
func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Path == "" || u.Path == "/") && outbound.CheckBase(text) == nil
}

// What an alias is called by.
const (
	byRole      = "role_id"
	byUniqueID  = "unique_id"
	byCanonical = "canonical_arn"
	byFull      = "full_arn"
)

// Identity is what aliases are called by, and what they are told.
type Identity struct {
	IAMAlias    string   `json:"iam_alias"`
	IAMMetadata []string `json:"iam_metadata" audit:"clear"`
	EC2Alias    string   `json:"ec2_alias"`
	EC2Metadata []string `json:"ec2_metadata" audit:"clear"`
}

// PutIdentity says what aliases are called by, and what they are told; what is absent stays as it was.
type PutIdentity struct {
	IAMAlias    *string   `json:"iam_alias"`                  // role_id (at first), unique_id, canonical_arn or full_arn.
	IAMMetadata *[]string `json:"iam_metadata" audit:"clear"` // Which of the login's metadata the alias has: account_id, auth_type, canonical_arn, client_arn, client_user_id, role_id; all of them when empty.
	EC2Alias    *string   `json:"ec2_alias"`                  // Kept for clients: there are no roles of the type ec2.
	EC2Metadata *[]string `json:"ec2_metadata" audit:"clear"` // Kept for clients, likewise.
}

func identityOf(c *api.Call) (*Identity, error) {
	i, err := store.LoadJSON[Identity](c, c.Store, identityKey)
	return i.usual(), err
}

// usual fills in what has not been said.
func (i *Identity) usual() *Identity {
	if i == nil {
		i = &Identity{}
	}
	i.IAMAlias = cmp.Or(i.IAMAlias, byRole)
	i.EC2Alias = cmp.Or(i.EC2Alias, byRole)
	if i.IAMMetadata == nil {
		i.IAMMetadata = []string{}
	}
	if i.EC2Metadata == nil {
		i.EC2Metadata = []string{}
	}
	return i
}

// readIdentity answers what aliases are called by, and what they are told.
func (engine) readIdentity(c *api.Call, _ *api.None) (*Identity, error) { return identityOf(c) }

// putIdentity says what aliases are called by, and what they are told.
func (engine) putIdentity(c *api.Call, q *PutIdentity) (*api.None, error) {
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var i Identity
		if _, err := tx.LoadJSON(identityKey, &i); err != nil {
			return err
		}
		api.Set(&i.IAMAlias, q.IAMAlias)
		api.Set(&i.IAMMetadata, q.IAMMetadata)
		api.Set(&i.EC2Alias, q.EC2Alias)
		api.Set(&i.EC2Metadata, q.EC2Metadata)
		if err := i.usual().check(); err != nil {
			return err
		}
		return tx.PutJSON(identityKey, &i)
	})
	return nil, err
}

func (i *Identity) check() error {
	if !slices.Contains([]string{byRole, byUniqueID, byCanonical, byFull}, i.IAMAlias) {
		return api.Errorf(api.Invalid, "iam_alias: must be %s, %s, %s or %s", byRole, byUniqueID, byCanonical, byFull)
	}
	if !slices.Contains([]string{byRole, "instance_id", "image_id"}, i.EC2Alias) {
		return api.Errorf(api.Invalid, "ec2_alias: must be %s, instance_id or image_id", byRole)
	}
	if len(i.EC2Metadata) > maxItems {
		return api.Errorf(api.Invalid, "ec2_metadata: holds more than %d", maxItems)
	}
	return authrole.CheckMetadata("iam_metadata", i.IAMMetadata, "account_id", "auth_type", "canonical_arn", "client_arn", "client_user_id", "role_id", "inferred_aws_region", "inferred_entity_id", "inferred_entity_type")
}

var errAnswer = errors.New("the answer of STS is not one to the question")
