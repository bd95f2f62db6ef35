package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	vault "github.com/hashicorp/vault/api"
)

// metadataAddr is where clouds answer a machine what it is and who.
const metadataAddr = "169.254.169.254"

// machine is one of a cloud: a network namespace with a loopback device of its own, at which the cloud answers under the
// addresses that the helpers of clients have built in. What is in it reaches nothing of this machine but what this test serves
// in it. It needs no name, and the system removes it with the last that uses it.
type machine struct {
	do    chan func() // is done by a thread that is in the namespace
	hosts string      // is /etc/hosts in it
	ca    string      // file of the authorities trusted in it; empty: none
}

// newMachine makes one that knows names by lines as of /etc/hosts. It ends with the test.
func newMachine(t *testing.T, hosts string) *machine {
	t.Helper()
	m := &machine{do: make(chan func()), hosts: filepath.Join(t.TempDir(), "hosts")}
	ok(t, os.WriteFile(m.hosts, []byte(hosts), 0o600))
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends with this
		made <- enter()
		for f := range m.do {
			f()
		}
	}()
	t.Cleanup(func() { close(m.do) })
	if err := <-made; err != nil {
		t.Fatalf("making a network namespace, which takes root and iproute2: %v", err)
	}
	return m
}

// enter takes the calling thread into a new network namespace.
func enter() error {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return err
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"address", "add", metadataAddr + "/32", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// on has the thread that is in the machine do something.
func on[T any](m *machine, f func() (T, error)) (v T, err error) {
	done := make(chan struct{})
	m.do <- func() {
		defer close(done)
		v, err = f()
	}
	<-done
	return v, err
}

// listen listens in the machine, for this process.
func (m *machine) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	return must(on(m, func() (net.Listener, error) { return net.Listen("tcp", addr) }))(t)
}

// serve answers HTTP in the machine.
func (m *machine) serve(t *testing.T, addr string, h http.Handler) {
	t.Helper()
	s := &httptest.Server{Listener: m.listen(t, addr), Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
}

// logsIn has the helper of a method log in from inside the machine, to the server that the tests share, which is there under its
// own address.
func (m *machine) logsIn(t *testing.T, method, mount, role string) (*vault.Secret, error) {
	t.Helper()
	program := must(os.Executable())(t)
	cmd := exec.Command("sh", "-c", `mount --bind "$1" /etc/hosts && exec "$0"`, program, m.hosts)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "VAULT_ADDR=" + world.shared.URL, "VAULT_MAX_RETRIES=0",
		loginVariable + "=" + method + " " + mount + " " + role, "SSL_CERT_FILE=" + m.ca, "SSL_CERT_DIR=" + t.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if _, err := on(m, func() (any, error) { return nil, cmd.Run() }); err != nil {
		return nil, errors.New(said.String())
	}
	var s vault.Secret
	ok(t, json.Unmarshal(out.Bytes(), &s))
	return &s, nil
}

// reaches has the machine reach the server that the tests share.
func (m *machine) reaches(t *testing.T) {
	t.Helper()
	m.serve(t, world.shared.Addr, httputil.NewSingleHostReverseProxy(must(url.Parse(world.shared.URL))(t)))
}
