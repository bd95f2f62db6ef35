package server

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
)

// devFlags are the flags of `server` that client suites and tutorials give a
// development server beyond its address and its token.
type devFlags struct {
	keep    func(token string) error // nil: nobody wants the token
	noStore bool
	noKV    bool
	tls     bool
	certDir string
}

func (d *devFlags) register(fs *pflag.FlagSet) {
	fs.BoolVar(&d.noStore, "dev-no-store-token", false, "do not keep the development server's root token for later commands")
	fs.BoolVar(&d.noKV, "dev-no-kv", false, "mount no secret/ on the development server")
	fs.BoolVar(&d.tls, "dev-tls", false, "serve the development server with a certificate that is made for it")
	fs.StringVar(&d.certDir, "dev-tls-cert-dir", "", "`DIR` for the files of -dev-tls (default: one that goes with the server)")
	for _, f := range withoutEffect() {
		if f.value {
			fs.String(f.name, "", f.why)
		} else {
			fs.Bool(f.name, false, f.why)
		}
	}
}

// devVariable is a setting of a development server in the environment, as those who
// run one in a container give it; empty when there is none.
func devVariable(getenv func(string) string, name string) string {
	return cmp.Or(getenv("STRONGROOM_DEV_"+name), getenv("BAO_DEV_"+name), getenv("VAULT_DEV_"+name))
}

// ignoredFlag is a flag that those who start a server of the dialect give, and that
// changes nothing here.
type ignoredFlag struct {
	name  string
	value bool // takes a value
	why   string
}

func withoutEffect() []ignoredFlag {
	return []ignoredFlag{
		{"dev-ha", false, "no effect: every node serves everything"},
		{"dev-transactional", false, "no effect: every store has transactions"},
		{"dev-three-node", false, "no effect: a development server is one node"},
		{"dev-leased-kv", false, "no effect: key/value secrets have no leases"},
		{"dev-latency", true, "no effect: nothing is slowed down"},
		{"dev-latency-jitter", true, "no effect: nothing is slowed down"},
		{"dev-plugin-dir", true, "no effect: there are no plugins"},
		{"log-rotate-bytes", true, "no effect: the log goes to standard error"},
		{"log-rotate-duration", true, "no effect: the log goes to standard error"},
		{"log-rotate-max-files", true, "no effect: the log goes to standard error"},
	}
}

// ignored names the flags given that have no effect.
func (d *devFlags) ignored(fs *pflag.FlagSet) []string {
	var given []string
	for _, f := range withoutEffect() {
		if fs.Changed(f.name) {
			given = append(given, "-"+f.name)
		}
	}
	return given
}

// warn tells of the flags given that have no effect.
func (d *devFlags) warn(log *slog.Logger, fs *pflag.FlagSet) {
	if given := d.ignored(fs); len(given) > 0 {
		log.Warn("flags that have no effect", slog.Any("flags", given))
	}
}

// open is Open, after which a development server's token is kept.
func (d *devFlags) open(ctx context.Context, c *Config, log *slog.Logger, out io.Writer, now func() time.Time) (*Server, error) {
	s, err := Open(ctx, c, log, out, now)
	if err != nil {
		return nil, err
	}
	if err := d.keepToken(c); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (d *devFlags) keepToken(c *Config) error {
	if d.keep == nil || d.noStore || c.DevRoot.Empty() {
		return nil
	}
	if err := d.keep(string(c.DevRoot.Disclose())); err != nil {
		return fmt.Errorf("keeping the root token for later commands: %w; -dev-no-store-token leaves that out", err)
	}
	return nil
}

// devCertificate makes the certificate that -dev-tls asks for and gives it to the
// development server's listener. The function it returns removes a directory that
// was made for it.
func (d *devFlags) devCertificate(c *Config, out io.Writer, now func() time.Time) (remove func(), err error) {
	remove = func() {}
	if c.DevRoot.Empty() || (!d.tls && d.certDir == "") {
		return remove, nil
	}
	dir := d.certDir
	if dir == "" {
		dir, err = os.MkdirTemp("", "strongroom-tls")
		// Nothing can be done about a directory of a server that ends.
		remove = func() { os.RemoveAll(dir) }
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return func() {}, err
	}
	l := &c.Listeners[0]
	host, _, err := net.SplitHostPort(l.Address)
	if err == nil {
		err = writeDevCertificate(dir, host, now())
	}
	if err != nil {
		return remove, fmt.Errorf("certificate of the development server: %w", err)
	}
	l.CertFile, l.KeyFile = filepath.Join(dir, devCertFile), filepath.Join(dir, devKeyFile)
	_, err = fmt.Fprintf(out, "The certificate was made for this server:\n\n    export VAULT_CACERT=%s\n\n", filepath.Join(dir, devCAFile))
	return remove, err
}

// Files of a -dev-tls-cert-dir, named as other programs of the dialect do.
const (
	devCAFile   = "vault-ca.pem"
	devCertFile = "vault-cert.pem"
	devKeyFile  = "vault-key.pem"
)

const devCertLife = 365 * 24 * time.Hour

// writeDevCertificate makes an authority whose key is forgotten and, signed by it, a
// certificate for this machine and host, from an hour ago for those whose clocks
// differ.
func writeDevCertificate(dir, host string, now time.Time) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Strongroom development CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(devCertLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = append(leaf.IPAddresses, ip)
	} else if host != "" {
		leaf.DNSNames = append(leaf.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(dir, devCAFile, "CERTIFICATE", caDER),
		writePEM(dir, devCertFile, "CERTIFICATE", der),
		writePEM(dir, devKeyFile, "PRIVATE KEY", keyDER),
	)
}

func writePEM(dir, name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
