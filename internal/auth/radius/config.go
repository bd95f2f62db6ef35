package radius

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of the settings.
const (
	maxTimeout  = 10 * time.Minute
	maxSecret   = 1 << 10
	shortSecret = 16 // bytes; RFC 2865, section 3
)

// config is the method's settings. The secret is beside it in its row.
type config struct {
	Host         string         `json:"host"`
	Port         int            `json:"port"`
	Unregistered []string       `json:"unregistered,omitempty"`
	DialTimeout  time.Duration  `json:"dial_timeout"`
	ReadTimeout  time.Duration  `json:"read_timeout"`
	NASPort      int            `json:"nas_port"`
	NASID        string         `json:"nas_id,omitempty"`
	Unproved     bool           `json:"unproved,omitempty"` // take answers without a Message-Authenticator
	Token        api.TokenTerms `json:"token"`

	secret api.Secret
}

// configRow is the stored form of the settings.
type configRow struct {
	config
	Secret string `json:"secret"`
}

// ConfigRequest changes the settings; what is absent stays as it was.
type ConfigRequest struct {
	Host                        *string       `json:"host"`                                     // Name or address of the RADIUS server.
	Port                        *int          `json:"port"`                                     // Its UDP port; 1812 when never set.
	Secret                      *api.Secret   `json:"secret"`                                   // The secret shared with it. 16 random bytes or more keep it from being guessed.
	UnregisteredUserPolicies    *string       `json:"unregistered_user_policies" audit:"clear"` // Policies, comma-separated, of accounts that are not registered; none: they cannot log in.
	DialTimeout                 *api.Duration `json:"dial_timeout"`                             // How long finding the server's address may take.
	ReadTimeout                 *api.Duration `json:"read_timeout"`                             // How long the server may take to answer.
	NASPort                     *int          `json:"nas_port"`                                 // NAS-Port of requests; 10 when never set.
	NASIdentifier               *string       `json:"nas_identifier"`                           // NAS-Identifier of requests; empty: the server's own address stands for it.
	RequireMessageAuthenticator *bool         `json:"require_message_authenticator"`            // Take no answer without a Message-Authenticator. Without it, somebody in between can forge one.
	api.TokenFields
}

// ConfigAnswer is the settings as they are read. The secret is not shown.
type ConfigAnswer struct {
	DialTimeout                 api.Duration `json:"dial_timeout"`
	Host                        string       `json:"host"`
	NASIdentifier               string       `json:"nas_identifier"`
	NASPort                     int          `json:"nas_port"`
	Port                        int          `json:"port"`
	ReadTimeout                 api.Duration `json:"read_timeout"`
	RequireMessageAuthenticator bool         `json:"require_message_authenticator"`
	UnregisteredUserPolicies    []string     `json:"unregistered_user_policies" audit:"clear"`
	api.TokenAnswer
}

// settings reads the settings; nil where none were made.
func settings(get func(string) (store.Entry, error)) (*config, error) {
	var row configRow
	ok, err := load(get, keyConfig, &row)
	if err != nil || !ok {
		return nil, err
	}
	row.secret = api.NewSecret(row.Secret)
	return &row.config, nil
}

// readConfig shows the settings, without the secret.
func (engine) readConfig(c *api.Call, _ *api.None) (*ConfigAnswer, error) {
	cfg, err := settings(stored(c))
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		return nil, api.ErrNotFound()
	}
	return &ConfigAnswer{
		DialTimeout: api.Duration(cfg.DialTimeout), Host: cfg.Host, NASIdentifier: cfg.NASID, NASPort: cfg.NASPort, Port: cfg.Port,
		ReadTimeout: api.Duration(cfg.ReadTimeout), RequireMessageAuthenticator: !cfg.Unproved,
		UnregisteredUserPolicies: api.Full(cfg.Unregistered), TokenAnswer: cfg.Token.Answer(),
	}, nil
}

func (engine) hasConfig(c *api.Call, _ *ConfigRequest) (bool, error) {
	cfg, err := settings(stored(c))
	return cfg != nil, err
}

// writeConfig changes the settings. The server is not asked: it may be away.
func (engine) writeConfig(c *api.Call, q *ConfigRequest) (*api.None, error) {
	var cfg *config
	_, err := store.Update(c, c.Store, func(tx *store.Tx) (err error) {
		if cfg, err = settings(tx.Get); err != nil {
			return err
		}
		if cfg == nil {
			cfg = &config{Port: 1812, NASPort: 10, DialTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second}
		}
		if err := q.apply(cfg); err != nil {
			return err
		}
		if err := outbound.Judge(c, "host, port", cfg.address()); err != nil {
			return err
		}
		return put(tx, keyConfig, &configRow{*cfg, cfg.secret.Reveal()})
	})
	if err != nil {
		return nil, err
	}
	if cfg.Unproved {
		c.Warn("require_message_authenticator: whoever is between this server and the RADIUS server can let in whom they like (CVE-2024-3596)")
	}
	if len(cfg.secret.Reveal()) < shortSecret {
		c.Warn("secret: is short enough to be guessed from what goes over the network, and every password with it; use " + strconv.Itoa(shortSecret) + " random bytes or more")
	}
	return nil, nil
}

// apply changes the settings as asked and returns Invalid, naming the field, for what
// cannot be.
func (q *ConfigRequest) apply(cfg *config) error {
	before := *cfg
	api.Set(&cfg.Host, q.Host)
	api.Set(&cfg.Port, q.Port)
	api.Set(&cfg.secret, q.Secret)
	api.Set(&cfg.NASPort, q.NASPort)
	api.Set(&cfg.NASID, q.NASIdentifier)
	api.Set((*api.Duration)(&cfg.DialTimeout), q.DialTimeout)
	api.Set((*api.Duration)(&cfg.ReadTimeout), q.ReadTimeout)
	if q.RequireMessageAuthenticator != nil {
		cfg.Unproved = !*q.RequireMessageAuthenticator
	}
	if q.UnregisteredUserPolicies != nil {
		var err error
		if cfg.Unregistered, err = policiesOf("unregistered_user_policies", strings.Split(*q.UnregisteredUserPolicies, ",")); err != nil {
			return err
		}
	}
	if err := q.TokenFields.Apply(&cfg.Token); err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	return q.checkPeer(&before, cfg)
}

// checkPeer keeps what is made with the stored secret from being sent to somebody else, who could guess the secret from it:
// whoever changes who is asked must know it.
func (q *ConfigRequest) checkPeer(before, cfg *config) error {
	if q.Secret != nil || before.Host == cfg.Host && before.Port == cfg.Port {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: "secret: must be given again with another host or port", Hint: "passwords that are hidden by the stored secret would go to whoever is asked then"}
}

// address is where the server listens.
func (cfg *config) address() string { return net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)) }

// maxHost bounds a host's name, in bytes (RFC 1035).
const maxHost = 254

// hostname is the form of a host's name.
var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)

func (cfg *config) check() error {
	within := func(d time.Duration) bool { return d > 0 && d <= maxTimeout }
	switch {
	case (len(cfg.Host) > maxHost || !hostname.MatchString(cfg.Host)) && net.ParseIP(cfg.Host) == nil:
		return api.Errorf(api.Invalid, "host: must be a name or an address, without a port")
	case cfg.Port < 1 || cfg.Port > 65535:
		return api.Errorf(api.Invalid, "port: must be between 1 and 65535")
	case cfg.secret.Empty() || len(cfg.secret.Reveal()) > maxSecret:
		return api.Errorf(api.Invalid, "secret: is missing, or longer than %d bytes", maxSecret)
	case !within(cfg.DialTimeout) || !within(cfg.ReadTimeout):
		return api.Errorf(api.Invalid, "dial_timeout and read_timeout must be more than 0 and at most %d seconds", int(maxTimeout.Seconds()))
	case cfg.NASPort < 0 || cfg.NASPort > 1<<31-1:
		return api.Errorf(api.Invalid, "nas_port: is out of range")
	case len(cfg.NASID) > maxName || strings.Contains(cfg.NASID, "\x00"):
		return api.Errorf(api.Invalid, "nas_identifier: is longer than %d bytes, or holds a NUL", maxName)
	}
	return nil
}
