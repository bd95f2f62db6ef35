package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// parseAddress splits an address into the URL to send requests to and, for
// unix:// addresses, the socket to dial.
func parseAddress(address string) (base *url.URL, socket string, err error) {
	if address == "" {
		address = DefaultAddress
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", fmt.Errorf("server address: %w", err)
	}
	if u.User != nil {
		return nil, "", errors.New("server address: user and password in it are not supported")
	}
	switch {
	case u.Scheme == "unix" && u.Path != "":
		return &url.URL{Scheme: "http", Host: "localhost"}, u.Path, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
		// A request loses a colon without a port, so that the two would differ.
		return &url.URL{Scheme: u.Scheme, Host: strings.TrimSuffix(u.Host, ":"), Path: strings.TrimRight(u.Path, "/")}, "", nil
	}
	return nil, "", fmt.Errorf("server address %q: want http://host:port, https://host:port or unix:///path", address)
}

func newTransport(cfg *Config, socket string, dial time.Duration) (*http.Transport, error) {
	tlsConfig, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dial}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: min(10*time.Second, dial),
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
	}
	if cfg.Proxy != "" {
		proxy, err := url.Parse(cfg.Proxy)
		if err != nil || proxy.Host == "" {
			return nil, fmt.Errorf("proxy %q: want a URL, as http://host:port", cfg.Proxy)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	if socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t, nil
}

func (cfg *Config) tlsConfig() (*tls.Config, error) {
	out := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         cfg.TLSServerName,
		InsecureSkipVerify: cfg.SkipVerify, //nolint:gosec // asked for by name
	}
	var err error
	if out.RootCAs, err = cfg.roots(); err != nil {
		return nil, err
	}
	if cfg.ClientCert == "" && cfg.ClientKey == "" {
		return out, nil
	}
	if cfg.ClientCert == "" || cfg.ClientKey == "" {
		return nil, errors.New("client certificate: both the certificate and its key are needed")
	}
	pair, err := tls.LoadX509KeyPair(cfg.ClientCert, cfg.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

// roots returns nil, meaning the system's, when the Config names none.
func (cfg *Config) roots() (*x509.CertPool, error) {
	files, err := cfg.caFiles()
	if err != nil || (len(files) == 0 && cfg.CACertPEM == "") {
		return nil, err
	}
	pool := x509.NewCertPool()
	if cfg.CACertPEM != "" && !pool.AppendCertsFromPEM([]byte(cfg.CACertPEM)) {
		return nil, errors.New("inline CA certificate: no PEM certificate in it")
	}
	for _, name := range files {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("CA certificate: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA certificate %s: no PEM certificate in it", name)
		}
	}
	return pool, nil
}

func (cfg *Config) caFiles() ([]string, error) {
	var files []string
	if cfg.CACert != "" {
		files = append(files, cfg.CACert)
	}
	if cfg.CAPath == "" {
		return files, nil
	}
	entries, err := os.ReadDir(cfg.CAPath)
	if err != nil {
		return nil, fmt.Errorf("CA directory: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, filepath.Join(cfg.CAPath, e.Name()))
		}
	}
	return files, nil
}
