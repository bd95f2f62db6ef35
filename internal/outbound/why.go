package outbound

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"syscall"
)

// Why says why nobody could be asked, in words for who has named the address. They repeat neither the address nor what the
// machine made of it, such as the number of a host or the server that resolves names.
func Why(err error) string {
	var (
		name      *net.DNSError
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		slow      net.Error
		barred    forbidden
	)
	switch {
	case errors.As(err, &barred):
		return "its address " + barred.Error() + "; " + remedy
	case errors.Is(err, errLong), errors.Is(err, errCA):
		return err.Error()
	case errors.As(err, &name):
		return "the name of its host is not known"
	case errors.As(err, &host):
		return "its certificate is for another host"
	case errors.As(err, &authority):
		return "its certificate comes from no authority that is trusted"
	case errors.As(err, &invalid):
		return "its certificate has ended, has not begun, or is not for a server"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing answers at its address"
	case errors.As(err, &slow) && slow.Timeout():
		return "it has not answered in time"
	}
	return "it could not be reached"
}
