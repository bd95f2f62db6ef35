// Package kubernetes owns the auth method by which what runs in a cluster logs in with
// the token of its service account. The cluster says whose token it is (TokenReview);
// what the token says of itself is believed nowhere.
package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

type engine struct{}

// Rows of the method's store.
const (
	configKey = "config"
)

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config", engine.readConfig),
		api.Handle(api.Write, "config", engine.putConfig),
		api.Handle(api.List, "role", authrole.List[engine]),
		api.Handle(api.Read, "role/{name}", engine.readRole),
		api.Upsert("role/{name}", engine.putRole, authrole.Exists[engine, PutRole]),
		api.Handle(api.Delete, "role/{name}", authrole.Delete[engine, authrole.ByName]),
		api.Handle(api.Write, "login", engine.login, api.Public, api.Asks),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("kubernetes: %w", err)
	}
	return api.Engine{Type: "kubernetes", Auth: true, Description: "Logins by service accounts of a Kubernetes cluster.", Endpoints: eps, Renew: engine{}.renew}, nil
}

// cluster is which cluster is asked, and how.
type cluster struct {
	Host        string   `json:"host"` // base URL of the API
	CA          string   `json:"ca,omitempty"`
	Reviewer    string   `json:"reviewer,omitempty"` // the token to ask with; empty: the pod's, or the client's own
	Keys        []string `json:"keys,omitempty"`
	NoLocal     bool     `json:"no_local,omitempty"` // nothing is taken from the pod that the server runs in
	Annotations bool     `json:"annotations,omitempty"`
	Issuer      string   `json:"issuer,omitempty"`    // kept for clients
	NoIssuer    bool     `json:"no_issuer,omitempty"` // likewise
}

// PutConfig says which cluster is asked. It replaces all that was said before.
type PutConfig struct {
	Host        string     `json:"kubernetes_host" audit:"clear"`         // Address of the cluster's API: a URL, HOST or HOST:PORT.
	CA          string     `json:"kubernetes_ca_cert"`                    // Certificates, in PEM, that the API's must come from; the pod's when empty.
	Reviewer    api.Secret `json:"token_reviewer_jwt"`                    // Token to ask the API with; when empty the pod's, and elsewhere the one that logs in.
	Keys        []string   `json:"pem_keys"`                              // Public keys or certificates, in PEM, of which one must have signed each token.
	NoLocal     bool       `json:"disable_local_ca_jwt"`                  // Take nothing from the pod that the server runs in.
	Annotations bool       `json:"use_annotations_as_alias_metadata"`     // Annotations vault.hashicorp.com/alias-metadata-KEY of the service account go into the alias's metadata.
	Issuer      string     `json:"issuer"`                                // Kept for clients: the cluster says whose a token is.
	NoIssuer    bool       `json:"disable_iss_validation" default:"true"` // Kept for clients, likewise.
}

// Config is which cluster is asked.
type Config struct {
	Host        string   `json:"kubernetes_host" audit:"clear"`
	CA          string   `json:"kubernetes_ca_cert" audit:"clear"`
	ReviewerSet bool     `json:"token_reviewer_jwt_set"`
	Keys        []string `json:"pem_keys" audit:"clear"`
	NoLocal     bool     `json:"disable_local_ca_jwt"`
	Annotations bool     `json:"use_annotations_as_alias_metadata"`
	Issuer      string   `json:"issuer"`
	NoIssuer    bool     `json:"disable_iss_validation"`
}

// readConfig answers which cluster is asked, without the token to ask with.
func (engine) readConfig(c *api.Call, _ *api.None) (*Config, error) {
	k, err := store.LoadJSON[cluster](c, c.Store, configKey)
	switch {
	case err != nil:
		return nil, err
	case k == nil:
		return nil, api.ErrNotFound()
	}
	return &Config{Host: k.Host, CA: k.CA, ReviewerSet: k.Reviewer != "", Keys: api.Full(k.Keys), NoLocal: k.NoLocal, Annotations: k.Annotations, Issuer: k.Issuer, NoIssuer: k.NoIssuer}, nil
}

// Bounds of the configuration.
const (
	maxKeys = 32
	maxText = 128 << 10 // of certificates and keys, in bytes
)

// putConfig says which cluster is asked.
func (engine) putConfig(c *api.Call, q *PutConfig) (*api.None, error) {
	if q.Host == "" {
		return nil, &api.Error{Kind: api.Invalid, Message: "missing kubernetes_host", Hint: "send the address of the cluster's API, such as https://10.0.0.1:6443; in the cluster https://kubernetes.default.svc"}
	}
	host, err := apiURL(q.Host)
	if err != nil {
		return nil, api.Errorf(api.Invalid, "kubernetes_host: %v", err)
	}
	if err := outbound.JudgeURL(c, "kubernetes_host", host); err != nil {
		return nil, err
	}
	k := &cluster{Host: host, CA: q.CA, Reviewer: strings.TrimSpace(q.Reviewer.Reveal()), Keys: q.Keys, NoLocal: q.NoLocal, Annotations: q.Annotations, Issuer: q.Issuer, NoIssuer: q.NoIssuer}
	if err := k.check(); err != nil {
		return nil, err
	}
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error { return tx.PutJSON(configKey, k) })
	return nil, err
}

func (k *cluster) check() error {
	if err := outbound.CheckCA(k.CA); err != nil {
		return api.Errorf(api.Invalid, "kubernetes_ca_cert: %v", err)
	}
	if len(k.CA) > maxText {
		return api.Errorf(api.Invalid, "kubernetes_ca_cert: is longer than %d bytes", maxText)
	}
	if len(k.Reviewer) > maxToken || strings.ContainsFunc(k.Reviewer, unprintable) {
		return api.Errorf(api.Invalid, "token_reviewer_jwt: must be one token, of at most %d bytes, with no space in it", maxToken)
	}
	if len(k.Keys) > maxKeys {
		return api.Errorf(api.Invalid, "pem_keys: holds more than %d", maxKeys)
	}
	if len(k.Issuer) > maxItem {
		return api.Errorf(api.Invalid, "issuer: is longer than %d bytes", maxItem)
	}
	for _, text := range k.Keys {
		if len(text) > maxText {
			return api.Errorf(api.Invalid, "pem_keys: one is longer than %d bytes", maxText)
		}
		if _, err := jws.ParsePEM(text); err != nil {
			return api.Errorf(api.Invalid, "pem_keys: one %v", err)
		}
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }

var errHost = errors.New("must be HOST, HOST:PORT, or a URL with https; with http on this machine alone")

// apiURL is the base URL of a cluster's API. Tokens go there, so nobody may hear them on
// the way.
func apiURL(host string) (string, error) {
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	if outbound.CheckBase(host) != nil {
		return "", errHost
	}
	return strings.TrimRight(host, "/"), nil
}

// podDir is where a pod finds its service account's token and the cluster's
// authority.
const podDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// local adds what the pod that the server runs in knows, where nothing else is said. Where that is said by a tenant, the
// pod's token goes to the pod's own cluster alone, which the pod's authority vouches for.
func (k *cluster) local(dir string, tenant bool) error {
	if k.NoLocal {
		return nil
	}
	ca, err := readLocal(dir, "ca.crt")
	if err != nil {
		return err
	}
	if k.CA == "" {
		k.CA = ca
	}
	vouched := strings.HasPrefix(k.Host, "https://") && ca != "" && strings.TrimSpace(k.CA) == strings.TrimSpace(ca)
	if k.Reviewer != "" || tenant && !vouched {
		return nil
	}
	k.Reviewer, err = readLocal(dir, "token")
	k.Reviewer = strings.TrimSpace(k.Reviewer)
	return err
}

// readLocal reads what a pod finds; nothing where the server runs elsewhere.
func readLocal(dir, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("kubernetes: %w", err)
	}
	return string(b), nil
}

// isTenant reports whether a call is of a namespace that its own people run, and not the server's operator.
func isTenant(c *api.Call) bool { return c.Namespace.Path != "" }

// connected is the cluster as it is asked now.
func connected(c *api.Call) (*cluster, error) {
	k, err := store.LoadJSON[cluster](c, c.Store, configKey)
	switch {
	case err != nil:
		return nil, err
	case k == nil || k.Host == "":
		return nil, c.Unconfigured("config", "the auth method has not been configured: it does not know which cluster to ask")
	}
	return k, k.local(podDir, isTenant(c))
}
