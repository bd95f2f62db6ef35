package cert

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// rules are what an entry demands of the certificates that it lets in. Of each list
// that is not empty one pattern must match; of the extensions all.
type rules struct {
	Names       []string `json:"names,omitempty"` // the common name, or a DNS name or mail address among the alternative names
	CommonNames []string `json:"common_names,omitempty"`
	DNS         []string `json:"dns,omitempty"`
	Emails      []string `json:"emails,omitempty"`
	URIs        []string `json:"uris,omitempty"`
	Units       []string `json:"units,omitempty"`
	Extensions  []string `json:"extensions,omitempty"`
}

var errRules = errors.New("the certificate does not have the names or extensions that the entry demands")

// met reports whether a certificate is as the rules demand.
func (r *rules) met(c *x509.Certificate) bool {
	common := []string{c.Subject.CommonName}
	uris := make([]string, len(c.URIs))
	for i, u := range c.URIs {
		uris[i] = u.String()
	}
	return one(r.Names, slices.Concat(common, c.DNSNames, c.EmailAddresses)) && one(r.CommonNames, common) && one(r.DNS, c.DNSNames) &&
		one(r.Emails, c.EmailAddresses) && one(r.URIs, uris) && one(r.Units, c.Subject.OrganizationalUnit) && r.extended(c)
}

// one reports whether one of some texts matches one of some patterns. Without patterns
// nothing is demanded. An absent name is none: no pattern matches it.
func one(patterns, texts []string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(texts, func(text string) bool {
		return text != "" && slices.ContainsFunc(patterns, func(p string) bool { return api.Glob(p, text) })
	})
}

func (r *rules) extended(c *x509.Certificate) bool {
	for _, rule := range r.Extensions {
		oid, pattern, raw, ok := extensionRule(rule)
		if !ok || !slices.ContainsFunc(values(c, oid, raw), func(v string) bool { return api.Glob(pattern, v) }) {
			return false
		}
	}
	return true
}

// maxParts bounds an object identifier: so many numbers after its first.
const maxParts = 32

// extensionForm is OID:PATTERN, or hex:OID:PATTERN for a value as it lies in the
// certificate.
var extensionForm = regexp.MustCompile(`(?s)^(hex:)?((?:0|1|2)(?:\.(?:0|[1-9][0-9]{0,18}))+):(.*)$`)

func extensionRule(text string) (oid, pattern string, raw, ok bool) {
	m := extensionForm.FindStringSubmatch(text)
	if m == nil || strings.Count(m[2], ".") > maxParts {
		return "", "", false, false
	}
	if raw = m[1] != ""; raw {
		return m[2], strings.ToLower(m[3]), true, true
	}
	return m[2], m[3], false, true
}

// values are those of a certificate's extension: its text, or raw bytes in hex. One that
// is no text has no value.
func values(c *x509.Certificate, oid string, raw bool) []string {
	var out []string
	for _, e := range c.Extensions {
		if e.Id.String() != oid {
			continue
		}
		if raw {
			out = append(out, hex.EncodeToString(e.Value))
			continue
		}
		var text string
		if rest, err := asn1.Unmarshal(e.Value, &text); err == nil && len(rest) == 0 {
			out = append(out, text)
		}
	}
	return out
}

// maxMetadata bounds each value of a login's metadata, in bytes.
const maxMetadata = 512

// metadata is what a login tells of a certificate. The extensions stand under their
// numbers, joined by dashes.
func metadata(name string, leaf *x509.Certificate, extensions []string) map[string]string {
	m := map[string]string{
		"cert_name":        name,
		"common_name":      leaf.Subject.CommonName,
		"serial_number":    leaf.SerialNumber.String(),
		"subject_key_id":   colons(leaf.SubjectKeyId),
		"authority_key_id": colons(leaf.AuthorityKeyId),
	}
	for _, oid := range extensions {
		if v := values(leaf, oid, false); len(v) > 0 {
			m[strings.ReplaceAll(oid, ".", "-")] = v[0]
		}
	}
	for k, v := range m {
		if len(v) > maxMetadata {
			delete(m, k)
		}
	}
	return m
}

// colons is bytes in hex with colons between them.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}

// sanPrefix begins the name of who has no common name. No common name begins so.
const sanPrefix = "san:"

// maxName is the longest name of who logs in, in bytes.
const maxName = 512

// who is the name of who holds a certificate: its common name, or else the first of
// its alternative names.
func who(leaf *x509.Certificate) (string, error) {
	name := leaf.Subject.CommonName
	switch {
	case name != "":
		if strings.HasPrefix(name, sanPrefix) {
			return "", errName
		}
	case len(leaf.URIs) > 0:
		name = sanPrefix + leaf.URIs[0].String()
	case len(leaf.DNSNames) > 0:
		name = sanPrefix + leaf.DNSNames[0]
	case len(leaf.EmailAddresses) > 0:
		name = sanPrefix + leaf.EmailAddresses[0]
	default:
		return "", errName
	}
	if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errName
	}
	return name, nil
}

var errName = errors.New("the certificate names nobody")
