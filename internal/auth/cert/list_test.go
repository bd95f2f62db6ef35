package cert

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// counting counts reads of revocation lists.
type counting struct {
	store.Store
	lists int
}

func (s *counting) Get(ctx context.Context, key string) (store.Entry, error) {
	if strings.Contains(key, derPrefix) {
		s.lists++
	}
	return s.Store.Get(ctx, key)
}

// Who is revoked is looked up and asked about once, however many entries trust the authority.
func TestRevokedCostsOnce(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	good, bad := ca.client(nil), ca.client(nil)
	r := respond(t, ca)
	counter := &counting{Store: m.With.Store}
	m.With.Store = counter
	for i := range 20 {
		m.trust(fmt.Sprint("e", i), fields{"certificate": pemOf(ca.cert), "ocsp_enabled": true, "ocsp_servers_override": r.url})
	}
	m.Must(api.Write, "crls/x", fields{"crl": ca.revoke(nil, bad.SerialNumber)})
	m.want("revoked by a list", false, bad)
	if counter.lists != 1 || r.asked != 0 {
		t.Errorf("the list was read %d times, want once", counter.lists)
	}
	r.form.Status, r.form.RevokedAt = ocsp.Revoked, start
	m.want("revoked by a responder", false, good)
	if counter.lists != 2 || r.asked != 1 {
		t.Errorf("the list was read %d times and the responder asked %d times, want once each", counter.lists-1, r.asked)
	}
}

// Entries that ask in ways of their own are asked for up to a bound, and none of them lets in beyond it.
func TestWaysToAskAreBounded(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	leaf := ca.client(nil)
	r := respond(t, ca)
	r.form.Status = ocsp.Unknown
	for i := range 2 * maxAsked {
		m.trust(fmt.Sprintf("e%02d", i), fields{"certificate": pemOf(ca.cert), "ocsp_enabled": true, "ocsp_servers_override": fmt.Sprint(r.url, "/", i), "ocsp_fail_open": i >= maxAsked})
	}
	m.want("of whom no responder knows", false, leaf)
	if r.asked != maxAsked {
		t.Errorf("responders were asked %d times, want %d", r.asked, maxAsked)
	}
	if _, err := m.Login("login", fields{"name": "e15"}, leaf); err != nil {
		t.Errorf("by the entry that lets in whose status is not known: %v", err)
	}
}

// A login looks at so many lists, of all issuers of its chain together.
func TestListsOfAChainAreBounded(t *testing.T) {
	m, root := open(t), authorityOf(t, nil, "root")
	middle := authorityOf(t, root, "middle")
	m.trust("a", fields{"certificate": pemOf(root.cert)})
	lists := map[*issuer]string{root: root.revoke(nil), middle: middle.revoke(nil)}
	for i := range maxCRLs / 2 {
		for by, text := range lists {
			m.Must(api.Write, fmt.Sprintf("crls/%s-%d", by.cert.Subject.CommonName, i), fields{"crl": text})
		}
	}
	leaf := middle.client(nil)
	m.want("of issuers that have as many lists as are looked at", true, leaf, middle.cert)
	m.Must(api.Write, "crls/more", fields{"crl": lists[root]})
	m.want("of issuers that have more", false, leaf, middle.cert)
}

// A large list is looked through where it lies.
func TestLargeListsCostLittle(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	bad := ca.client(nil)
	var serials []*big.Int
	for i := range 20_000 {
		serials = append(serials, big.NewInt(int64(i)))
	}
	m.Must(api.Write, "crls/x", fields{"crl": ca.revoke(nil, append(serials, bad.SerialNumber)...)})
	c := &api.Call{Context: t.Context(), Store: m.With.Store, Now: start}
	look := func(cert *x509.Certificate) error {
		d, end := newDesk(c, &shown{})
		defer end()
		return d.checkCRLs(cert, ca.cert)
	}
	if err := look(bad); !errors.Is(err, errRevoked) {
		t.Errorf("the last of a large list: %v, want that it is revoked", err)
	}
	good := ca.client(nil)
	allocations := testing.AllocsPerRun(1, func() {
		if err := look(good); err != nil {
			t.Error(err)
		}
	})
	if allocations > 1000 {
		t.Errorf("looking through a list of 20,000 takes %v allocations", allocations)
	}
}
