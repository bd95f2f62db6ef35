package script

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/test/engine"
	"github.com/strongroom/strongroom/test/freeradius"
	"github.com/strongroom/strongroom/test/process"
	"github.com/strongroom/strongroom/test/slapd"
	"github.com/strongroom/strongroom/test/softkey"
)

// session is what a script has running: a server, and a listener that takes audit records.
type session struct {
	env    *testscript.Env
	server *process.Server
	sink   net.Listener
	conns  chan net.Conn

	directory *slapd.Server
	radius    *freeradius.Server
	passkey   *softkey.Authenticator
}

type sessionKey struct{}

func of(ts *testscript.TestScript) *session { return ts.Value(sessionKey{}).(*session) }

func (s *session) close() {
	if s.server != nil {
		if err := s.server.Kill(); err != nil {
			s.env.T().Log(err)
		}
	}
	if err := s.closeOthers(); err != nil {
		s.env.T().Log(err)
	}
	s.hangUp()
}

// commands are those that scripts have beside testscript's own:
//
//	server dev                     start a server in memory, with the root token "root"
//	server start DIR [FLAG...]     start `strongroom server` on a data directory; a root token it prints becomes $ROOT
//	server as NAME FLAG...         start `NAME server FLAG...`, where ADDR in a flag, or in a file it names, is the address
//	server kill | stop             end the server with SIGKILL, or cleanly
//	server hangup                  send SIGHUP: it reopens its files, and says so in its log
//	server said REGEXP             match what the server has printed
//	exits CODE PROGRAM [ARG...]    run a program that must end with that status
//	http METHOD PATH [BODY]        make a request with $STRONGROOM_TOKEN; the status and the body become standard output
//	await STATUS METHOD PATH       make a request again and again, for ten seconds at most, until it has that status
//	capture NAME [REGEXP]          set $NAME to standard output, or to the first group of the expression in it
//	sink up | down                 listen for audit records at $SINK, or stop
//	provider ADDRESS...            run an OpenID provider as $ISSUER that sends browsers back to those addresses
//	person FILE                    wait for an address in a file, and log in at it as somebody with a browser does
//	passcode NAME ADDRESS PERIODS  set $NAME to the passcode of an otpauth address, so many periods from now
//	passkey ORIGIN FILE            wait for an address in a file, and show a passkey there as somebody with a browser does
//	directory [down]               start a directory at $LDAP_URL, or end it
//	guide FILE                     run the blocks of a guide in docs that are fenced as "sh runnable", in one shell
//	radius                         start a RADIUS server at $RADIUS_HOST and $RADIUS_PORT
//	shell PROGRAM TEXT REGEXP      type a text into an interactive shell, and wait for a match in what it prints
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"server": serverCommand, "exits": exits, "http": httpCommand, "await": await, "capture": capture, "sink": sinkCommand, "shell": shellCommand,
		"directory": directoryCommand, "radius": radiusCommand, "guide": guideCommand,
		"provider": providerCommand, "person": personCommand,
		"passcode": passcodeCommand, "passkey": passkeyCommand,
	}
}

// need ends the script where a command is used wrongly.
func need(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

func serverCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "server dev | start DIR [FLAG...] | as NAME FLAG... | kill | stop | hangup | said REGEXP")
	s := of(ts)
	switch args[0] {
	case "dev":
		s.dev(ts)
	case "start":
		need(ts, neg, args, 2, "server start DIR [FLAG...]")
		s.start(ts, "-listen", durable(ts, ts.MkAbs(args[1]), args[2:])...)
		if token := s.server.RootToken(); token != "" {
			ts.Setenv("ROOT", token)
			ts.Setenv("STRONGROOM_TOKEN", token)
		}
	case "as":
		need(ts, neg, args, 3, "server as NAME FLAG...")
		s.startAs(ts, args[1], args[2:])
	case "kill":
		ts.Check(s.server.Kill())
		s.server = nil
	case "stop":
		ts.Check(s.server.Stop())
		s.server = nil
	case "hangup":
		ts.Check(syscall.Kill(s.server.PID(), syscall.SIGHUP))
	case "said":
		need(ts, neg, args, 2, "server said REGEXP")
		if !regexp.MustCompile(args[1]).MatchString(s.server.Output()) {
			ts.Fatalf("the server did not say %s, but:\n%s", args[1], s.server.Output())
		}
	}
}

// durable is how a server is started whose store lasts: on the embedded store in the directory, or on the one that the
// environment chooses, in a configuration that is then made of the one among the flags.
func durable(ts *testscript.TestScript, dir string, flags []string) []string {
	storage := engine.Chosen()
	if storage == "" {
		return append([]string{"server", "-data=" + dir}, flags...)
	}
	settings, rest := engine.LocalSlot(dir), []string(nil)
	for _, flag := range flags {
		if _, file, ok := strings.Cut(flag, "-config="); ok {
			settings = ts.ReadFile(file)
		} else {
			rest = append(rest, flag)
		}
	}
	config, err := storage.Config(dir, settings+fmt.Sprintf("\naudit_directory = %q\n", filepath.Join(dir, "audit")))
	ts.Check(err)
	return append([]string{"server", "-config=" + config}, rest...)
}

// dev starts a development server, or one like it on the store that the environment chooses. It may write audit files below
// $WORK, and those of namespaces in $WORK/homes.
func (s *session) dev(ts *testscript.TestScript) {
	settings := fmt.Sprintf("audit_directory = %q\naudit_namespace_directory = %q\n", ts.Getenv("WORK"), ts.MkAbs("homes"))
	if storage := engine.Chosen(); storage != "" {
		config, err := storage.Config(ts.MkAbs("dev"), settings)
		ts.Check(err)
		s.start(ts, "-listen", "server", "-config="+config)
		ts.Check(engine.Furnish(s.server.URL, "root"))
	} else {
		config := ts.MkAbs("dev.hcl")
		ts.Check(os.WriteFile(config, []byte(settings), 0o600))
		s.start(ts, "-dev-listen-address", "server", "-dev", "-dev-root-token-id=root", "-config="+config)
	}
	ts.Setenv("STRONGROOM_TOKEN", "root")
}

// start runs a server; flag is the one that takes its address.
func (s *session) start(ts *testscript.TestScript, flag string, args ...string) {
	if s.server != nil {
		ts.Fatalf("a server is running already")
	}
	addr, err := process.FreeAddr()
	ts.Check(err)
	server, err := process.StartIn(ts.Getenv("WORK"), s.env.Vars, addr, bin, append(args, flag+"="+addr)...)
	ts.Check(err)
	s.server = server
	ts.Setenv("STRONGROOM_ADDR", server.URL)
}

// startAs runs a server by one of the program's names.
func (s *session) startAs(ts *testscript.TestScript, name string, flags []string) {
	if s.server != nil {
		ts.Fatalf("a server is running already")
	}
	addr, err := process.FreeAddr()
	ts.Check(err)
	args := []string{"server"}
	for _, flag := range flags {
		if _, file, ok := strings.Cut(flag, "-config="); ok {
			text := strings.ReplaceAll(ts.ReadFile(file), "ADDR", addr)
			ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
			flag = "-config=" + ts.MkAbs(file)
		}
		args = append(args, strings.ReplaceAll(flag, "ADDR", addr))
	}
	server, err := process.StartIn(ts.Getenv("WORK"), s.env.Vars, addr, filepath.Join(filepath.Dir(bin), name), args...)
	ts.Check(err)
	s.server = server
	ts.Setenv("ADDR", addr)
	ts.Setenv("STRONGROOM_ADDR", server.URL)
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "exits CODE PROGRAM [ARG...]")
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("ended with status %d, want %s", got, args[0])
	}
}

// ask makes one request and returns its status and body.
func ask(ts *testscript.TestScript, method, path, body string) (int, string) {
	req, err := http.NewRequest(method, ts.Getenv("STRONGROOM_ADDR")+path, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("X-Vault-Token", ts.Getenv("STRONGROOM_TOKEN"))
	client := http.Client{Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	ts.Check(err)
	text, err := io.ReadAll(resp.Body)
	ts.Check(errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, string(text)
}

func httpCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "http METHOD PATH [BODY]")
	status, body := ask(ts, args[0], args[1], strings.Join(args[2:], " "))
	_, err := fmt.Fprintf(ts.Stdout(), "%d\n%s\n", status, strings.TrimSpace(body))
	ts.Check(err)
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, "await STATUS METHOD PATH")
	deadline, tick := time.After(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		status, body := ask(ts, args[1], args[2], "")
		if strconv.Itoa(status) == args[0] {
			_, err := fmt.Fprintf(ts.Stdout(), "%d\n%s\n", status, strings.TrimSpace(body))
			ts.Check(err)
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("still status %d after ten seconds, want %s: %s", status, args[0], body)
		case <-tick.C:
		}
	}
}

func capture(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "capture NAME [REGEXP]")
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) > 1 {
		m := regexp.MustCompile(args[1]).FindStringSubmatch(text)
		if len(m) < 2 {
			ts.Fatalf("%s has no group that matches %q", args[1], text)
		}
		text = m[1]
	}
	ts.Setenv(args[0], text)
}

func sinkCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "sink up | down")
	s := of(ts)
	if args[0] == "down" {
		s.hangUp()
		return
	}
	addr := ts.Getenv("SINK")
	if addr == "" { // its port may be listened on again later
		var err error
		addr, err = process.FreeAddr()
		ts.Check(err)
	}
	l, err := net.Listen("tcp", addr)
	ts.Check(err)
	s.sink, s.conns = l, make(chan net.Conn, 100)
	go drain(l, s.conns)
	ts.Setenv("SINK", l.Addr().String())
}

// drain takes connections and throws away what they bring, until the listener closes.
func drain(l net.Listener, conns chan<- net.Conn) {
	defer close(conns)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conns <- conn
		go io.Copy(io.Discard, conn)
	}
}

// hangUp closes the listener and every connection it took.
func (s *session) hangUp() {
	if s.sink == nil {
		return
	}
	closing := s.sink.Close()
	for conn := range s.conns {
		closing = errors.Join(closing, conn.Close())
	}
	if closing != nil {
		s.env.T().Log(closing)
	}
	s.sink = nil
}
