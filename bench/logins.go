package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// issuer signs the tokens that people log in with, each with one of their own.
type issuer struct {
	key ed25519.PrivateKey
	iat int64 // iat is when the tokens begin, in Unix seconds.
}

// newIssuer has a target's auth method at jwt/ let in who shows a token of a new issuer.
func newIssuer(t *target) (*issuer, error) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{"jwt_validation_pubkeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}})
	if err != nil {
		return nil, err
	}
	if _, err := t.call("POST", "/v1/sys/auth/jwt", `{"type":"jwt"}`); err != nil {
		return nil, err
	}
	if _, err := t.call("POST", "/v1/auth/jwt/config", string(config)); err != nil {
		return nil, err
	}
	_, err = t.call("POST", "/v1/auth/jwt/role/person", `{"role_type":"jwt","user_claim":"sub","bound_audiences":"bench","token_policies":"default","token_ttl":"24h"}`)
	return &issuer{key, time.Now().Unix()}, err
}

// login is the body of the login of the i-th person.
func (s *issuer) login(i int) string {
	text := func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }
	signed := text(`{"alg":"EdDSA","typ":"JWT"}`) + "." + text(fmt.Sprintf(`{"sub":"person-%08d","aud":"bench","iat":%d,"exp":%d}`, i, s.iat, s.iat+24*60*60))
	return `{"role":"person","jwt":"` + signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.key, []byte(signed))) + `"}`
}

// lot is what was measured while a part of the logins was made.
type lot struct {
	rate   float64       // rate is in logins a second.
	cpu    time.Duration // cpu is the server's, for each login.
	memory float64       // memory is resident after the last of them, in MiB.
}

// reportLogins measures logins by so many people, each with a signed token of an own name, so that each leaves an entity, an alias and
// a token; and what the server's memory and its start are before, on the way and after.
func reportLogins(w io.Writer, s *stand, num int) error {
	t := &target{name: "strongroom", addr: s.server.Addr, token: s.server.RootToken(), pid: s.server.PID()}
	if err := t.prepare(); err != nil {
		return err
	}
	root := *t
	root.token = s.server.RootToken()
	people, err := newIssuer(&root)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "| state | logins/s | CPU/login | resident memory | data on disk |\n|---|---|---|---|---|\n"); err != nil {
		return err
	}
	if err := s.reportLoginState(w, t, "before"); err != nil {
		return err
	}
	const lots = 10
	for i := range lots {
		l, err := logins(t, people, num*i/lots, num*(i+1)/lots)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "| %d logins | %.0f | %s | %.0f MiB | |\n", num*(i+1)/lots, l.rate, micros(l.cpu), l.memory); err != nil {
			return err
		}
	}
	return s.reportLoginState(w, t, "after")
}

// reportLoginState tells what a server holds and how long it takes to start with that.
func (s *stand) reportLoginState(w io.Writer, t *target, state string) error {
	disk, err := diskUse(filepath.Join(s.dir, "store"))
	if err != nil {
		return err
	}
	took, memory, err := s.start(t)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "| %s: started again after a kill, the first read answered after %.2f s (%.2f to %.2f in %d starts) | | | %.0f MiB | %.0f MiB |\n",
		state, took[starts/2].Seconds(), took[0].Seconds(), took[starts-1].Seconds(), starts, memory, disk)
	return err
}

// logins has the people with the numbers from one to before another log in, over 16 connections.
func logins(t *target, people *issuer, from, to int) (lot, error) {
	const clients = 16
	before, err := cpuTime(t.pid)
	if err != nil {
		return lot{}, err
	}
	began := time.Now()
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() { errs[c] = loginEach(t, people, from+c, to, clients) })
	}
	wg.Wait()
	took := time.Since(began)
	after, err := cpuTime(t.pid)
	memory, merr := resident(t.pid)
	if err := errors.Join(append(errs, err, merr)...); err != nil {
		return lot{}, err
	}
	return lot{float64(to-from) / took.Seconds(), (after - before) / time.Duration(max(to-from, 1)), memory}, nil
}

// loginEach logs in every so many people over one connection.
func loginEach(t *target, people *issuer, from, to, step int) (err error) {
	nc, err := net.Dial("tcp", t.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nc.Close()) }()
	c := &conn{conn: nc, r: bufio.NewReaderSize(nc, 64<<10)}
	for i := from; i < to; i += step {
		if _, err := nc.Write(t.request("POST", "/v1/auth/jwt/login", people.login(i))); err != nil {
			return err
		}
		if err := c.answer(); err != nil {
			return fmt.Errorf("login %d: %w", i, err)
		}
	}
	return nil
}
