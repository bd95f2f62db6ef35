package ldap

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of the settings.
const (
	maxURLs    = 16
	maxTimeout = 10 * time.Minute
	maxSetting = 64 << 10 // bytes of one setting
)

// config is the method's settings. The secrets among them are beside it in its row.
type config struct {
	URL               string         `json:"url"`
	StartTLS          bool           `json:"starttls,omitempty"`
	TLSMin            string         `json:"tls_min"`
	TLSMax            string         `json:"tls_max"`
	InsecureTLS       bool           `json:"insecure_tls,omitempty"`
	Certificate       string         `json:"certificate,omitempty"`
	ClientCert        string         `json:"client_cert,omitempty"`
	BindDN            string         `json:"binddn,omitempty"`
	UserDN            string         `json:"userdn,omitempty"`
	UserAttr          string         `json:"userattr"`
	UserFilter        string         `json:"userfilter"`
	DiscoverDN        bool           `json:"discoverdn,omitempty"`
	DenyNullBind      bool           `json:"deny_null_bind"` // shown alone: a null bind lets nobody in
	UPNDomain         string         `json:"upndomain,omitempty"`
	GroupDN           string         `json:"groupdn,omitempty"`
	GroupFilter       string         `json:"groupfilter"`
	GroupAttr         string         `json:"groupattr"`
	AnonymousGroups   bool           `json:"anonymous_groups,omitempty"`
	TokenGroups       bool           `json:"token_groups,omitempty"`
	OldGroupCN        bool           `json:"old_group_cn,omitempty"`
	NameAsAlias       bool           `json:"name_as_alias,omitempty"`
	CaseSensitive     bool           `json:"case_sensitive,omitempty"`
	RequestTimeout    time.Duration  `json:"request_timeout"`
	ConnectionTimeout time.Duration  `json:"connection_timeout"`
	Dereference       string         `json:"dereference"`
	PageSize          int            `json:"page_size,omitempty"`
	Token             api.TokenTerms `json:"token"`

	bindPass  api.Secret
	clientKey api.Secret
	userTmpl  template
	groupTmpl template
}

// configRow is the stored form of the settings.
type configRow struct {
	config
	BindPass  string `json:"bindpass,omitempty"`
	ClientKey string `json:"client_key,omitempty"`
}

// ConfigRequest changes the settings; what is absent stays as it was.
type ConfigRequest struct {
	URL                  *string       `json:"url"`                          // Servers to ask, comma-separated, such as ldaps://ldap.example.com; the first that can be reached is.
	StartTLS             *bool         `json:"starttls"`                     // Speak TLS from the start of a connection to an ldap:// address.
	TLSMinVersion        *string       `json:"tls_min_version"`              // Least version of TLS: tls12 or tls13.
	TLSMaxVersion        *string       `json:"tls_max_version"`              // Highest version of TLS: tls12 or tls13.
	InsecureTLS          *bool         `json:"insecure_tls"`                 // Believe any certificate. Whoever is in between reads every password.
	Certificate          *string       `json:"certificate"`                  // Certificates, in PEM, that the server's must come from; empty: the system's.
	ClientTLSCert        *string       `json:"client_tls_cert"`              // Certificate, in PEM, to show to the server.
	ClientTLSKey         *api.Secret   `json:"client_tls_key"`               // Its key, in PEM.
	BindDN               *string       `json:"binddn"`                       // Account that looks for users and groups. Without it, tokens cannot be renewed.
	BindPass             *api.Secret   `json:"bindpass"`                     // Its password.
	UserDN               *string       `json:"userdn"`                       // Where users are, such as ou=people,dc=example,dc=com.
	UserAttr             *string       `json:"userattr"`                     // Attribute that names a user: the alias is its value.
	UserFilter           *string       `json:"userfilter"`                   // Filter that finds a user, with {{.UserAttr}} and {{.Username}}.
	DiscoverDN           *bool         `json:"discoverdn"`                   // Look for a user without an account to do so.
	DenyNullBind         *bool         `json:"deny_null_bind"`               // An empty password lets nobody in, whatever is set here.
	UPNDomain            *string       `json:"upndomain"`                    // Domain that makes a userPrincipalName of a name.
	GroupDN              *string       `json:"groupdn"`                      // Where groups are; empty: groups are not looked for.
	GroupFilter          *string       `json:"groupfilter"`                  // Filter that finds a user's groups, with {{.UserDN}} and {{.Username}}; empty: groups are not looked for.
	GroupAttr            *string       `json:"groupattr"`                    // Attribute, of what the filter finds, that names groups.
	AnonymousGroupSearch *bool         `json:"anonymous_group_search"`       // Look for groups without an account.
	UseTokenGroups       *bool         `json:"use_token_groups"`             // Take groups from Active Directory's tokenGroups, nested ones among them.
	UsePre111GroupCN     *bool         `json:"use_pre111_group_cn_behavior"` // Of a group's distinguished name, take CN= alone for its name and not cn=.
	UsernameAsAlias      *bool         `json:"username_as_alias"`            // The alias is the value of the attribute that userfilter compares the name with, not of userattr.
	CaseSensitiveNames   *bool         `json:"case_sensitive_names"`         // Aliases keep the directory's capitals.
	RequestTimeout       *api.Duration `json:"request_timeout"`              // How long the directory may take in all.
	ConnectionTimeout    *api.Duration `json:"connection_timeout"`           // How long one server may take to be reached.
	DereferenceAliases   *string       `json:"dereference_aliases"`          // When aliases of the directory are followed: never, finding, searching or always.
	MaxPageSize          *int          `json:"max_page_size"`                // How many groups to ask for at a time; 0 or less: all at once.
	api.TokenFields
}

// ConfigAnswer is the settings as they are read. Secrets are not shown.
type ConfigAnswer struct {
	AnonymousGroupSearch bool         `json:"anonymous_group_search"`
	BindDN               string       `json:"binddn"`
	CaseSensitiveNames   bool         `json:"case_sensitive_names"`
	Certificate          string       `json:"certificate"`
	ConnectionTimeout    api.Duration `json:"connection_timeout"`
	DenyNullBind         bool         `json:"deny_null_bind"`
	DereferenceAliases   string       `json:"dereference_aliases"`
	DiscoverDN           bool         `json:"discoverdn"`
	GroupAttr            string       `json:"groupattr"`
	GroupDN              string       `json:"groupdn"`
	GroupFilter          string       `json:"groupfilter"`
	InsecureTLS          bool         `json:"insecure_tls"`
	MaxPageSize          int          `json:"max_page_size"`
	RequestTimeout       api.Duration `json:"request_timeout"`
	StartTLS             bool         `json:"starttls"`
	TLSMaxVersion        string       `json:"tls_max_version"`
	TLSMinVersion        string       `json:"tls_min_version"`
	UPNDomain            string       `json:"upndomain"`
	URL                  string       `json:"url"`
	UsePre111GroupCN     bool         `json:"use_pre111_group_cn_behavior"`
	UseTokenGroups       bool         `json:"use_token_groups"`
	UserAttr             string       `json:"userattr"`
	UserDN               string       `json:"userdn"`
	UserFilter           string       `json:"userfilter"`
	UsernameAsAlias      bool         `json:"username_as_alias"`
	api.TokenAnswer
}

func defaults() *config {
	return &config{
		URL: "ldap://127.0.0.1", TLSMin: "tls12", TLSMax: "tls13", UserAttr: "cn", UserFilter: "({{.UserAttr}}={{.Username}})",
		GroupFilter: "(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))", GroupAttr: "cn", DenyNullBind: true,
		RequestTimeout: 90 * time.Second, ConnectionTimeout: 30 * time.Second, Dereference: "never",
	}
}

// settings reads the settings; nil where none were made.
func settings(get getter) (*config, error) {
	row := configRow{config: *defaults()}
	ok, err := load(get, keyConfig, &row)
	if err != nil || !ok {
		return nil, err
	}
	cfg := &row.config
	cfg.bindPass, cfg.clientKey = api.NewSecret(row.BindPass), api.NewSecret(row.ClientKey)
	return cfg, cfg.compile()
}

// readConfig shows the settings, without their secrets.
func (engine) readConfig(c *api.Call, _ *api.None) (*ConfigAnswer, error) {
	cfg, err := settings(stored(c))
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		cfg = defaults()
	}
	return &ConfigAnswer{
		AnonymousGroupSearch: cfg.AnonymousGroups, BindDN: cfg.BindDN, CaseSensitiveNames: cfg.CaseSensitive, Certificate: cfg.Certificate,
		ConnectionTimeout: api.Duration(cfg.ConnectionTimeout), DenyNullBind: cfg.DenyNullBind, DereferenceAliases: cfg.Dereference,
		DiscoverDN: cfg.DiscoverDN, GroupAttr: cfg.GroupAttr, GroupDN: cfg.GroupDN, GroupFilter: cfg.GroupFilter, InsecureTLS: cfg.InsecureTLS,
		MaxPageSize: cfg.PageSize, RequestTimeout: api.Duration(cfg.RequestTimeout), StartTLS: cfg.StartTLS, TLSMaxVersion: cfg.TLSMax,
		TLSMinVersion: cfg.TLSMin, UPNDomain: cfg.UPNDomain, URL: cfg.URL, UsePre111GroupCN: cfg.OldGroupCN, UseTokenGroups: cfg.TokenGroups,
		UserAttr: cfg.UserAttr, UserDN: cfg.UserDN, UserFilter: cfg.UserFilter, UsernameAsAlias: cfg.NameAsAlias, TokenAnswer: cfg.Token.Answer(),
	}, nil
}

// writeConfig changes the settings. The directory is not asked: it may be away.
func (engine) writeConfig(c *api.Call, q *ConfigRequest) (*api.None, error) {
	var cfg *config
	_, err := store.Update(c, c.Store, func(tx *store.Tx) (err error) {
		if cfg, err = settings(tx.Get); err != nil {
			return err
		}
		if cfg == nil {
			cfg = defaults()
		}
		if err := q.apply(cfg); err != nil {
			return err
		}
		for _, u := range cfg.servers() {
			if err := outbound.Judge(c, "url", hostPort(u)); err != nil {
				return err
			}
		}
		b, err := encode(&configRow{*cfg, cfg.bindPass.Reveal(), cfg.clientKey.Reveal()})
		tx.Put(keyConfig, b)
		return err
	})
	if err == nil {
		cfg.warn(c)
	}
	return nil, err
}

// apply changes the settings as asked and returns Invalid, naming the field, for what
// cannot be.
func (q *ConfigRequest) apply(cfg *config) error {
	before := *cfg
	for _, f := range []struct{ dst, src *string }{
		{&cfg.URL, q.URL}, {&cfg.TLSMin, q.TLSMinVersion}, {&cfg.TLSMax, q.TLSMaxVersion}, {&cfg.Certificate, q.Certificate},
		{&cfg.ClientCert, q.ClientTLSCert}, {&cfg.BindDN, q.BindDN}, {&cfg.UserDN, q.UserDN}, {&cfg.UserAttr, q.UserAttr},
		{&cfg.UserFilter, q.UserFilter}, {&cfg.UPNDomain, q.UPNDomain}, {&cfg.GroupDN, q.GroupDN}, {&cfg.GroupFilter, q.GroupFilter},
		{&cfg.GroupAttr, q.GroupAttr}, {&cfg.Dereference, q.DereferenceAliases},
	} {
		api.Set(f.dst, f.src)
	}
	for _, f := range []struct{ dst, src *bool }{
		{&cfg.StartTLS, q.StartTLS}, {&cfg.InsecureTLS, q.InsecureTLS}, {&cfg.DiscoverDN, q.DiscoverDN}, {&cfg.DenyNullBind, q.DenyNullBind},
		{&cfg.AnonymousGroups, q.AnonymousGroupSearch}, {&cfg.TokenGroups, q.UseTokenGroups}, {&cfg.OldGroupCN, q.UsePre111GroupCN},
		{&cfg.NameAsAlias, q.UsernameAsAlias}, {&cfg.CaseSensitive, q.CaseSensitiveNames},
	} {
		api.Set(f.dst, f.src)
	}
	api.Set((*api.Duration)(&cfg.RequestTimeout), q.RequestTimeout)
	api.Set((*api.Duration)(&cfg.ConnectionTimeout), q.ConnectionTimeout)
	api.Set(&cfg.PageSize, q.MaxPageSize)
	api.Set(&cfg.bindPass, q.BindPass)
	api.Set(&cfg.clientKey, q.ClientTLSKey)
	if cfg.BindDN == "" {
		cfg.bindPass = api.Secret{}
	}
	if cfg.ClientCert == "" {
		cfg.clientKey = api.Secret{}
	}
	if err := q.TokenFields.Apply(&cfg.Token); err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	return q.checkPeer(&before, cfg)
}

// checkPeer keeps the stored password from being sent to somebody else: whoever changes
// who is asked must know it.
func (q *ConfigRequest) checkPeer(before, cfg *config) error {
	if q.BindPass != nil || before.bindPass.Empty() || cfg.BindDN == "" {
		return nil
	}
	if before.URL != cfg.URL || before.Certificate != cfg.Certificate || before.InsecureTLS != cfg.InsecureTLS || before.StartTLS != cfg.StartTLS {
		return &api.Error{Kind: api.Invalid, Message: "bindpass: must be given again with another url, certificate, insecure_tls or starttls",
			Hint: "the password that is stored would go to whoever is asked then"}
	}
	return nil
}

// attribute is the form of an attribute's description (RFC 4512, section 2.5).
var attribute = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*$`)

// domain is the form of a userPrincipalName's last part.
var domain = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`)

func (cfg *config) check() error {
	for _, f := range []struct {
		name, value string
		ok          func(string) bool
		want        string
	}{
		{"url", cfg.URL, addressed, "servers as in ldaps://ldap.example.com:636, comma-separated, with nothing behind the port"},
		{"tls_min_version", cfg.TLSMin, version, "tls12 or tls13"},
		{"tls_max_version", cfg.TLSMax, version, "tls12 or tls13"},
		{"userdn", cfg.UserDN, distinguished, "a distinguished name"},
		{"groupdn", cfg.GroupDN, distinguished, "a distinguished name"},
		{"userattr", cfg.UserAttr, attribute.MatchString, "an attribute's name"},
		{"groupattr", cfg.GroupAttr, attribute.MatchString, "an attribute's name"},
		{"upndomain", cfg.UPNDomain, func(s string) bool { return s == "" || domain.MatchString(s) }, "a domain's name"},
		{"dereference_aliases", cfg.Dereference, func(s string) bool { _, ok := dereference()[s]; return ok }, "never, finding, searching or always"},
	} {
		if len(f.value) > maxSetting || !f.ok(f.value) {
			return api.Errorf(api.Invalid, "%s: must be %s", f.name, f.want)
		}
	}
	if err := outbound.CheckCA(cfg.Certificate); err != nil || len(cfg.Certificate) > maxSetting {
		return api.Errorf(api.Invalid, "certificate: must be certificates in PEM, of at most %d bytes, and nothing else", maxSetting)
	}
	return errors.Join(cfg.checkTogether(), cfg.compile())
}

// checkTogether is about settings that must fit each other.
func (cfg *config) checkTogether() error {
	within := func(d time.Duration) bool { return d > 0 && d <= maxTimeout }
	switch {
	case !within(cfg.RequestTimeout) || !within(cfg.ConnectionTimeout):
		return api.Errorf(api.Invalid, "request_timeout and connection_timeout must be more than 0 and at most %d seconds", int(maxTimeout.Seconds()))
	case cfg.TLSMin > cfg.TLSMax:
		return api.Errorf(api.Invalid, "tls_max_version: is below tls_min_version")
	case (cfg.BindDN == "") != cfg.bindPass.Empty():
		return api.Errorf(api.Invalid, "binddn and bindpass: one is of no use without the other")
	case len(cfg.BindDN) > maxSetting || strings.Contains(cfg.bindPass.Reveal(), "\x00"):
		return api.Errorf(api.Invalid, "binddn and bindpass: one is too long, or holds a NUL")
	case (cfg.ClientCert == "") != cfg.clientKey.Empty():
		return api.Errorf(api.Invalid, "client_tls_cert and client_tls_key: one is of no use without the other")
	case cfg.PageSize > maxGroups:
		return api.Errorf(api.Invalid, "max_page_size: is over %d", maxGroups)
	case cfg.ClientCert != "":
		if _, err := tls.X509KeyPair([]byte(cfg.ClientCert), []byte(cfg.clientKey.Reveal())); err != nil {
			return api.Errorf(api.Invalid, "client_tls_cert and client_tls_key: are not a certificate and its key in PEM")
		}
	}
	return nil
}

// compile takes the filters apart.
func (cfg *config) compile() (err error) {
	if cfg.userTmpl, err = parseTemplate(cfg.UserFilter, cfg.UserAttr, fieldAttr, fieldName); err != nil {
		return api.Errorf(api.Invalid, "userfilter: %v", err)
	}
	if cfg.GroupFilter == "" {
		cfg.groupTmpl = nil
		return nil
	}
	if cfg.groupTmpl, err = parseTemplate(cfg.GroupFilter, cfg.UserAttr, fieldAttr, fieldName, fieldDN); err != nil {
		return api.Errorf(api.Invalid, "groupfilter: %v", err)
	}
	return nil
}

// warn tells of settings that are not safe, and of what follows from others.
func (cfg *config) warn(c *api.Call) {
	if cfg.InsecureTLS {
		c.Warn("insecure_tls: whoever is between this server and the directory reads every password")
	}
	if !cfg.DenyNullBind {
		c.Warn("deny_null_bind: an empty password lets nobody in, also when this is false")
	}
	if !cfg.searches() {
		c.Warn("without binddn or discoverdn the directory cannot be asked again, so that tokens cannot be renewed")
	}
	for _, s := range cfg.servers() {
		if s.Scheme == "ldap" && !cfg.StartTLS && !outbound.Loopback(s.Hostname()) {
			c.Warn("url: passwords go to " + s.Host + " in the clear; use ldaps:// or starttls")
		}
	}
}

// searches reports whether there is somebody to look for accounts before they have
// proved to be who they are.
func (cfg *config) searches() bool { return cfg.BindDN != "" || cfg.DiscoverDN }

// servers are the addresses to ask, in order.
func (cfg *config) servers() []*url.URL {
	var out []*url.URL
	for part := range strings.SplitSeq(cfg.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil {
			out = append(out, u)
		}
	}
	return out
}

// hostPort is where a server listens.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "ldaps":
		port = "636"
	default:
		port = "389"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func addressed(list string) bool {
	parts := strings.Split(list, ",")
	for _, part := range parts {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
			return false
		}
	}
	return len(parts) <= maxURLs
}

func distinguished(s string) bool {
	_, err := ldap.ParseDN(s)
	return err == nil
}

func version(s string) bool { return tlsVersion(s) != 0 }

func tlsVersion(s string) uint16 {
	switch s {
	case "tls12":
		return tls.VersionTLS12
	case "tls13":
		return tls.VersionTLS13
	}
	return 0
}

// dereference are the ways to follow a directory's aliases, by their names.
func dereference() map[string]int {
	return map[string]int{"never": ldap.NeverDerefAliases, "searching": ldap.DerefInSearching, "finding": ldap.DerefFindingBaseObj, "always": ldap.DerefAlways}
}
