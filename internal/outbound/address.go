package outbound

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

var (
	errAddress = errors.New("is not an address such as https://host.example")
	errBase    = errors.New("is not an address such as https://host.example/path, with nothing behind")
	errPlain   = errors.New("must begin with https://; http:// is for this machine alone, since whoever is on the way could answer")
)

// MaxBase is the longest address that CheckBase takes, in bytes.
const MaxBase = 512

// CheckURL takes addresses that others cannot speak for: by TLS, or on the machine itself. What it says of
// others repeats nothing of them.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || !isPort(u.Port()) || u.User != nil || strings.Contains(text, "#"):
		return errAddress
	case u.Scheme == "https", u.Scheme == "http" && Loopback(u.Hostname()):
		return nil
	}
	return errPlain
}

// isPort reports whether a text is the number of a port, or nothing: the scheme's own.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && n > 0
}

// CheckBase is CheckURL for an address that is asked with a path behind it: it has no query.
func CheckBase(text string) error {
	if strings.Contains(text, "?") || len(text) > MaxBase {
		return errBase
	}
	return CheckURL(text)
}

// Loopback reports whether a host is this machine itself.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
