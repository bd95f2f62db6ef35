// Package slapd owns running a private OpenLDAP server for tests: it makes a directory of people and groups, starts its
// server on free loopback ports, with and without TLS, and kills and restarts it. It ends only what it started, by process
// id; nothing of it is part of the product.
package slapd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

// Names and passwords of the directory. Tests look for the passwords where none may be.
const (
	Base     = "dc=example,dc=com"
	RootDN   = "cn=root," + Base
	Reader   = "cn=reader,ou=services," + Base // may look for everybody
	People   = "ou=people," + Base
	Groups   = "ou=groups," + Base
	Lobby    = "ou=lobby," + Base // people that anybody may look for
	Password = "canary-0b6e71da"  // of everybody
)

//go:embed people.ldif
var people string

// Server is an OpenLDAP server and its directory.
type Server struct {
	*process.Private // the process, which Restart replaces

	Dir       string // Dir holds the configuration and the data.
	URL       string // URL is ldap://host:port.
	SecureURL string // SecureURL is ldaps://host:port.
	CA        string // CA is the certificate, in PEM, that the server's comes from.
	Cert, Key string // Cert and Key are a client's certificate of the same origin and its key, in PEM.

	addr string
}

// Start makes a directory and starts its server, with further lines of configuration.
func Start(settings ...string) (*Server, error) {
	bin, err := program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "slapd")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir}
	if err := s.create(bin, settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func program() (string, error) {
	bin, ok := process.Find("slapd")
	if !ok {
		return "", errors.New("no OpenLDAP server is installed: install the package slapd")
	}
	return bin, nil
}

func (s *Server) create(bin string, settings []string) error {
	var secure string
	var err error
	if s.addr, err = process.FreeAddr(); err != nil {
		return err
	}
	if secure, err = process.FreeAddr(); err != nil {
		return err
	}
	s.URL, s.SecureURL = "ldap://"+s.addr, "ldaps://"+secure
	if err := s.certify(); err != nil {
		return err
	}
	if err := os.Mkdir(s.path("data"), 0o700); err != nil {
		return err
	}
	text := strings.NewReplacer("DIR", s.Dir, "BASE", Base, "READER", Reader, "ROOT", RootDN, "PASSWORD", Password, "LOBBY", Lobby, "MORE", strings.Join(settings, "\n")).Replace(configuration)
	if err := os.WriteFile(s.path("slapd.conf"), []byte(text), 0o600); err != nil {
		return err
	}
	load := exec.Command(bin, "-Tadd", "-q", "-f", s.path("slapd.conf"))
	load.Stdin = strings.NewReader(strings.ReplaceAll(people, "PASSWORD", Password))
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("filling the directory: %w\n%s", err, out)
	}
	return s.start(bin)
}

// configuration is of slapd.conf(5).
const configuration = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/dyngroup.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload dynlist
pidfile DIR/pid
TLSCACertificateFile DIR/ca.pem
TLSCertificateFile DIR/cert.pem
TLSCertificateKeyFile DIR/key.pem
MORE
database mdb
suffix BASE
rootdn ROOT
rootpw PASSWORD
directory DIR/data
maxsize 16777216
dbnosync
index uid,mail,cn,objectClass eq
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree=LOBBY by * read
access to * by dn.exact=READER read by self read by anonymous auth by * none
overlay dynlist
dynlist-attrset groupOfURLs memberURL member+memberOf@groupOfNames*
`

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

// start starts the server on the data it has.
func (s *Server) start(bin string) (err error) {
	cmd := exec.Command(bin, "-d", "0", "-h", s.URL+"/ "+s.SecureURL+"/", "-f", s.path("slapd.conf"))
	s.Private, err = process.Serve(cmd, func(string) bool {
		c, err := net.Dial("tcp", s.addr)
		return err == nil && c.Close() == nil
	})
	return err
}

// Restart starts the server, which must not run, on the data it has.
func (s *Server) Restart() error {
	bin, err := program()
	if err != nil {
		return err
	}
	return s.start(bin)
}

// Remove ends the server and removes its data.
func (s *Server) Remove() error { return errors.Join(s.Kill(), os.RemoveAll(s.Dir)) }

// certify makes an authority, the server's certificate and a client's.
func (s *Server) certify() error {
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory authority"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		return err
	}
	if authority, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	s.CA = block("CERTIFICATE", der)
	cert, certKey, err := issue(authority, key, 2)
	if err != nil {
		return err
	}
	if s.Cert, s.Key, err = issue(authority, key, 3); err != nil {
		return err
	}
	for name, text := range map[string]string{"ca.pem": s.CA, "cert.pem": cert, "key.pem": certKey} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// issue makes a certificate for this machine, and its key.
func issue(authority *x509.Certificate, by *ecdsa.PrivateKey, serial int64) (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, k.Public(), by)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	return block("CERTIFICATE", der), block("PRIVATE KEY", private), err
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
