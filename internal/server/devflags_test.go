package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func TestDevCertificate(t *testing.T) {
	now := func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "vault.test:0"}}}
	var out bytes.Buffer
	remove, err := (&devFlags{tls: true}).devCertificate(c, &out, now)
	if err != nil {
		t.Fatal(err)
	}
	_, ca, ok := strings.Cut(strings.TrimSpace(out.String()), "VAULT_CACERT=")
	raw, err := os.ReadFile(ca)
	if !ok || err != nil {
		t.Fatalf("%q %v", out.String(), err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	pair, err := tls.LoadX509KeyPair(c.Listeners[0].CertFile, c.Listeners[0].KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "vault.test"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "else.test", Roots: roots, CurrentTime: now()}); err == nil {
		t.Error("the certificate is good for any name")
	}
	remove()
	if _, err := os.Stat(filepath.Dir(ca)); err == nil {
		t.Error("the directory is still there")
	}
}

func TestDevCertificateIsKeptWhereAsked(t *testing.T) {
	dir := t.TempDir()
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: net.JoinHostPort("127.0.0.1", "0")}}}
	remove, err := (&devFlags{certDir: dir}).devCertificate(c, &bytes.Buffer{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(filepath.Join(dir, devCAFile)); err != nil {
		t.Error(err)
	}
	if remove, err := (&devFlags{tls: true}).devCertificate(&Config{}, &bytes.Buffer{}, time.Now); err != nil {
		t.Error("a server that is none for development: ", err)
	} else {
		remove()
	}
}

func TestDevTokenIsKept(t *testing.T) {
	dev := &Config{DevRoot: api.NewSecret("root")}
	for name, tc := range map[string]struct {
		flags  devFlags
		config *Config
		want   []string
	}{
		"kept":      {devFlags{}, dev, []string{"root"}},
		"not asked": {devFlags{noStore: true}, dev, nil},
		"not dev":   {devFlags{}, &Config{}, nil},
	} {
		var kept []string
		tc.flags.keep = func(token string) error { kept = append(kept, token); return nil }
		if err := tc.flags.keepToken(tc.config); err != nil || !slices.Equal(kept, tc.want) {
			t.Errorf("%s: %v %v", name, kept, err)
		}
	}
	failing := devFlags{keep: func(string) error { return errors.New("disk full") }}
	if err := failing.keepToken(dev); err == nil || !strings.Contains(err.Error(), "-dev-no-store-token") {
		t.Error(err)
	}
}

func TestFlagsWithoutEffectAreTold(t *testing.T) {
	cmd := serverCommand(nil)
	if err := cmd.ParseFlags([]string{"--dev-ha", "--dev-latency=5", "--dev"}); err != nil {
		t.Fatal(err)
	}
	if got := (&devFlags{}).ignored(cmd.Flags()); !slices.Equal(got, []string{"-dev-ha", "-dev-latency"}) {
		t.Error(got)
	}
}

func TestDevServerInAContainer(t *testing.T) {
	t.Setenv("VAULT_DEV_ROOT_TOKEN_ID", "contained")
	t.Setenv("VAULT_DEV_LISTEN_ADDRESS", "127.0.0.1:18299")
	c, err := (&flags{dev: true}).config()
	if err != nil || string(c.DevRoot.Disclose()) != "contained" || c.Listeners[0].Address != "127.0.0.1:18299" {
		t.Errorf("%+v %v", c, err)
	}
	c, err = (&flags{dev: true, devToken: "flag", devListen: "127.0.0.1:1"}).config()
	if err != nil || string(c.DevRoot.Disclose()) != "flag" || c.Listeners[0].Address != "127.0.0.1:1" {
		t.Errorf("%+v %v", c, err)
	}
}
