package compat

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"
	bao "github.com/openbao/openbao/api/v2"

	"github.com/strongroom/strongroom/test/process"
)

// client is one of the two Go clients behind the faces of its parts.
type client struct {
	kind   string // kind is "vault" or "openbao".
	server *process.Server
	token  string
	// auditDir is where the server may write audit files; empty on the shared server.
	auditDir string

	gone    error // gone is the client's own error for a secret that is not there.
	head    head
	logical logical
	tokens  tokens
	sys     sys
	kv1     func(mount string) kv1
	kv2     func(mount string) kv2
	watch   func(*testing.T, *vault.LifetimeWatcherInput) watch
}

// head is the client itself: the headers it sends.
type head struct {
	SetToken     func(string)
	SetNamespace func(string)
	AddHeader    func(key, value string)

	SetMaxRetries func(int)
}

type kv1 struct {
	Get    func(context.Context, string) (*vault.KVSecret, error)
	Put    func(context.Context, string, map[string]any) error
	Delete func(context.Context, string) error
}

type kv2 struct {
	Get               func(context.Context, string) (*vault.KVSecret, error)
	GetVersion        func(context.Context, string, int) (*vault.KVSecret, error)
	GetVersionsAsList func(context.Context, string) ([]vault.KVVersionMetadata, error)
	GetMetadata       func(context.Context, string) (*vault.KVMetadata, error)
	Put               func(context.Context, string, map[string]any, ...vault.KVOption) (*vault.KVSecret, error)
	PutMetadata       func(context.Context, string, vault.KVMetadataPutInput) error
	Patch             func(context.Context, string, map[string]any, ...vault.KVOption) (*vault.KVSecret, error)
	PatchMetadata     func(context.Context, string, vault.KVMetadataPatchInput) error
	Delete            func(context.Context, string) error
	DeleteVersions    func(context.Context, string, []int) error
	DeleteMetadata    func(context.Context, string) error
	Undelete          func(context.Context, string, []int) error
	Destroy           func(context.Context, string, []int) error
	Rollback          func(context.Context, string, int) (*vault.KVSecret, error)
}

type logical struct {
	Read            func(string) (*vault.Secret, error)
	ReadWithData    func(string, map[string][]string) (*vault.Secret, error)
	ReadRaw         func(string) (*vault.Response, error)
	ReadRawWithData func(string, map[string][]string) (*vault.Response, error)
	List            func(string) (*vault.Secret, error)
	ListPage        func(string, string, int) (*vault.Secret, error) // OpenBao's alone.
	Scan            func(string) (*vault.Secret, error)              // OpenBao's alone.
	Write           func(string, map[string]any) (*vault.Secret, error)
	WriteBytes      func(string, []byte) (*vault.Secret, error)
	JSONMergePatch  func(context.Context, string, map[string]any) (*vault.Secret, error)
	Delete          func(string) (*vault.Secret, error)
	DeleteWithData  func(string, map[string][]string) (*vault.Secret, error)
	Unwrap          func(string) (*vault.Secret, error)
}

type tokens struct {
	Create           func(*vault.TokenCreateRequest) (*vault.Secret, error)
	CreateOrphan     func(*vault.TokenCreateRequest) (*vault.Secret, error)
	CreateWithRole   func(*vault.TokenCreateRequest, string) (*vault.Secret, error)
	Lookup           func(string) (*vault.Secret, error)
	LookupAccessor   func(string) (*vault.Secret, error)
	LookupSelf       func() (*vault.Secret, error)
	Renew            func(string, int) (*vault.Secret, error)
	RenewAccessor    func(string, int) (*vault.Secret, error)
	RenewSelf        func(int) (*vault.Secret, error)
	RenewTokenAsSelf func(string, int) (*vault.Secret, error)
	RevokeAccessor   func(string) error
	RevokeOrphan     func(string) error
	RevokeSelf       func(string) error
	RevokeTree       func(string) error
}

type sys struct {
	ListMounts            func() (map[string]*vault.MountOutput, error)
	GetMount              func(string) (*vault.MountOutput, error) // Vault's alone.
	Mount                 func(string, *vault.MountInput) error
	Unmount               func(string) error
	Remount               func(from, to string) error
	StartRemount          func(from, to string) (*vault.MountMigrationOutput, error)
	RemountStatus         func(string) (*vault.MountMigrationStatusOutput, error)
	TuneMount             func(string, vault.MountConfigInput) error
	MountConfig           func(string) (*vault.MountConfigOutput, error)
	ListAuth              func() (map[string]*vault.AuthMount, error)
	EnableAuthWithOptions func(string, *vault.EnableAuthOptions) error
	DisableAuth           func(string) error

	ListPolicies     func() ([]string, error)
	GetPolicy        func(string) (string, error)
	PutPolicy        func(name, rules string) error
	DeletePolicy     func(string) error
	Capabilities     func(token, path string) ([]string, error)
	CapabilitiesSelf func(string) ([]string, error)

	ListAudit              func() (map[string]*vault.Audit, error)
	EnableAuditWithOptions func(string, *vault.EnableAuditOptions) error
	DisableAudit           func(string) error
	AuditHash              func(path, input string) (string, error)

	Health             func() (*vault.HealthResponse, error)
	Leader             func() (*vault.LeaderResponse, error)
	HAStatus           func() (*vault.HAStatusResponse, error)
	StepDown           func() error
	Monitor            func(ctx context.Context, level, format string) (chan string, error)
	CORSStatus         func() (*vault.CORSResponse, error)
	ConfigureCORS      func(*vault.CORSRequest) error
	DisableCORS        func() error
	InitStatus         func() (bool, error)
	Init               func(*vault.InitRequest) (*vault.InitResponse, error)
	SealStatus         func() (*vault.SealStatusResponse, error)
	Seal               func() error
	Unseal             func(string) (*vault.SealStatusResponse, error)
	ResetUnsealProcess func() (*vault.SealStatusResponse, error)
	KeyStatus          func() (*vault.KeyStatus, error)
	Rotate             func() error

	Renew             func(id string, increment int) (*vault.Secret, error)
	Lookup            func(id string) (*vault.Secret, error)
	Revoke            func(id string) error
	RevokePrefix      func(string) error
	RevokeForce       func(string) error
	RevokeWithOptions func(*vault.RevokeOptions) error

	RekeyStatus                      func() (*vault.RekeyStatusResponse, error)
	RekeyInit                        func(*vault.RekeyInitRequest) (*vault.RekeyStatusResponse, error)
	RekeyUpdate                      func(share, nonce string) (*vault.RekeyUpdateResponse, error)
	RekeyCancel                      func() error
	RekeyVerificationStatus          func() (*vault.RekeyVerificationStatusResponse, error)
	RekeyVerificationUpdate          func(share, nonce string) (*vault.RekeyVerificationUpdateResponse, error)
	RekeyVerificationCancel          func() error
	RekeyRetrieveBackup              func() (*vault.RekeyRetrieveResponse, error)
	RekeyDeleteBackup                func() error
	RekeyRecoveryKeyStatus           func() (*vault.RekeyStatusResponse, error)
	RekeyRecoveryKeyInit             func(*vault.RekeyInitRequest) (*vault.RekeyStatusResponse, error)
	RekeyRecoveryKeyUpdate           func(share, nonce string) (*vault.RekeyUpdateResponse, error)
	RekeyRecoveryKeyCancel           func() error
	RekeyRetrieveRecoveryBackup      func() (*vault.RekeyRetrieveResponse, error)
	RekeyDeleteRecoveryBackup        func() error
	GenerateRootStatus               func() (*vault.GenerateRootStatusResponse, error)
	GenerateRootInit                 func(otp, pgpKey string) (*vault.GenerateRootStatusResponse, error)
	GenerateRootUpdate               func(share, nonce string) (*vault.GenerateRootStatusResponse, error)
	GenerateRootCancel               func() error
	RotateKeyring                    func() error // OpenBao's alone, as are the rest.
	RotateRoot                       func() error
	RotateRootStatus                 func() (*bao.RotateStatusResponse, error)
	RotateRootInit                   func(*bao.RotateInitRequest) (*bao.RotateStatusResponse, error)
	RotateRootUpdate                 func(share, nonce string) (*bao.RotateUpdateResponse, error)
	RotateRootCancel                 func() error
	RotateRootVerificationStatus     func() (*bao.RotateVerificationStatusResponse, error)
	RotateRootVerificationUpdate     func(share, nonce string) (*bao.RotateVerificationUpdateResponse, error)
	RotateRootVerificationCancel     func() error
	RotateRootRetrieveBackup         func() (*bao.RotateRetrieveResponse, error)
	RotateRootDeleteBackup           func() error
	RotateRecoveryStatus             func() (*bao.RotateStatusResponse, error)
	RotateRecoveryInit               func(*bao.RotateInitRequest) (*bao.RotateStatusResponse, error)
	RotateRecoveryUpdate             func(share, nonce string) (*bao.RotateUpdateResponse, error)
	RotateRecoveryCancel             func() error
	RotateRecoveryRetrieveBackup     func() (*bao.RotateRetrieveResponse, error)
	RotateRecoveryDeleteBackup       func() error
	RotateRecoveryVerificationStatus func() (*bao.RotateVerificationStatusResponse, error)

	ListNamespaces  func() (map[string]*bao.ListNamespaceOutput, error) // OpenBao's alone, as are the rest.
	CreateNamespace func(string, *bao.CreateNamespaceInput) (*bao.CreateNamespaceOutput, error)
	ReadNamespace   func(string) (*bao.ReadNamespaceOutput, error)
	PatchNamespace  func(string, *bao.PatchNamespaceInput) (*bao.PatchNamespaceOutput, error)
	DeleteNamespace func(string) (*bao.DeleteNamespaceOutput, error)
}

// vaultClient is github.com/hashicorp/vault/api for the server. It never retries, so that tests see every answer.
func vaultClient(t *testing.T, s *process.Server) *client {
	cfg := vault.DefaultConfig()
	cfg.Address, cfg.MaxRetries = s.URL, 0
	vc, err := vault.NewClient(cfg)
	ok(t, err)
	return wired(s, "vault", vc, vault.ErrSecretNotFound, parts{
		logical: vc.Logical(), tokens: vc.Auth().Token(), sys: vc.Sys(),
		kv1: func(m string) any { return vc.KVv1(m) }, kv2: func(m string) any { return vc.KVv2(m) },
		watch: func(in any) (any, error) { return vc.NewLifetimeWatcher(in.(*vault.LifetimeWatcherInput)) },
		input: new(vault.LifetimeWatcherInput),
	})
}

// baoClient is github.com/openbao/openbao/api/v2 for the server, likewise.
func baoClient(t *testing.T, s *process.Server) *client {
	cfg := bao.DefaultConfig()
	cfg.Address, cfg.MaxRetries = s.URL, 0
	bc, err := bao.NewClient(cfg)
	ok(t, err)
	return wired(s, "openbao", bc, bao.ErrSecretNotFound, parts{
		logical: bc.Logical(), tokens: bc.Auth().Token(), sys: bc.Sys(),
		kv1: func(m string) any { return bc.KVv1(m) }, kv2: func(m string) any { return bc.KVv2(m) },
		watch: func(in any) (any, error) { return bc.NewLifetimeWatcher(in.(*bao.LifetimeWatcherInput)) },
		input: new(bao.LifetimeWatcherInput),
	})
}

// parts are the objects of a client that the faces are bound to; input has the type that watch takes.
type parts struct {
	logical, tokens, sys any
	kv1, kv2             func(mount string) any
	watch                func(input any) (any, error)
	input                any
}

func wired(s *process.Server, kind string, target any, gone error, p parts) *client {
	c := &client{kind: kind, server: s, gone: gone}
	bind(&c.head, target)
	bind(&c.logical, p.logical)
	bind(&c.tokens, p.tokens)
	bind(&c.sys, p.sys)
	c.kv1 = func(mount string) (face kv1) { bind(&face, p.kv1(mount)); return face }
	c.kv2 = func(mount string) (face kv2) { bind(&face, p.kv2(mount)); return face }
	c.watch = p.newWatch
	c.setToken(rootToken)
	return c
}

func (c *client) setToken(token string) {
	c.token = token
	c.head.SetToken(token)
}

// as is a second client of the same kind that holds another token.
func (c *client) as(t *testing.T, token string) *client {
	t.Helper()
	other := kinds[c.kind](t, c.server)
	other.setToken(token)
	return other
}

// in is a second client of the same kind and token inside a namespace.
func (c *client) in(t *testing.T, namespace string) *client {
	t.Helper()
	other := c.as(t, c.token)
	other.head.SetNamespace(namespace)
	return other
}

// kinds are the clients under test.
var kinds = map[string]func(*testing.T, *process.Server) *client{"vault": vaultClient, "openbao": baoClient}

// eachClient runs the test body with each client against the server they share.
func eachClient(t *testing.T, body func(*testing.T, *client)) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body(t, make(t, world.shared))
		})
	}
}

// eachClientAlone runs the test body with each client against a server in memory of its own.
func eachClientAlone(t *testing.T, body func(*testing.T, *client)) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, auditDir := devServer(t)
			c := make(t, s)
			c.auditDir = auditDir
			body(t, c)
		})
	}
}

// unique is a name no other test uses.
func unique(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:8]) }

// mounted enables a secret engine under a name of its own and returns the name.
func (c *client) mounted(t *testing.T, engine string, options map[string]string) string {
	t.Helper()
	name := unique(engine)
	ok(t, c.sys.Mount(name, &vault.MountInput{Type: engine, Options: options}))
	return name
}

// freshKV2 is a KV v2 mount of its own that is ready to be written.
func (c *client) freshKV2(t *testing.T) (string, kv2) {
	t.Helper()
	mount := c.mounted(t, "kv", map[string]string{"version": "2"})
	return mount, c.kv2(mount)
}

// bearer makes a token with a policy of its own made of the rules, and a client that holds it.
func (c *client) bearer(t *testing.T, rules string) *client {
	t.Helper()
	name := unique("policy")
	ok(t, c.sys.PutPolicy(name, rules))
	s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{name}, TTL: "1h"}))(t)
	return c.as(t, s.Auth.ClientToken)
}

// closeBody ends a raw answer and returns its status.
func closeBody(t *testing.T, resp *vault.Response) int {
	t.Helper()
	ok(t, resp.Body.Close())
	return resp.StatusCode
}

// noRedirects is a plain HTTP client that shows every answer as it is.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
