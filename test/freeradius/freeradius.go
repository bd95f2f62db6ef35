// Package freeradius owns running a private FreeRADIUS server for tests, on a free loopback port, with a few accounts. It
// ends only what it started, by process id; nothing of it is part of the product.
package freeradius

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/test/process"
)

// What a server knows. Tests look for the secrets where none may be.
const (
	Secret   = "canary-5e2d9a40-shared"
	Password = "canary-c71f03be" // of everybody
)

// Server is a FreeRADIUS server.
type Server struct {
	*process.Private

	Dir  string // Dir holds its configuration.
	Host string
	Port int // Port is of UDP.
}

// Start starts a server that knows alice, bob and, by another name, carol@example.com, and signs its answers.
func Start() (*Server, error) { return start(signing) }

// StartUnsigned is Start of a server as those before 3.2.5 are unless they are told: its answers have no Message-Authenticator.
func StartUnsigned() (*Server, error) { return start("") }

// start starts a server with a section for what becomes of its answers.
func start(answers string) (*Server, error) {
	bin, ok := process.Find("freeradius", "radiusd")
	if !ok {
		return nil, errors.New("no FreeRADIUS server is installed: install the package freeradius")
	}
	dir, err := os.MkdirTemp("", "freeradius")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Host: "127.0.0.1"}
	if err := s.create(bin, answers); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// configuration is of radiusd.conf(5): a server for passwords alone.
const configuration = `
prefix = /usr
name = radiusd
confdir = DIR
logdir = DIR
raddbdir = DIR
libdir = /usr/lib/freeradius
log {
	destination = stdout
}
security {
	reject_delay = 0
	allow_vulnerable_openssl = yes
}
client localhost {
	ipaddr = 127.0.0.1
	secret = SECRET
	require_message_authenticator = yes
}
modules {
	pap {
	}
	files {
		filename = DIR/users
	}
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = PORT
	}
	authorize {
		files
		pap
	}
	authenticate {
		pap
	}
	ANSWERS
}
`

// signing puts a Message-Authenticator into each answer.
const signing = `post-auth {
		update reply {
			&Message-Authenticator := 0x00
		}
		Post-Auth-Type REJECT {
			update reply {
				&Message-Authenticator := 0x00
			}
		}
	}`

// accounts is of users(5).
const accounts = `
alice Cleartext-Password := "PASSWORD"
Bob Cleartext-Password := "PASSWORD"
carol@example.com Cleartext-Password := "PASSWORD"
	User-Name := "carol"
dave Cleartext-Password := "PASSWORD"
	User-Name := "Dave"
`

func (s *Server) create(bin, answers string) error {
	addr, err := process.FreeAddr()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	fill := strings.NewReplacer("DIR", s.Dir, "PORT", fmt.Sprint(s.Port), "SECRET", Secret, "PASSWORD", Password, "ANSWERS", answers)
	for name, text := range map[string]string{"radiusd.conf": configuration, "users": accounts} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return s.serve(bin)
}

// serve starts the server and waits until it listens.
func (s *Server) serve(bin string) (err error) {
	cmd := exec.Command(bin, "-f", "-l", "stdout", "-n", "radiusd", "-d", s.Dir, "-D", "/usr/share/freeradius")
	s.Private, err = process.Serve(cmd, func(log string) bool { return strings.Contains(log, "Ready to process requests") })
	return err
}

// Remove ends the server and removes its configuration.
func (s *Server) Remove() error { return errors.Join(s.Kill(), os.RemoveAll(s.Dir)) }
