package cert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"time"
)

// Bounds of what is parsed.
const (
	maxPEM     = 128 << 10 // of an entry's certificates, in bytes
	maxAnchors = 32        // certificates in an entry
	maxShown   = 10        // certificates that a client may show, its own included
)

// anchors are the certificates that an entry trusts. An authority lets in what it
// has issued; any other certificate lets in itself alone, and can issue nothing,
// whatever key signed what is shown.
type anchors struct {
	authorities []*x509.Certificate
	pinned      []*x509.Certificate
}

var (
	errPEM    = errors.New("must be certificates in PEM")
	errAmount = errors.New("holds too many certificates")
	errClient = errors.New("holds a certificate that is neither an authority's nor for clients")
)

// parseAnchors reads an entry's certificates.
func parseAnchors(text string) (*anchors, error) {
	all, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	a := &anchors{}
	for _, cert := range all {
		switch {
		case authority(cert):
			a.authorities = append(a.authorities, cert)
		case forClients(cert):
			a.pinned = append(a.pinned, cert)
		default:
			return nil, errClient
		}
	}
	return a, nil
}

// parsePEM reads certificates, of which there must be one, and refuses whatever else
// there is, a private key among it.
func parsePEM(text string) ([]*x509.Certificate, error) {
	rest := []byte(text)
	if len(rest) > maxPEM {
		return nil, errAmount
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			return nil, errPEM
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errPEM
		}
		if out = append(out, cert); len(out) > maxAnchors {
			return nil, errAmount
		}
	}
	if len(out) == 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, errPEM
	}
	return out, nil
}

// authority reports whether a certificate says that it may issue others.
func authority(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

// forClients reports whether a certificate may be a client's.
func forClients(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// shown is what a client has shown: its certificate, of which it holds the key, and
// others, of which nothing is known.
type shown struct {
	leaf   *x509.Certificate
	others *x509.CertPool
	all    []*x509.Certificate
}

// chains are the ways from a client's certificate to one that the entry trusts, each
// beginning with the client's: none where it is not trusted at that moment.
func (a *anchors) chains(s *shown, now time.Time) ([][]*x509.Certificate, error) {
	for _, p := range a.pinned {
		if p.Equal(s.leaf) { // byte by byte: another with the same names, number and issuer is another
			return pinnedChain(s.leaf, now)
		}
	}
	if len(a.authorities) == 0 {
		return nil, errTrust
	}
	roots := x509.NewCertPool()
	for _, ca := range a.authorities {
		roots.AddCert(ca)
	}
	return s.leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: s.others, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

var (
	errTrust = errors.New("the certificate is not trusted")
	errTime  = errors.New("the certificate is not valid at this time")
)

func pinnedChain(leaf *x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	switch {
	case now.Before(leaf.NotBefore), now.After(leaf.NotAfter):
		return nil, errTime
	case !forClients(leaf):
		return nil, errClient
	}
	return [][]*x509.Certificate{{leaf}}, nil
}

// marks name what the entry trusts: authorities by their subject, which is what a
// certificate says of its issuer, and others whole. The entry is found by them.
func (a *anchors) marks() []string {
	var out []string
	for _, ca := range a.authorities {
		out = append(out, subjectMark(ca.RawSubject))
	}
	for _, p := range a.pinned {
		out = append(out, wholeMark(p))
	}
	return out
}

// marks name what could be trusted of what a client has shown.
func (s *shown) marks() []string {
	out := []string{wholeMark(s.leaf), subjectMark(s.leaf.RawSubject)}
	for _, cert := range s.all {
		out = append(out, subjectMark(cert.RawIssuer))
	}
	return out
}

func subjectMark(raw []byte) string { return hashed("subject", raw) }

func wholeMark(c *x509.Certificate) string { return hashed("whole", c.Raw) }

func hashed(kind string, raw []byte) string {
	sum := sha256.Sum256(append([]byte(kind+":"), raw...))
	return hex.EncodeToString(sum[:])
}
