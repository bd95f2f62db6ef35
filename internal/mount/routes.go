package mount

import (
	"cmp"
	"maps"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under sys/ that manage mounts.
func Routes() []api.Route[*Mounts] {
	return []api.Route[*Mounts]{
		api.Handle(api.Read, "mounts", (*Mounts).listSecrets, api.Flat),
		api.Handle(api.Read, "mounts/{path...}", (*Mounts).readSecret, api.Flat),
		api.Handle(api.Write, "mounts/{path...}", (*Mounts).enableSecret),
		api.Handle(api.Delete, "mounts/{path...}", (*Mounts).disableSecret),
		api.Handle(api.Read, "mounts/{path...}/tune", (*Mounts).readSecretTune, api.Flat),
		api.Handle(api.Write, "mounts/{path...}/tune", (*Mounts).tuneSecret),
		api.Handle(api.Read, "auth", (*Mounts).listAuth, api.Flat),
		api.Handle(api.Read, "auth/{path...}", (*Mounts).readAuth, api.Flat, api.Sudo),
		api.Handle(api.Write, "auth/{path...}", (*Mounts).enableAuth, api.Sudo),
		api.Handle(api.Delete, "auth/{path...}", (*Mounts).disableAuth, api.Sudo),
		api.Handle(api.Read, "auth/{path...}/tune", (*Mounts).readAuthTune, api.Flat, api.Sudo),
		api.Handle(api.Write, "auth/{path...}/tune", (*Mounts).tuneAuth, api.Sudo),
		api.Handle(api.Write, "remount", (*Mounts).remount, api.Flat, api.Sudo),
		api.Handle(api.Read, "remount/status/{migration_id}", (*Mounts).remountStatus),
	}
}

// PathRequest names a mount.
type PathRequest struct {
	Path string `path:"path"` // Path the mount answers under.
}

// EnableRequest adds a mount.
type EnableRequest struct {
	Path        string            `path:"path"`                         // Path the mount shall answer under.
	Type        string            `json:"type"`                         // Type of secret engine or auth method.
	Description string            `json:"description"`                  // What the mount is for.
	Config      *TuneFields       `json:"config"`                       // Settings, as for tune.
	Options     map[string]string `json:"options"`                      // Options of the engine, such as version=2.
	Local       bool              `json:"local"`                        // Kept for compatibility; every mount is visible on every node.
	SealWrap    bool              `json:"seal_wrap"`                    // Kept for compatibility; everything is encrypted alike.
	Entropy     bool              `json:"external_entropy_access"`      // Kept for compatibility.
	PluginName  string            `json:"plugin_name" api:"alias=type"` // Another name of type; also where type is plugin.
	PluginVer   string            `json:"plugin_version"`               // Kept for compatibility; all engines are built in.
}

// kind is the type that is asked for, in whichever way.
func (r *EnableRequest) kind() string {
	if r.Type == "plugin" {
		return r.PluginName
	}
	return r.Type
}

// OtherValues are the names of the type of mount that is asked for.
func (r *EnableRequest) OtherValues(name string) []string {
	if name != "type" && name != "plugin_name" {
		return nil
	}
	kind, options := unalias(r.kind(), r.Options)
	switch {
	case kind != "kv":
		return []string{kind} // where type is plugin
	case options["version"] == "2":
		return []string{"kv", "kv-v2"}
	}
	return []string{"kv", "kv-v1", "generic"}
}

// TuneFields are a mount's settings; an absent field is left as it is.
type TuneFields struct {
	DefaultTTL                *string           `json:"default_lease_ttl" audit:"clear"` // Lease duration when none is asked for; system: the system's.
	MaxTTL                    *string           `json:"max_lease_ttl" audit:"clear"`     // Longest lease duration; system: the system's.
	ForceNoCache              *bool             `json:"force_no_cache"`                  // Kept for compatibility.
	TokenType                 *string           `json:"token_type"`                      // Type of token that logins get: default-service, default-batch, service or batch.
	ListingVisibility         *string           `json:"listing_visibility"`              // unauth shows the mount to callers without a token.
	AuditNonHMACRequestKeys   []string          `json:"audit_non_hmac_request_keys"`     // Kept for compatibility; what the audit log shows follows from types.
	AuditNonHMACResponseKeys  []string          `json:"audit_non_hmac_response_keys"`    // Kept for compatibility; what the audit log shows follows from types.
	PassthroughRequestHeaders []string          `json:"passthrough_request_headers"`     // Request headers an engine may see.
	AllowedResponseHeaders    []string          `json:"allowed_response_headers"`        // Response headers an engine may set.
	UserLockout               map[string]string `json:"user_lockout_config"`             // When an auth method locks an account: lockout_threshold, lockout_duration, lockout_counter_reset_duration and lockout_disable; those not named stay.
	PluginVersion             string            `json:"plugin_version"`                  // Kept for compatibility; all engines are built in.
	FilterLists               *bool             `json:"filter_lists"`                    // Lists hold only what the caller may do something with.
}

// TuneRequest changes a mount's settings.
type TuneRequest struct {
	Path string `path:"path"` // Path the mount answers under.
	TuneFields
	Description *string           `json:"description"` // What the mount is for.
	Options     map[string]string `json:"options"`     // Options of the engine; kv takes version.
}

// Info describes a mount.
type Info struct {
	Accessor              string            `json:"accessor"`
	Config                Config            `json:"config"`
	DeprecationStatus     string            `json:"deprecation_status"`
	Description           string            `json:"description"`
	ExternalEntropyAccess bool              `json:"external_entropy_access"`
	Local                 bool              `json:"local"`
	Options               map[string]string `json:"options"`
	PluginVersion         string            `json:"plugin_version"`
	RunningPluginVersion  string            `json:"running_plugin_version"`
	RunningSHA256         string            `json:"running_sha256"`
	SealWrap              bool              `json:"seal_wrap"`
	Type                  string            `json:"type"`
	UUID                  string            `json:"uuid"`
}

// BuiltinVersion is the version that clients see of everything built in.
const BuiltinVersion = "v1.0.0+builtin.strongroom"

// Describe is the mount as sys/mounts shows it to a namespace.
func (e *Entry) Describe(nsID string) *Info {
	kind := e.Type
	if e.Builtin && nsID != "root" {
		kind = "ns_" + kind
	}
	description := e.Description
	if e.damage != nil {
		kind, description = cmp.Or(kind, damagedKind), e.damage.Message
	}
	return &Info{Accessor: e.Accessor, Config: e.Config, DeprecationStatus: "supported", Description: description, Local: e.Local,
		Options: e.Options, RunningPluginVersion: BuiltinVersion, SealWrap: e.SealWrap, Type: kind, UUID: e.UUID}
}

// Tuned is a mount's effective settings.
type Tuned struct {
	DefaultTTL                api.Duration      `json:"default_lease_ttl"`
	Description               string            `json:"description"`
	ForceNoCache              bool              `json:"force_no_cache"`
	MaxTTL                    api.Duration      `json:"max_lease_ttl"`
	Options                   map[string]string `json:"options,omitempty"`
	TokenType                 string            `json:"token_type,omitempty"`
	ListingVisibility         string            `json:"listing_visibility,omitempty"`
	AuditNonHMACRequestKeys   []string          `json:"audit_non_hmac_request_keys,omitempty"`
	AuditNonHMACResponseKeys  []string          `json:"audit_non_hmac_response_keys,omitempty"`
	PassthroughRequestHeaders []string          `json:"passthrough_request_headers,omitempty"`
	AllowedResponseHeaders    []string          `json:"allowed_response_headers,omitempty"`
	UserLockout               *Lockout          `json:"user_lockout_config,omitempty"`
	FilterLists               bool              `json:"filter_lists,omitempty"`
}

// named refuses a request that names no mount.
func named(path string) error {
	if strings.Trim(path, "/") == "" {
		return &api.Error{Kind: api.Unsupported}
	}
	return nil
}

func secretPath(p string) string { return strings.Trim(p, "/") + "/" }
func authPath(p string) string   { return authPrefix + strings.Trim(p, "/") + "/" }

func (m *Mounts) list(c *api.Call, auth bool) (*map[string]*Info, error) {
	t, err := m.Table(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	out := map[string]*Info{}
	for _, e := range t.Entries(auth) {
		out[e.Name()] = e.Describe(c.Namespace.ID)
		if e.Damaged() {
			c.Warn(e.damage.Error())
		}
	}
	return &out, nil
}

// listSecrets lists the secret engines of the namespace by path.
func (m *Mounts) listSecrets(c *api.Call, _ *api.None) (*map[string]*Info, error) {
	return m.list(c, false)
}

// listAuth lists the auth methods of the namespace by path.
func (m *Mounts) listAuth(c *api.Call, _ *api.None) (*map[string]*Info, error) {
	return m.list(c, true)
}

func (m *Mounts) at(c *api.Call, path string) (*Entry, error) {
	t, err := m.Table(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	if e := t.Get(path); e != nil {
		return e, e.Refusal()
	}
	if strings.HasPrefix(path, authPrefix) {
		return nil, api.Errorf(api.Invalid, "No auth engine at %s", display(path))
	}
	return nil, api.Errorf(api.Invalid, "No secret engine mount at %s", path)
}

func (m *Mounts) read(c *api.Call, path string) (*Info, error) {
	e, err := m.at(c, path)
	if err != nil {
		return nil, err
	}
	return e.Describe(c.Namespace.ID), nil
}

// readSecret describes a secret engine's mount, and an auth method's below
// auth/, as clients ask: the list of auth methods says as much.
func (m *Mounts) readSecret(c *api.Call, r *PathRequest) (*Info, error) {
	return m.read(c, secretPath(r.Path))
}

// readAuth describes an auth method's mount.
func (m *Mounts) readAuth(c *api.Call, r *PathRequest) (*Info, error) {
	return m.read(c, authPath(r.Path))
}

func (m *Mounts) enable(c *api.Call, path string, r *EnableRequest) (*api.None, error) {
	if err := named(r.Path); err != nil {
		return nil, err
	}
	e := &Entry{Path: path, Type: r.kind(), Description: r.Description, Options: r.Options, Local: r.Local, SealWrap: r.SealWrap}
	if r.Config != nil {
		if err := r.Config.apply(c, &e.Config); err != nil {
			return nil, err
		}
	}
	return nil, m.Enable(c, c.Namespace.ID, e)
}

// enableSecret mounts a secret engine.
func (m *Mounts) enableSecret(c *api.Call, r *EnableRequest) (*api.None, error) {
	if strings.HasPrefix(secretPath(r.Path), authPrefix) {
		return nil, api.Errorf(api.Invalid, "cannot mount below %q: auth methods are enabled through sys/auth", authPrefix)
	}
	return m.enable(c, secretPath(r.Path), r)
}

// enableAuth mounts an auth method.
func (m *Mounts) enableAuth(c *api.Call, r *EnableRequest) (*api.None, error) {
	return m.enable(c, authPath(r.Path), r)
}

// disableSecret unmounts a secret engine and removes its data for good.
func (m *Mounts) disableSecret(c *api.Call, r *PathRequest) (*api.None, error) {
	if strings.HasPrefix(secretPath(r.Path), authPrefix) {
		return nil, api.Errorf(api.Invalid, "cannot unmount %q: auth methods are disabled through sys/auth", authPrefix)
	}
	_, err := m.Disable(c, c.Namespace.ID, secretPath(r.Path))
	return nil, err
}

// disableAuth unmounts an auth method and removes its data for good.
func (m *Mounts) disableAuth(c *api.Call, r *PathRequest) (*api.None, error) {
	_, err := m.Disable(c, c.Namespace.ID, authPath(r.Path))
	return nil, err
}

func (m *Mounts) readTune(c *api.Call, path string) (*Tuned, error) {
	e, err := m.at(c, path)
	if err != nil {
		return nil, err
	}
	def, most := e.TTLs()
	k := &e.Config
	return &Tuned{DefaultTTL: api.Duration(def), MaxTTL: api.Duration(most), Description: e.Description, ForceNoCache: k.ForceNoCache,
		Options: e.Options, TokenType: k.TokenType, ListingVisibility: k.ListingVisibility, AuditNonHMACRequestKeys: k.AuditNonHMACRequestKeys,
		AuditNonHMACResponseKeys: k.AuditNonHMACResponseKeys, PassthroughRequestHeaders: k.PassthroughRequestHeaders,
		AllowedResponseHeaders: k.AllowedResponseHeaders, UserLockout: k.UserLockout, FilterLists: k.FilterLists}, nil
}

// readSecretTune answers the effective settings of a secret engine's mount.
func (m *Mounts) readSecretTune(c *api.Call, r *PathRequest) (*Tuned, error) {
	return m.readTune(c, secretPath(r.Path))
}

// readAuthTune answers the effective settings of an auth method's mount.
func (m *Mounts) readAuthTune(c *api.Call, r *PathRequest) (*Tuned, error) {
	return m.readTune(c, authPath(r.Path))
}

func setList[T any](dst *[]T, v []T) {
	if v != nil {
		*dst = v
	}
}

// setTTL reads a lease duration; "system" is the system's own.
func setTTL(dst *api.Duration, field string, v *string) error {
	if v == nil {
		return nil
	}
	if *v == "system" {
		*dst = 0
		return nil
	}
	d, err := api.ParseDuration(*v)
	if err != nil {
		return api.Errorf(api.Invalid, "%s: %v", field, err)
	}
	*dst = api.Duration(d)
	return nil
}

// apply overwrites the settings that are given.
func (f *TuneFields) apply(c *api.Call, k *Config) error {
	api.Set(&k.ForceNoCache, f.ForceNoCache)
	api.Set(&k.FilterLists, f.FilterLists)
	api.Set(&k.TokenType, f.TokenType)
	api.Set(&k.ListingVisibility, f.ListingVisibility)
	setList(&k.AuditNonHMACRequestKeys, f.AuditNonHMACRequestKeys)
	setList(&k.AuditNonHMACResponseKeys, f.AuditNonHMACResponseKeys)
	setList(&k.PassthroughRequestHeaders, f.PassthroughRequestHeaders)
	setList(&k.AllowedResponseHeaders, f.AllowedResponseHeaders)
	if len(f.UserLockout) > 0 {
		var l Lockout
		if k.UserLockout != nil {
			l = *k.UserLockout
		}
		if err := l.Change(f.UserLockout); err != nil {
			return err
		}
		k.UserLockout = &l
	}
	if len(f.AuditNonHMACRequestKeys)+len(f.AuditNonHMACResponseKeys) > 0 && len(c.Warnings()) == 0 {
		c.Warn("audit_non_hmac_*_keys are kept but show nothing: what the audit log shows in clear follows from each field's type")
	}
	if err := setTTL(&k.DefaultTTL, "default_lease_ttl", f.DefaultTTL); err != nil {
		return err
	}
	return setTTL(&k.MaxTTL, "max_lease_ttl", f.MaxTTL)
}

func (m *Mounts) tune(c *api.Call, path string, r *TuneRequest) (*api.None, error) {
	return nil, m.change(c, c.Namespace.ID, path, func(e *Entry) error {
		if e.Builtin && (!e.Auth() || r.TokenType != nil || len(r.Options) > 0) {
			return api.Errorf(api.Invalid, "cannot tune these settings of %q", path)
		}
		if err := r.apply(c, &e.Config); err != nil {
			return err
		}
		api.Set(&e.Description, r.Description)
		if e.Builtin {
			return m.checkConfig(&e.Config)
		}
		if v, given := r.Options["version"]; given && e.Options["version"] == "2" && v != "2" {
			return api.Errorf(api.Invalid, "cannot downgrade mount from version 2")
		}
		if e.Options == nil {
			e.Options = map[string]string{}
		}
		maps.Copy(e.Options, r.Options)
		return m.check(e)
	})
}

// tuneSecret also tunes auth methods, as clients do, of callers with sudo.
func (m *Mounts) tuneSecret(c *api.Call, r *TuneRequest) (*api.None, error) {
	path := secretPath(r.Path)
	if strings.HasPrefix(path, authPrefix) && !c.Caller.Sudo {
		return nil, api.ErrDenied()
	}
	return m.tune(c, path, r)
}

// tuneAuth changes the settings of an auth method's mount; those that are not
// named stay.
func (m *Mounts) tuneAuth(c *api.Call, r *TuneRequest) (*api.None, error) {
	return m.tune(c, authPath(r.Path), r)
}

// RemountRequest moves a mount.
type RemountRequest struct {
	From string `json:"from"` // Present path of the mount.
	To   string `json:"to"`   // Path it shall have.
}

// Migration names a move.
type Migration struct {
	ID string `json:"migration_id"`
}

// remount moves a mount to another path. Its data stay where they are, so the
// move is complete when it is answered.
func (m *Mounts) remount(c *api.Call, r *RemountRequest) (*Migration, error) {
	if strings.Trim(r.From, "/") == "" || strings.Trim(r.To, "/") == "" {
		return nil, api.Errorf(api.Invalid, "both from and to must be given")
	}
	from, to := secretPath(r.From), secretPath(r.To)
	if err := m.Move(c, c.Namespace.ID, from, to); err != nil {
		return nil, err
	}
	t, err := m.load(c, m.store, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	id := api.NewUUID()
	if e := t.Get(to); e != nil {
		id = e.UUID
	}
	c.Warn("the move is complete: it moves no data")
	return &Migration{ID: id}, nil
}

// MigrationRequest names a move.
type MigrationRequest struct {
	ID string `path:"migration_id"` // The migration_id that the move answered.
}

// MigrationStatus is how far a move is.
type MigrationStatus struct {
	ID   string        `json:"migration_id"`
	Info MigrationInfo `json:"migration_info"`
}

// MigrationInfo is where a move went and its state.
type MigrationInfo struct {
	Source string `json:"source_mount"`
	Target string `json:"target_mount"`
	Status string `json:"status"`
}

// remountStatus answers for the mount whose UUID the move answered: a move is
// one commit, so that one which was answered is complete.
func (m *Mounts) remountStatus(c *api.Call, r *MigrationRequest) (*MigrationStatus, error) {
	t, err := m.Table(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range t.byPath {
		if e.UUID == r.ID {
			return &MigrationStatus{ID: r.ID, Info: MigrationInfo{Source: e.MovedFrom, Target: e.Path, Status: "success"}}, nil
		}
	}
	if err := t.absent(); err != nil {
		return nil, err
	}
	return nil, api.ErrNotFound()
}
