package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Defaults that New uses where a Config says nothing.
const (
	DefaultAddress     = "https://127.0.0.1:8200"
	DefaultTimeout     = 60 * time.Second
	DefaultMaxRetries  = 2
	DefaultMaxResponse = 64 << 20 // bytes
)

// Token is a client token. It prints as "[redacted]" in every form; Reveal gives
// the value.
type Token string

// Reveal returns the token's value.
func (t Token) Reveal() string { return string(t) }

// Format implements fmt.Formatter and never prints the value.
func (t Token) Format(s fmt.State, _ rune) {
	if t != "" {
		// fmt.State gives no way to report a failed write.
		fmt.Fprint(s, redacted)
	}
}

// MarshalText implements encoding.TextMarshaler and never gives the value.
func (t Token) MarshalText() ([]byte, error) {
	if t == "" {
		return nil, nil
	}
	return []byte(redacted), nil
}

const redacted = "[redacted]"

// Config says how to reach a server and as whom. Its zero value is usable.
type Config struct {
	// Address is http://, https:// or unix:///path; DefaultAddress when empty. Several, of
	// nodes that serve the same, are set apart by commas: the first is asked, and the next
	// one when it cannot be reached, or fails a request that changes nothing.
	Address   string
	Token     Token  // sent as X-Vault-Token
	Namespace string // sent as X-Vault-Namespace
	WrapTTL   string // asks for wrapped answers, as "60" or "60s"

	CACert        string // file of PEM certificates to trust instead of the system's
	CACertPEM     string // the same, inline
	CAPath        string // directory of PEM files to trust
	ClientCert    string // file of the PEM client certificate
	ClientKey     string // file of its PEM key
	TLSServerName string // name to expect in the server's certificate
	SkipVerify    bool   // trust any certificate: unsafe

	Timeout     time.Duration // of one attempt; DefaultTimeout when 0, none when negative
	MaxRetries  int           // of a read; DefaultMaxRetries when 0, none when negative
	MaxResponse int64         // bytes of an answer's body; DefaultMaxResponse when 0
	NoRedirects bool          // follow no redirect at all
	// Patience bounds the connecting to all addresses together, and the pauses between
	// attempts, and no attempt is begun when it is over; 0: 30 seconds for each connection,
	// and pauses of 10 seconds at most.
	Patience time.Duration
	Proxy    string // URL of a proxy; the system's variables say which when empty

	// Rate is the most requests a second, after a first Burst of them; 0 is no limit.
	Rate  float64
	Burst int

	Header http.Header // sent with every request

	// Warned, when set, is told what the server warns of in an answer, also where
	// the method that asked returns no warnings.
	Warned func(warnings []string)

	// Waiting, when set, is told once what a request waits for: when there was no
	// connection for a second, or no answer for five. It may be called while Do waits.
	Waiting func(Waiting)

	// Wrap, when set, is put around the transport. It sees every attempt.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Wait pauses between attempts; when nil, a timer does. Tests replace it.
	Wait func(d time.Duration, done <-chan struct{})
}

// envPrefixes are tried in this order for each variable.
func envPrefixes() [3]string { return [3]string{"STRONGROOM_", "BAO_", "VAULT_"} }

// LookupEnv returns the value of the first variable that is not empty among
// STRONGROOM_name, BAO_name and VAULT_name.
func LookupEnv(getenv func(string) string, name string) string {
	for _, prefix := range envPrefixes() {
		if v := getenv(prefix + name); v != "" {
			return v
		}
	}
	return ""
}

// FromEnv reads a Config from environment variables through getenv (usually
// os.Getenv). Each is looked for with the prefixes STRONGROOM_, BAO_ and VAULT_,
// in this order: ADDR, AGENT_ADDR (wins over ADDR), TOKEN, NAMESPACE, WRAP_TTL,
// CACERT, CACERT_BYTES, CAPATH, CLIENT_CERT, CLIENT_KEY, TLS_SERVER_NAME,
// SKIP_VERIFY, CLIENT_TIMEOUT (seconds or a duration), MAX_RETRIES,
// DISABLE_REDIRECTS, HTTP_PROXY, PROXY_ADDR (wins over HTTP_PROXY), RATE_LIMIT
// (requests a second, or "rate:burst") and HEADERS (a JSON object of texts). The error names the variable that could not be understood.
func FromEnv(getenv func(string) string) (Config, error) {
	env := func(name string) string { return LookupEnv(getenv, name) }
	cfg := Config{
		Address:       env("ADDR"),
		Token:         Token(env("TOKEN")),
		Namespace:     env("NAMESPACE"),
		WrapTTL:       env("WRAP_TTL"),
		CACert:        env("CACERT"),
		CACertPEM:     env("CACERT_BYTES"),
		CAPath:        env("CAPATH"),
		ClientCert:    env("CLIENT_CERT"),
		ClientKey:     env("CLIENT_KEY"),
		TLSServerName: env("TLS_SERVER_NAME"),
		Proxy:         env("HTTP_PROXY"),
	}
	if agent := env("AGENT_ADDR"); agent != "" {
		cfg.Address = agent
	}
	if proxy := env("PROXY_ADDR"); proxy != "" {
		cfg.Proxy = proxy
	}
	return cfg, cfg.parseEnv(env)
}

// parseEnv fills the fields that are not text.
func (cfg *Config) parseEnv(env func(string) string) error {
	parsers := []struct {
		name  string
		parse func(string) error
	}{
		{"SKIP_VERIFY", boolInto(&cfg.SkipVerify)},
		{"DISABLE_REDIRECTS", boolInto(&cfg.NoRedirects)},
		{"CLIENT_TIMEOUT", durationInto(&cfg.Timeout)},
		{"MAX_RETRIES", retriesInto(&cfg.MaxRetries)},
		{"RATE_LIMIT", cfg.rateInto},
		{"HEADERS", cfg.headersInto},
	}
	for _, p := range parsers {
		v := env(p.name)
		if v == "" {
			continue
		}
		if err := p.parse(v); err != nil {
			return fmt.Errorf("environment variable STRONGROOM_%s (or BAO_%[1]s, VAULT_%[1]s): %w", p.name, err)
		}
	}
	return nil
}

func boolInto(to *bool) func(string) error {
	return func(s string) (err error) {
		if *to, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	}
}

func durationInto(to *time.Duration) func(string) error {
	return func(s string) (err error) {
		if seconds, err := strconv.Atoi(s); err == nil {
			*to = time.Duration(seconds) * time.Second
			return nil
		}
		if *to, err = time.ParseDuration(s); err != nil {
			return fmt.Errorf("%q is neither a number of seconds nor a duration, as 30s", s)
		}
		return nil
	}
}

// retriesInto maps an explicit 0 to "none", since a Config's 0 means the default.
func retriesInto(to *int) func(string) error {
	return func(s string) (err error) {
		if *to, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("%q is not a whole number", s)
		}
		if *to == 0 {
			*to = -1
		}
		return nil
	}
}

// rateInto reads "10" and "10:40". A burst that is not given is one second's worth.
func (cfg *Config) rateInto(s string) error {
	rate, burst, given := strings.Cut(s, ":")
	var err error
	if cfg.Rate, err = strconv.ParseFloat(rate, 64); err == nil && given {
		cfg.Burst, err = strconv.Atoi(burst)
	}
	if err != nil || !(cfg.Rate > 0) || cfg.Rate > maxRate || cfg.Burst < 0 {
		return fmt.Errorf("%q is not requests a second, as 10, or with a burst, as 10:40", s)
	}
	if !given {
		cfg.Burst = int(cfg.Rate)
	}
	return nil
}

// headersInto reads a JSON object; the values may be secret, so that no error
// shows them.
func (cfg *Config) headersInto(s string) error {
	var pairs map[string]string
	if err := json.Unmarshal([]byte(s), &pairs); err != nil {
		return errors.New("want a JSON object of texts, as {\"X-Team\":\"blue\"}")
	}
	cfg.Header = http.Header{}
	for name, value := range pairs {
		if strings.HasPrefix(strings.ToLower(name), "x-vault-") {
			return fmt.Errorf("%s is set by the client itself: leave it out", name)
		}
		cfg.Header.Set(name, value)
	}
	return nil
}
