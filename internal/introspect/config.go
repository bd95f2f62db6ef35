package introspect

import (
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Config is a server's configuration without what is secret: only what is named
// here is shown. Durations are in seconds.
type Config struct {
	APIAddress         string     `json:"api_addr"`
	ClusterAddress     string     `json:"cluster_addr"`
	CipherSuites       string     `json:"cluster_cipher_suites"`
	ClusterName        string     `json:"cluster_name"`
	DefaultTTL         int64      `json:"default_lease_ttl"`
	MaxRequestDuration int64      `json:"default_max_request_duration"`
	DisableCache       bool       `json:"disable_cache"`
	DisableClustering  bool       `json:"disable_clustering"`
	DisableIndexing    bool       `json:"disable_indexing"`
	DisablePrintable   bool       `json:"disable_printable_check"`
	DisableSealWrap    bool       `json:"disable_sealwrap"`
	EnableUI           bool       `json:"enable_ui"`
	ResponseHostname   bool       `json:"enable_response_header_hostname"`
	Introspection      bool       `json:"introspection_endpoint"`
	Listeners          []Listener `json:"listeners"`
	LogFormat          string     `json:"log_format"`
	LogLevel           string     `json:"log_level"`
	LogRequests        string     `json:"log_requests_level"`
	MaxTTL             int64      `json:"max_lease_ttl"`
	PIDFile            string     `json:"pid_file"`
	PluginDirectory    string     `json:"plugin_directory"`
	RawStorage         bool       `json:"raw_storage_endpoint"`
	Seals              []Seal     `json:"seals"`
	Storage            Storage    `json:"storage"`
	AuditDirectories   []string   `json:"audit_directories"`
	AuditRaw           bool       `json:"audit_log_raw"`
}

// Listener is one address that is served.
type Listener struct {
	Type   string         `json:"type"`
	Config ListenerConfig `json:"config"`
}

// ListenerConfig is how an address is served.
type ListenerConfig struct {
	Address       string `json:"address"`
	TLSDisable    bool   `json:"tls_disable"`
	CertFile      string `json:"tls_cert_file,omitempty"`
	KeyFile       string `json:"tls_key_file,omitempty"`
	ClientCA      string `json:"tls_client_ca_file,omitempty"`
	RequireClient bool   `json:"tls_require_and_verify_client_cert,omitempty"`
}

// Seal is a kind of key slot that the configuration names.
type Seal struct {
	Type     string `json:"type"`
	Disabled bool   `json:"disabled"`
}

// Storage is where data is kept.
type Storage struct {
	Type              string `json:"type"`
	ClusterAddress    string `json:"cluster_addr"`
	DisableClustering bool   `json:"disable_clustering"`
	RedirectAddress   string `json:"redirect_addr"`
}

// config answers with this server's configuration without what is secret.
func (n *Node) config(*api.Call, *api.None) (*Config, error) { return n.Config(), nil }

// ReloadRequest names what to read anew.
type ReloadRequest struct {
	Subsystem string `path:"subsystem"` // What to read anew: tls (the listeners' certificates) or audit (audit files, after they were rotated).
}

// reload reads a part of the configuration of this server anew, as SIGHUP does.
func (n *Node) reload(_ *api.Call, q *ReloadRequest) (*api.None, error) {
	fn := n.Reload[q.Subsystem]
	if fn == nil {
		return nil, &api.Error{Kind: api.Invalid, Message: "there is no such subsystem to reload", Hint: "one of " + strings.Join(slices.Sorted(maps.Keys(n.Reload)), ", ")}
	}
	if err := fn(); err != nil {
		return nil, &api.Error{Kind: api.Invalid, Message: "reloading " + q.Subsystem + " failed: what was in use stays in use", Hint: "the server's log has the cause", Err: err}
	}
	return nil, nil
}
