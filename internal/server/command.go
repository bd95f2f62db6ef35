package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// flags are what the server's commands take.
type flags struct {
	devFlags
	configs   []string
	data      string
	listen    []string
	certFile  string
	keyFile   string
	auditDirs []string
	auditHome string
	logLevel  string
	logFormat string
	dev       bool
	devToken  string
	devListen string
	devKVv1   bool
	exitOnErr bool
	newRoot   bool
	nodeID    string
}

// Commands are the commands that run a server. The function keep, unless it is nil,
// is given the root token of a development server, for later commands to use.
func Commands(keep func(token string) error) []*cobra.Command {
	return []*cobra.Command{serverCommand(keep), devCommand(), checkCommand(), restoreCommand()}
}

func serverCommand(keep func(token string) error) *cobra.Command {
	f := &flags{devFlags: devFlags{keep: keep}}
	c := &cobra.Command{
		Use:   "server",
		Short: "Run a server",
		Long: `Run a server.

With -data the server keeps its store in that directory. Its first start makes
the store, unseals it by a key in DIR/keys, and prints the root token once.
With -config the configuration says what to do; unless it names a key slot
(seal "file" {}) the server waits for operator init, as Vault does.`,
		Example: `  strongroom server -data=DIR -listen=127.0.0.1:8200
  strongroom server -data=DIR -listen=0.0.0.0:8200 -tls-cert=cert.pem -tls-key=key.pem
  strongroom server -config=strongroom.hcl
  strongroom server -dev -dev-root-token-id=root`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServer(cmd, f) },
	}
	fs := c.Flags()
	fs.StringArrayVar(&f.configs, "config", nil, "configuration `FILE` in HCL or JSON, or a directory of such; may be repeated")
	fs.StringVar(&f.data, "data", "", "`DIR` of the embedded store")
	fs.StringArrayVar(&f.listen, "listen", nil, "`ADDR` to listen on; may be repeated (default "+DefaultAddress+")")
	fs.StringVar(&f.certFile, "tls-cert", "", "certificate `FILE` in PEM, for all -listen addresses")
	fs.StringVar(&f.keyFile, "tls-key", "", "private key `FILE` in PEM, for all -listen addresses")
	fs.StringArrayVar(&f.auditDirs, "audit-dir", nil, "`DIR` below which audit files may be declared through the API; may be repeated (default DIR/audit of -data)")
	fs.StringVar(&f.auditHome, "audit-namespace-dir", "", "`DIR` in which each namespace has a directory for audit files that are declared in it (default none: namespaces have no audit files)")
	fs.StringVar(&f.logLevel, "log-level", "", "trace, debug, info, warn or error (default info)")
	fs.StringVar(&f.logFormat, "log-format", "", "standard or json (default standard)")
	fs.BoolVar(&f.newRoot, "new-root-token", false, "print a new root token at the start, for who has lost the last one of a server that unseals itself")
	fs.StringVar(&f.nodeID, "node-id", "", "`NAME` of the member of storage \"etcd\" that this node is (default: the one with an address of this machine)")
	fs.BoolVar(&f.dev, "dev", false, "run a development server in memory")
	fs.StringVar(&f.devToken, "dev-root-token-id", "", "root `TOKEN` of the development server")
	fs.StringVar(&f.devListen, "dev-listen-address", "", "`ADDR` of the development server")
	fs.BoolVar(&f.devKVv1, "dev-kv-v1", false, "mount secret/ as KV version 1")
	fs.BoolVar(&f.exitOnErr, "exit-on-core-shutdown", false, "accepted for compatibility")
	f.devFlags.register(fs)
	return c
}

func devCommand() *cobra.Command {
	f := &flags{dev: true}
	c := &cobra.Command{
		Use:     "dev",
		Short:   "Run a development server in memory",
		Long:    "Run a server whose store is in memory, unsealed, with secret/ mounted as KV version 2.\nEverything is gone when it ends.",
		Example: "  strongroom dev\n  strongroom dev -listen=127.0.0.1:8201 -root-token=root",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runServer(cmd, f) },
	}
	fs := c.Flags()
	fs.StringVar(&f.devListen, "listen", "", "`ADDR` to listen on (default "+DefaultAddress+")")
	fs.StringVar(&f.devToken, "root-token", "", "root `TOKEN` (default: one is made and printed)")
	fs.BoolVar(&f.devKVv1, "kv-v1", false, "mount secret/ as KV version 1")
	fs.StringVar(&f.logLevel, "log-level", "", "trace, debug, info, warn or error (default info)")
	return c
}

// config is the configuration that the flags ask for.
func (f *flags) config() (*Config, error) {
	c, err := LoadConfig(f.configs...)
	if err != nil {
		return nil, err
	}
	if f.dev {
		return c, f.devConfig(c)
	}
	if len(f.configs) == 0 {
		if f.data == "" {
			return nil, errors.New("say where the data shall be: -data=DIR, or -config=FILE, or -dev for a server in memory")
		}
		c.LocalSlot = true
	}
	c.NewRoot = f.newRoot
	if f.data != "" {
		data, err := filepath.Abs(f.data)
		if err != nil {
			return nil, err
		}
		if said, err := filepath.Abs(c.DataDir); c.DataDir != "" && (err != nil || said != data) {
			return nil, errors.New("the configuration's storage path and -data name different directories: leave one of them out")
		}
		if c.Shared != nil {
			return nil, errors.New("-data is the directory of the embedded store, and the configuration names another: leave -data out")
		}
		c.DataDir = data
		c.InMemory = false
	}
	if err := errors.Join(f.coherent(c), f.name(c)); err != nil {
		return nil, err
	}
	for _, a := range f.listen {
		c.Listeners = append(c.Listeners, Listener{Address: a, CertFile: f.certFile, KeyFile: f.keyFile})
	}
	if len(c.Listeners) == 0 {
		c.Listeners = []Listener{{Address: DefaultAddress, CertFile: f.certFile, KeyFile: f.keyFile}}
	}
	c.AuditDirs = append(c.AuditDirs, f.auditDirs...)
	if len(c.AuditDirs) == 0 && c.DataDir != "" {
		c.AuditDirs = []string{filepath.Join(c.DataDir, "audit")}
	}
	f.homes(c)
	f.logging(c)
	return c, nil
}

// homes is where namespaces have their audit files.
func (f *flags) homes(c *Config) { c.AuditHome = cmp.Or(f.auditHome, c.AuditHome) }

// coherent refuses what would be taken otherwise than it was meant.
func (f *flags) coherent(c *Config) error {
	switch {
	case c.DataDir == "" && !c.InMemory && c.Shared == nil:
		return errors.New("the configuration names no storage: add storage \"pebble\" { path = \"DIR\" }, storage \"postgres\" or \"etcd\" for several nodes, or storage \"inmem\" {} for a store that is gone when the server ends")
	case c.DataDir == "" && c.LocalSlot && c.SlotPath == "":
		return errors.New("seal \"file\": this storage has no directory for the key; give path")
	case f.certFile+f.keyFile != "" && len(f.listen) == 0 && len(c.Listeners) > 0:
		return errors.New("-tls-cert and -tls-key are for -listen addresses, and the listeners are those of the configuration")
	}
	return nil
}

// name says which member of the configured ones the node is.
func (f *flags) name(c *Config) error {
	id := cmp.Or(f.nodeID, os.Getenv("STRONGROOM_NODE_ID"))
	switch {
	case id == "":
	case c.Shared != nil && c.Shared.Member != nil:
		c.Shared.Member.Name = id
		return c.Shared.Member.Check()
	case f.nodeID != "":
		return errors.New("-node-id names one of the members of storage \"etcd\", and the configuration has none")
	}
	return nil
}

func (f *flags) logging(c *Config) {
	if f.logLevel != "" {
		c.LogLevel = f.logLevel
	}
	if f.logFormat != "" {
		c.LogFormat = f.logFormat
	}
}

func (f *flags) devConfig(c *Config) error {
	if f.data != "" {
		return errors.New("-dev keeps everything in memory: leave -data out")
	}
	address := cmp.Or(f.devListen, devVariable(os.Getenv, "LISTEN_ADDRESS"), DefaultAddress)
	f.devToken = cmp.Or(f.devToken, devVariable(os.Getenv, "ROOT_TOKEN_ID"))
	if f.devToken == "" {
		token, err := randomToken()
		if err != nil {
			return err
		}
		f.devToken = token
	}
	c.DataDir, c.Shared, c.LocalSlot, c.SlotPath = "", nil, false, ""
	c.AuditDirs = append(c.AuditDirs, append(f.auditDirs, os.TempDir())...)
	c.Listeners = append([]Listener{{Address: address}}, c.Listeners...)
	f.homes(c)
	c.DevRoot, c.DevKVv1, c.DevNoKV = api.NewSecret(f.devToken), f.devKVv1, f.noKV
	f.logging(c)
	return nil
}

// runServer runs until it is told to end.
func runServer(cmd *cobra.Command, f *flags) error {
	c, err := f.config()
	if err != nil {
		return err
	}
	remove, err := f.devCertificate(c, cmd.OutOrStdout(), time.Now)
	defer remove()
	if err != nil {
		return err
	}
	ownOnly()
	c.Telemetry.Environment = telemetry.InEnvironment(os.Getenv)
	out, file, err := c.openLog(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	log := NewLogger(c, out)
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	f.warn(log, cmd.Flags())
	// Listening comes first: a server that cannot serve makes no store and prints
	// no root token.
	listeners, err := Listen(c)
	if err != nil {
		return err
	}
	s, err := f.openAnswering(ctx, c, log, listeners, cmd.OutOrStdout())
	if err != nil {
		return errors.Join(endedEarly(ctx, log, err), listeners.Close(), file.close())
	}
	go tuneGarbage(ctx, os.Getenv, s.door.Bodies)
	go s.reopenOnHangup(ctx, hangup, listeners, file)
	if err := c.writePID(); err != nil {
		return errors.Join(err, listeners.Close(), s.Close())
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Strongroom listens on %s\n\n    export VAULT_ADDR=%s\n\n", strings.Join(listeners.URLs, ", "), listeners.URLs[0])
	err = s.Serve(ctx, listeners)
	return errors.Join(err, s.Close(), c.removePID(), file.close())
}

// reopenOnHangup opens audit files and the log's file anew, and reads certificates
// anew, at each SIGHUP.
func (s *Server) reopenOnHangup(ctx context.Context, hangup <-chan os.Signal, listeners *Listeners, file *diskLog) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			err := errors.Join(file.reopen(), s.Reopen(), listeners.Reload())
			s.log.Info("reopening audit files and certificates")
			if err != nil {
				s.log.Error("reopening audit files and certificates", "error", err)
			}
		}
	}
}

func (c *Config) writePID() error {
	if c.PIDFile == "" {
		return nil
	}
	return os.WriteFile(c.PIDFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644)
}

func (c *Config) removePID() error {
	if c.PIDFile == "" {
		return nil
	}
	if err := os.Remove(c.PIDFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
