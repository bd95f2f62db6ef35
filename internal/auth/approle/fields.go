package approle

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// fieldRoutes are the endpoints of single fields of a role: each can be read, set, and
// by DELETE set back.
func fieldRoutes() []api.Route[engine] {
	const at = "role/{role_name}/"
	return []api.Route[engine]{
		api.Handle(api.Read, at+"policies", engine.readPolicies),
		api.Handle(api.Write, at+"policies", engine.writePolicies),
		api.Handle(api.Delete, at+"policies", engine.deletePolicies),
		api.Handle(api.Read, at+"local-secret-ids", engine.readLocal),
		api.Handle(api.Read, at+"bound-cidr-list", engine.readOldCIDRs),
		api.Handle(api.Write, at+"bound-cidr-list", engine.writeOldCIDRs),
		api.Handle(api.Delete, at+"bound-cidr-list", engine.deleteCIDRs),
		api.Handle(api.Read, at+"secret-id-bound-cidrs", engine.readCIDRs),
		api.Handle(api.Write, at+"secret-id-bound-cidrs", engine.writeCIDRs),
		api.Handle(api.Delete, at+"secret-id-bound-cidrs", engine.deleteCIDRs),
		api.Handle(api.Read, at+"token-bound-cidrs", engine.readTokenCIDRs),
		api.Handle(api.Write, at+"token-bound-cidrs", engine.writeTokenCIDRs),
		api.Handle(api.Delete, at+"token-bound-cidrs", engine.deleteTokenCIDRs),
		api.Handle(api.Read, at+"bind-secret-id", engine.readBind),
		api.Handle(api.Write, at+"bind-secret-id", engine.writeBind),
		api.Handle(api.Delete, at+"bind-secret-id", engine.deleteBind),
		api.Handle(api.Read, at+"secret-id-num-uses", engine.readUses),
		api.Handle(api.Write, at+"secret-id-num-uses", engine.writeUses),
		api.Handle(api.Delete, at+"secret-id-num-uses", engine.deleteUses),
		api.Handle(api.Read, at+"secret-id-ttl", engine.readTTL),
		api.Handle(api.Write, at+"secret-id-ttl", engine.writeTTL),
		api.Handle(api.Delete, at+"secret-id-ttl", engine.deleteTTL),
		api.Handle(api.Read, at+"token-num-uses", engine.readTokenUses),
		api.Handle(api.Write, at+"token-num-uses", engine.writeTokenUses),
		api.Handle(api.Delete, at+"token-num-uses", engine.deleteTokenUses),
		api.Handle(api.Read, at+"token-ttl", engine.readTokenTTL),
		api.Handle(api.Write, at+"token-ttl", engine.writeTokenTTL),
		api.Handle(api.Delete, at+"token-ttl", engine.deleteTokenTTL),
		api.Handle(api.Read, at+"token-max-ttl", engine.readTokenMaxTTL),
		api.Handle(api.Write, at+"token-max-ttl", engine.writeTokenMaxTTL),
		api.Handle(api.Delete, at+"token-max-ttl", engine.deleteTokenMaxTTL),
		api.Handle(api.Read, at+"period", engine.readPeriod),
		api.Handle(api.Write, at+"period", engine.writePeriod),
		api.Handle(api.Delete, at+"period", engine.deletePeriod),
	}
}

// show answers one field of a role.
func show[T any](c *api.Call, q *RoleName, of func(*role) *T) (*T, error) {
	r, err := named(c, q.RoleName)
	if err != nil {
		return nil, err
	}
	return of(r), nil
}

// patch changes a role as a write of the fields that are given would.
func patch(c *api.Call, name api.Name, w *Write) (*api.None, error) {
	return nil, change(c, name, false, func(_ *store.Tx, r *role) error { return w.apply(r) })
}

// reset sets a field of a role back. A role that is not there has nothing to set back.
func reset(c *api.Call, name api.Name, w *Write) (*api.None, error) {
	_, err := patch(c, name, w)
	if api.KindOf(err) == api.NotFound {
		err = nil
	}
	return nil, err
}

func missing[T any](field string, v *T) error {
	if v == nil {
		return &api.Error{Kind: api.Invalid, Message: "missing " + field, Hint: "send the value as " + field + "; a DELETE sets it back"}
	}
	return nil
}

func zero[T any]() *T { return new(T) }

// Policies are those of a role's tokens, by both of their names.
type Policies struct {
	TokenPolicies []string `json:"token_policies" audit:"clear"`
	Policies      []string `json:"policies,omitempty" audit:"clear"`
}

// WritePolicies sets the policies of a role's tokens.
type WritePolicies struct {
	RoleName      api.Name  `path:"role_name"`                                                    // The role.
	Policies      *[]string `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	TokenPolicies *[]string `json:"token_policies" audit:"clear"`                                 // Policies of tokens.
	Aliases       []string  `json:"-" api:"aliases"`
}

// readPolicies shows the policies of a role's tokens.
func (engine) readPolicies(c *api.Call, q *RoleName) (*Policies, error) {
	return show(c, q, func(r *role) *Policies {
		names := r.Terms.Answer().TokenPolicies
		return &Policies{TokenPolicies: names, Policies: names}
	})
}

// writePolicies sets the policies of a role's tokens.
func (engine) writePolicies(c *api.Call, q *WritePolicies) (*api.None, error) {
	if err := missing("token_policies", q.TokenPolicies); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenPolicies: q.TokenPolicies}, Aliases: q.Aliases})
}

// deletePolicies takes all policies from a role's tokens.
func (engine) deletePolicies(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenPolicies: zero[[]string]()}})
}

// Local says whether secret ids are of this cluster alone.
type Local struct {
	LocalSecretIDs bool `json:"local_secret_ids"`
}

// readLocal shows whether a role's secret ids are of this cluster alone.
func (engine) readLocal(c *api.Call, q *RoleName) (*Local, error) {
	return show(c, q, func(r *role) *Local { return &Local{r.Local} })
}

// OldCIDRs are the addresses of logins under their deprecated name.
type OldCIDRs struct {
	BoundCIDRList []string `json:"bound_cidr_list"`
}

// WriteOldCIDRs sets the addresses of logins by their deprecated name.
type WriteOldCIDRs struct {
	RoleName      api.Name  `path:"role_name"`       // The role.
	BoundCIDRList *[]string `json:"bound_cidr_list"` // Addresses that logins may come from.
}

// readOldCIDRs shows the addresses that logins may come from.
func (engine) readOldCIDRs(c *api.Call, q *RoleName) (*OldCIDRs, error) {
	return show(c, q, func(r *role) *OldCIDRs { return &OldCIDRs{r.BoundCIDRs} })
}

// writeOldCIDRs sets the addresses that logins may come from.
func (engine) writeOldCIDRs(c *api.Call, q *WriteOldCIDRs) (*api.None, error) {
	if err := missing("bound_cidr_list", q.BoundCIDRList); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{SecretIDBoundCIDRs: q.BoundCIDRList, Aliases: []string{"bound_cidr_list"}})
}

// CIDRs are the addresses of logins.
type CIDRs struct {
	SecretIDBoundCIDRs []string `json:"secret_id_bound_cidrs"`
}

// WriteCIDRs sets the addresses of logins.
type WriteCIDRs struct {
	RoleName           api.Name  `path:"role_name"`             // The role.
	SecretIDBoundCIDRs *[]string `json:"secret_id_bound_cidrs"` // Addresses that logins may come from.
}

// readCIDRs shows the addresses that logins may come from.
func (engine) readCIDRs(c *api.Call, q *RoleName) (*CIDRs, error) {
	return show(c, q, func(r *role) *CIDRs { return &CIDRs{r.BoundCIDRs} })
}

// writeCIDRs sets the addresses that logins may come from.
func (engine) writeCIDRs(c *api.Call, q *WriteCIDRs) (*api.None, error) {
	if err := missing("secret_id_bound_cidrs", q.SecretIDBoundCIDRs); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{SecretIDBoundCIDRs: q.SecretIDBoundCIDRs})
}

// deleteCIDRs lets logins come from any address.
func (engine) deleteCIDRs(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{SecretIDBoundCIDRs: zero[[]string]()})
}

// TokenCIDRs are the addresses of tokens.
type TokenCIDRs struct {
	TokenBoundCIDRs []string `json:"token_bound_cidrs"`
}

// WriteTokenCIDRs sets the addresses of tokens.
type WriteTokenCIDRs struct {
	RoleName        api.Name  `path:"role_name"`         // The role.
	TokenBoundCIDRs *[]string `json:"token_bound_cidrs"` // Addresses that logins may come from and tokens may be used from.
}

// readTokenCIDRs shows the addresses that tokens may be used from.
func (engine) readTokenCIDRs(c *api.Call, q *RoleName) (*TokenCIDRs, error) {
	return show(c, q, func(r *role) *TokenCIDRs { return &TokenCIDRs{r.Terms.Answer().TokenBoundCIDRs} })
}

// writeTokenCIDRs sets the addresses that tokens may be used from.
func (engine) writeTokenCIDRs(c *api.Call, q *WriteTokenCIDRs) (*api.None, error) {
	if err := missing("token_bound_cidrs", q.TokenBoundCIDRs); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenBoundCIDRs: q.TokenBoundCIDRs}})
}

// deleteTokenCIDRs lets tokens be used from any address.
func (engine) deleteTokenCIDRs(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenBoundCIDRs: zero[[]string]()}})
}

// Bind says whether a login needs a secret id.
type Bind struct {
	BindSecretID bool `json:"bind_secret_id"`
}

// WriteBind sets whether a login needs a secret id.
type WriteBind struct {
	RoleName     api.Name `path:"role_name"`      // The role.
	BindSecretID *bool    `json:"bind_secret_id"` // A login needs a secret id.
}

// readBind shows whether a login needs a secret id.
func (engine) readBind(c *api.Call, q *RoleName) (*Bind, error) {
	return show(c, q, func(r *role) *Bind { return &Bind{r.BindSecretID} })
}

// writeBind sets whether a login needs a secret id.
func (engine) writeBind(c *api.Call, q *WriteBind) (*api.None, error) {
	if err := missing("bind_secret_id", q.BindSecretID); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{BindSecretID: q.BindSecretID})
}

// deleteBind has logins need a secret id.
func (engine) deleteBind(c *api.Call, q *RoleName) (*api.None, error) {
	on := true
	return reset(c, q.RoleName, &Write{BindSecretID: &on})
}

// Uses are those of a secret id.
type Uses struct {
	SecretIDNumUses int `json:"secret_id_num_uses"`
}

// WriteUses sets how many logins a secret id is good for.
type WriteUses struct {
	RoleName        api.Name `path:"role_name"`          // The role.
	SecretIDNumUses *int     `json:"secret_id_num_uses"` // How many logins a secret id is good for; 0: any number.
}

// readUses shows how many logins a secret id is good for.
func (engine) readUses(c *api.Call, q *RoleName) (*Uses, error) {
	return show(c, q, func(r *role) *Uses { return &Uses{r.NumUses} })
}

// writeUses sets how many logins a secret id that is made from now on is good for.
func (engine) writeUses(c *api.Call, q *WriteUses) (*api.None, error) {
	if err := missing("secret_id_num_uses", q.SecretIDNumUses); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{SecretIDNumUses: q.SecretIDNumUses})
}

// deleteUses makes secret ids good for any number of logins.
func (engine) deleteUses(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{SecretIDNumUses: zero[int]()})
}

// TTL is that of a secret id.
type TTL struct {
	SecretIDTTL api.Duration `json:"secret_id_ttl"`
}

// WriteTTL sets how long a secret id is good.
type WriteTTL struct {
	RoleName    api.Name      `path:"role_name"`     // The role.
	SecretIDTTL *api.Duration `json:"secret_id_ttl"` // How long a secret id is good; 0: it does not expire.
}

// readTTL shows how long a secret id is good.
func (engine) readTTL(c *api.Call, q *RoleName) (*TTL, error) {
	return show(c, q, func(r *role) *TTL { return &TTL{api.Duration(r.TTL)} })
}

// writeTTL sets how long a secret id that is made from now on is good.
func (engine) writeTTL(c *api.Call, q *WriteTTL) (*api.None, error) {
	if err := missing("secret_id_ttl", q.SecretIDTTL); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{SecretIDTTL: q.SecretIDTTL})
}

// deleteTTL makes secret ids that do not expire.
func (engine) deleteTTL(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{SecretIDTTL: zero[api.Duration]()})
}
