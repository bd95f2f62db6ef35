package cert

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// entry is what is trusted under a name.
type entry struct {
	Certificate string         `json:"certificate"`
	DisplayName string         `json:"display_name,omitempty"`
	Rules       rules          `json:"rules"`
	Metadata    []string       `json:"metadata,omitempty"` // extensions that go into a login's metadata
	OCSP        ocspTerms      `json:"ocsp"`
	Token       api.TokenTerms `json:"token"`
	Old         authrole.Old   `json:"old,omitempty"`
}

// CertName names an entry.
type CertName struct {
	Name api.Name `path:"name"` // The entry.
}

// PutCert creates or changes an entry; what is absent stays as it was.
type PutCert struct {
	Name                 api.Name      `path:"name"`                                                         // The entry.
	Certificate          *string       `json:"certificate"`                                                  // What is trusted, in PEM: authorities, or single certificates of clients.
	DisplayName          *string       `json:"display_name"`                                                 // Name of logins in tokens and the audit log; the entry's when empty.
	Names                *[]string     `json:"allowed_names"`                                                // Patterns for the common name, DNS names and mail addresses, of which one must match.
	CommonNames          *[]string     `json:"allowed_common_names"`                                         // Patterns for the common name, of which one must match.
	DNSSANs              *[]string     `json:"allowed_dns_sans"`                                             // Patterns for alternative DNS names, of which one must match.
	EmailSANs            *[]string     `json:"allowed_email_sans"`                                           // Patterns for alternative mail addresses, of which one must match.
	URISANs              *[]string     `json:"allowed_uri_sans"`                                             // Patterns for alternative URIs, of which one must match.
	Units                *[]string     `json:"allowed_organizational_units"`                                 // Patterns for the organizational units, of which one must match.
	RequiredExtensions   *[]string     `json:"required_extensions"`                                          // OID:PATTERN for a text, hex:OID:PATTERN for bytes; all must match.
	MetadataExtensions   *[]string     `json:"allowed_metadata_extensions"`                                  // OIDs of extensions whose texts go into the metadata of tokens.
	OCSPEnabled          *bool         `json:"ocsp_enabled"`                                                 // Ask a responder whether the certificate is revoked.
	OCSPCACertificates   *string       `json:"ocsp_ca_certificates"`                                         // Further certificates, in PEM, whose answers are believed.
	OCSPServersOverride  *[]string     `json:"ocsp_servers_override"`                                        // Responders to ask in place of those that the certificate names.
	OCSPFailOpen         *bool         `json:"ocsp_fail_open"`                                               // Let in whose status cannot be found out.
	OCSPQueryAllServers  *bool         `json:"ocsp_query_all_servers"`                                       // Ask all responders, who must agree.
	OCSPMaxRetries       *int          `json:"ocsp_max_retries"`                                             // How often a responder is asked again that does not answer, at most 4.
	OCSPThisUpdateMaxAge *api.Duration `json:"ocsp_this_update_max_age"`                                     // How old an answer may be; 0: as it says itself.
	Policies             *[]string     `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	TTL                  *api.Duration `json:"ttl" api:"deprecated,alias=token_ttl"`                         // Old name of token_ttl.
	Lease                *api.Duration `json:"lease" api:"deprecated,alias=token_ttl"`                       // Older name of token_ttl.
	MaxTTL               *api.Duration `json:"max_ttl" api:"deprecated,alias=token_max_ttl"`                 // Old name of token_max_ttl.
	Period               *api.Duration `json:"period" api:"deprecated,alias=token_period"`                   // Old name of token_period.
	BoundCIDRs           *[]string     `json:"bound_cidrs" api:"deprecated,alias=token_bound_cidrs"`         // Old name of token_bound_cidrs.
	api.TokenFields
	Aliases []string `json:"-" api:"aliases"`
}

// Cert is an entry as it is read.
type Cert struct {
	Certificate          string       `json:"certificate" audit:"clear"`
	DisplayName          string       `json:"display_name"`
	Names                []string     `json:"allowed_names"`
	CommonNames          []string     `json:"allowed_common_names"`
	DNSSANs              []string     `json:"allowed_dns_sans"`
	EmailSANs            []string     `json:"allowed_email_sans"`
	URISANs              []string     `json:"allowed_uri_sans"`
	Units                []string     `json:"allowed_organizational_units"`
	RequiredExtensions   []string     `json:"required_extensions"`
	MetadataExtensions   []string     `json:"allowed_metadata_extensions"`
	OCSPEnabled          bool         `json:"ocsp_enabled"`
	OCSPCACertificates   string       `json:"ocsp_ca_certificates" audit:"clear"`
	OCSPServersOverride  []string     `json:"ocsp_servers_override"`
	OCSPFailOpen         bool         `json:"ocsp_fail_open"`
	OCSPQueryAllServers  bool         `json:"ocsp_query_all_servers"`
	OCSPMaxRetries       int          `json:"ocsp_max_retries"`
	OCSPThisUpdateMaxAge api.Duration `json:"ocsp_this_update_max_age"`
	api.TokenAnswer
	authrole.OldAnswer
}

func load(c *api.Call, name string) (*entry, error) {
	return store.LoadJSON[entry](c, c.Store, entryPrefix+name)
}

// readCert answers an entry.
func (engine) readCert(c *api.Call, q *CertName) (*Cert, error) {
	e, err := load(c, string(q.Name))
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, api.ErrNotFound()
	}
	r, o := &e.Rules, &e.OCSP
	if e.DisplayName == "" {
		e.DisplayName = string(q.Name)
	}
	return &Cert{Certificate: e.Certificate, DisplayName: e.DisplayName, Names: r.Names, CommonNames: r.CommonNames, DNSSANs: r.DNS, EmailSANs: r.Emails,
		URISANs: r.URIs, Units: r.Units, RequiredExtensions: r.Extensions, MetadataExtensions: e.Metadata, OCSPEnabled: o.Enabled,
		OCSPCACertificates: o.Responders, OCSPServersOverride: o.Servers, OCSPFailOpen: o.FailOpen, OCSPQueryAllServers: o.All,
		OCSPMaxRetries: o.Retries, OCSPThisUpdateMaxAge: api.Duration(o.MaxAge), TokenAnswer: e.Token.Answer(), OldAnswer: e.Old.Answer(e.Token.Answer())}, nil
}

// listCerts names the entries.
func (engine) listCerts(c *api.Call, _ *api.None) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, entryPrefix, "", 0)
	return &api.Keys{Keys: names}, err
}

// putCert creates or changes an entry.
func (engine) putCert(c *api.Call, q *PutCert) (*api.None, error) {
	name := string(q.Name)
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		e := entry{OCSP: ocspTerms{Retries: maxRetries}}
		found, err := tx.LoadJSON(entryPrefix+name, &e)
		if err != nil {
			return err
		}
		before := e.Certificate
		if err := q.apply(&e); err != nil {
			return err
		}
		for _, s := range e.OCSP.Servers {
			if err := outbound.JudgeURL(c, "ocsp_servers_override", s); err != nil {
				return err
			}
		}
		if found && before != e.Certificate {
			if err := untrust(tx, name, before); err != nil {
				return err
			}
		}
		a, err := parseAnchors(e.Certificate)
		if err != nil {
			return api.Errorf(api.Invalid, "certificate: %v", err)
		}
		for _, mark := range a.marks() {
			tx.Put(trustPrefix+mark+"/"+name, []byte(name))
		}
		return tx.PutJSON(entryPrefix+name, &e)
	})
	return nil, err
}

// untrust removes the rows by which an entry is found.
func untrust(tx *store.Tx, name, certificate string) error {
	a, err := parseAnchors(certificate)
	if err != nil {
		return fmt.Errorf("cert: %w: the certificates of an entry cannot be read", store.ErrCorrupt)
	}
	for _, mark := range a.marks() {
		tx.Delete(trustPrefix + mark + "/" + name)
	}
	return nil
}

// deleteCert removes an entry. Tokens that it has let in live on, and cannot be renewed.
func (engine) deleteCert(c *api.Call, q *CertName) (*api.None, error) {
	name := string(q.Name)
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var e entry
		found, err := tx.LoadJSON(entryPrefix+name, &e)
		if err != nil || !found {
			return err
		}
		tx.Delete(entryPrefix + name)
		return untrust(tx, name, e.Certificate)
	})
	return nil, err
}

// apply changes an entry as asked.
func (q *PutCert) apply(e *entry) error {
	api.Set(&e.Certificate, q.Certificate)
	api.Set(&e.DisplayName, q.DisplayName)
	if e.Certificate == "" {
		return &api.Error{Kind: api.Invalid, Message: "missing certificate", Hint: "send the authority's certificate in PEM, or those of single clients: certificate=@ca.pem"}
	}
	if len(e.DisplayName) > maxItem {
		return api.Errorf(api.Invalid, "display_name: is longer than %d bytes", maxItem)
	}
	if err := q.applyRules(e); err != nil {
		return err
	}
	if err := q.applyOCSP(&e.OCSP); err != nil {
		return err
	}
	e.Old.Note(&q.TokenFields, q.Aliases)
	return q.TokenFields.Apply(&e.Token)
}

// Bounds of an entry's lists.
const (
	maxItems = 100 // patterns in a list
	maxItem  = 512 // of a pattern, in bytes
)

func (q *PutCert) applyRules(e *entry) error {
	for _, f := range []struct {
		name string
		dst  *[]string
		src  *[]string
	}{
		{"allowed_names", &e.Rules.Names, q.Names}, {"allowed_common_names", &e.Rules.CommonNames, q.CommonNames},
		{"allowed_dns_sans", &e.Rules.DNS, q.DNSSANs}, {"allowed_email_sans", &e.Rules.Emails, q.EmailSANs},
		{"allowed_uri_sans", &e.Rules.URIs, q.URISANs}, {"allowed_organizational_units", &e.Rules.Units, q.Units},
		{"required_extensions", &e.Rules.Extensions, q.RequiredExtensions}, {"allowed_metadata_extensions", &e.Metadata, q.MetadataExtensions},
		{"ocsp_servers_override", &e.OCSP.Servers, q.OCSPServersOverride},
	} {
		if err := bounded(f.name, f.src); err != nil {
			return err
		}
		api.Set(f.dst, f.src)
	}
	for _, rule := range e.Rules.Extensions {
		if _, _, _, ok := extensionRule(rule); !ok {
			return api.Errorf(api.Invalid, "required_extensions: each must be OID:PATTERN or hex:OID:PATTERN")
		}
	}
	for _, oid := range e.Metadata {
		if _, _, raw, ok := extensionRule(oid + ":"); !ok || raw {
			return api.Errorf(api.Invalid, "allowed_metadata_extensions: each must be an OID such as 1.2.3")
		}
	}
	return nil
}

// bounded refuses lists that are too long, and patterns that are empty or too long: one
// that is empty would demand what nobody means.
func bounded(name string, list *[]string) error {
	if list == nil {
		return nil
	}
	if len(*list) > maxItems {
		return api.Errorf(api.Invalid, "%s: holds more than %d", name, maxItems)
	}
	if slices.ContainsFunc(*list, func(s string) bool { return strings.TrimSpace(s) == "" || len(s) > maxItem }) {
		return api.Errorf(api.Invalid, "%s: holds one that is empty or longer than %d bytes", name, maxItem)
	}
	return nil
}

func (q *PutCert) applyOCSP(o *ocspTerms) error {
	api.Set(&o.Enabled, q.OCSPEnabled)
	api.Set(&o.Responders, q.OCSPCACertificates)
	api.Set(&o.FailOpen, q.OCSPFailOpen)
	api.Set(&o.All, q.OCSPQueryAllServers)
	api.Set(&o.Retries, q.OCSPMaxRetries)
	api.Set((*api.Duration)(&o.MaxAge), q.OCSPThisUpdateMaxAge)
	if o.Responders != "" {
		if _, err := parsePEM(o.Responders); err != nil {
			return api.Errorf(api.Invalid, "ocsp_ca_certificates: %v", err)
		}
	}
	for _, s := range o.Servers {
		if !isHTTP(s) {
			return api.Errorf(api.Invalid, "ocsp_servers_override: each must be a URL that begins with http:// or https://")
		}
	}
	switch {
	case o.Retries < 0 || o.Retries > maxRetries:
		return api.Errorf(api.Invalid, "ocsp_max_retries: must be from 0 to %d", maxRetries)
	case o.MaxAge < 0 || o.MaxAge > 10*365*24*time.Hour:
		return api.Errorf(api.Invalid, "ocsp_this_update_max_age: is out of range")
	}
	return nil
}

// isHTTP reports whether a text is a URL that can be fetched.
func isHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && len(text) <= 2<<10
}
