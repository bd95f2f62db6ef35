package cli

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Where this program waits for a browser, the way there stands on the browser's command line, which on most systems every
// user of the machine can read. So what comes from this machine must be of a process of the same user: another one could
// bring a passkey, or a login, of their own.

// visitors are who may come to where this program waits for a browser.
type visitors struct {
	owner func(peer, here netip.AddrPort) (uid int, known bool) // of a connection on this machine
	users []int
}

// ownVisitors are the processes of this program's user, who may have become root for it, and root's.
func (c *call) ownVisitors() *visitors {
	v := &visitors{owner: connectionOwner, users: []int{0, os.Getuid()}}
	if uid, err := strconv.Atoi(c.getenv("SUDO_UID")); err == nil && os.Getuid() == 0 {
		v.users = append(v.users, uid)
	}
	return v
}

// admit serves who may come, and refuses others of this machine. Where the system does not tell whose a connection is, all
// may.
func (v *visitors) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !v.may(r) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintln(w, "The program that waits here was started by another user of this machine.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answerInText readies an answer to a browser that nothing is made of but text, and bounds what it brings, in bytes.
func answerInText(w http.ResponseWriter, r *http.Request, most int64) {
	r.Body = http.MaxBytesReader(w, r.Body, most)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

func (v *visitors) may(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	peer, perr := netip.ParseAddrPort(r.RemoteAddr)
	here, herr := netip.ParseAddrPort(local.String())
	if perr != nil || herr != nil {
		return false
	}
	uid, known := v.owner(peer, here)
	for _, may := range v.users {
		known = known && may != uid
	}
	return !known
}

// connectionOwner is whose process has the other end of a connection; not known: that end is elsewhere, or the system does
// not tell.
func connectionOwner(peer, here netip.AddrPort) (uid int, known bool) {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		uid, known = ownerIn(f, peer, here)
		f.Close() //nolint:errcheck // it was read alone
		if known {
			return uid, true
		}
	}
	return 0, false
}

// ownerIn is whose process has a connection of a table of Linux's, seen from its end.
func ownerIn(table io.Reader, local, remote netip.AddrPort) (uid int, known bool) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || tableAddress(f[1]) != unmapped(local) || tableAddress(f[2]) != unmapped(remote) {
			continue
		}
		uid, err := strconv.Atoi(f[7])
		return uid, err == nil
	}
	return 0, false
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// tableAddress reads an address as it stands in such a table: words in the machine's order, and the port.
func tableAddress(text string) netip.AddrPort {
	words, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(words)
	p, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p))
}
