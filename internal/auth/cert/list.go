package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// list is a revocation list as a login looks at it. Its entries are looked through where they lie: taken apart, those
// of half a megabyte would be twenty, for each of the logins at once.
type list struct {
	raw     []byte
	signed  x509.RevocationList // what its signature is of, and by, alone
	keyID   []byte              // of the issuer's key, where the list says
	delta   bool
	revoked cryptobyte.String
}

// loadList reads a list that has been taken in.
func loadList(c *api.Call, name string, row *crl) (*list, error) {
	e, err := c.Store.Get(c, derPrefix+name)
	if err != nil {
		return nil, err
	}
	l := &list{raw: e.Value, keyID: row.KeyID, delta: row.Delta}
	if l.signed.SignatureAlgorithm = row.Algorithm; !l.open() {
		return nil, fmt.Errorf("cert: %w: a revocation list cannot be read", store.ErrCorrupt)
	}
	return l, nil
}

// open finds the parts of a list (RFC 5280, section 5.1). It has been parsed when it was taken in.
func (l *list) open() bool {
	in := cryptobyte.String(l.raw)
	var all, signed, body cryptobyte.String
	var signature asn1.BitString
	ok := in.ReadASN1(&all, der.SEQUENCE) && all.ReadASN1Element(&signed, der.SEQUENCE) && all.SkipASN1(der.SEQUENCE) && all.ReadASN1BitString(&signature)
	l.signed.RawTBSRevocationList, l.signed.Signature = signed, signature.RightAlign()
	if !ok || !signed.ReadASN1(&body, der.SEQUENCE) || !body.SkipOptionalASN1(der.INTEGER) || !body.SkipASN1(der.SEQUENCE) || !body.SkipASN1(der.SEQUENCE) {
		return false
	}
	for body.PeekASN1Tag(der.UTCTime) || body.PeekASN1Tag(der.GeneralizedTime) { // of this list, and of the next
		var tag der.Tag
		var at cryptobyte.String
		if !body.ReadAnyASN1(&at, &tag) {
			return false
		}
	}
	return !body.PeekASN1Tag(der.SEQUENCE) || body.ReadASN1(&l.revoked, der.SEQUENCE)
}

// by reports whether an issuer has signed the list.
func (l *list) by(issuer *x509.Certificate) bool { return l.signed.CheckSignatureFrom(issuer) == nil }

// ofOther reports whether a list is of another issuer that has the same name.
func (l *list) ofOther(issuer *x509.Certificate) bool { return ofOther(l.keyID, issuer) }

func ofOther(keyID []byte, issuer *x509.Certificate) bool {
	return len(keyID) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(keyID, issuer.SubjectKeyId)
}

// removedFromCRL is the reason of an entry in a delta list that takes one back
// (RFC 5280, section 5.3.1). It counts once the full list no longer holds it.
const removedFromCRL = 8

// has reports whether the list says that a certificate is revoked.
func (l *list) has(serial *big.Int) (bool, error) {
	var b cryptobyte.Builder
	b.AddASN1BigInt(serial)
	want, err := b.Bytes()
	if err != nil {
		return false, err
	}
	for rest := l.revoked; !rest.Empty(); {
		var entry, number cryptobyte.String
		if !rest.ReadASN1(&entry, der.SEQUENCE) || !entry.ReadASN1Element(&number, der.INTEGER) {
			return false, fmt.Errorf("cert: %w: a revocation list cannot be read", store.ErrCorrupt)
		}
		if !bytes.Equal(number, want) {
			continue
		}
		if back, err := l.takesBack(serial); err != nil || !back {
			return err == nil, err
		}
	}
	return false, nil
}

// takesBack reports whether all that a list has about a certificate is that it is revoked no more.
func (l *list) takesBack(serial *big.Int) (bool, error) {
	if !l.delta {
		return false, nil
	}
	whole, err := x509.ParseRevocationList(l.raw)
	if err != nil {
		return false, fmt.Errorf("cert: %w: a revocation list cannot be read", store.ErrCorrupt)
	}
	for _, e := range whole.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(serial) == 0 && e.ReasonCode != removedFromCRL {
			return false, nil
		}
	}
	return true, nil
}
