package approle

import "github.com/strongroom/strongroom/internal/api"

// TokenUses are those of a token.
type TokenUses struct {
	TokenNumUses int `json:"token_num_uses"`
}

// WriteTokenUses sets how many requests a token can make.
type WriteTokenUses struct {
	RoleName     api.Name `path:"role_name"`      // The role.
	TokenNumUses *int     `json:"token_num_uses"` // How many requests a token can make; 0: any number.
}

// readTokenUses shows how many requests a token can make.
func (engine) readTokenUses(c *api.Call, q *RoleName) (*TokenUses, error) {
	return show(c, q, func(r *role) *TokenUses { return &TokenUses{r.Terms.NumUses} })
}

// writeTokenUses sets how many requests a token can make.
func (engine) writeTokenUses(c *api.Call, q *WriteTokenUses) (*api.None, error) {
	if err := missing("token_num_uses", q.TokenNumUses); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenNumUses: q.TokenNumUses}})
}

// deleteTokenUses lets tokens make any number of requests.
func (engine) deleteTokenUses(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenNumUses: zero[int]()}})
}

// TokenTTL is the first lifetime of a token.
type TokenTTL struct {
	TokenTTL api.Duration `json:"token_ttl"`
}

// WriteTokenTTL sets the first lifetime of a token.
type WriteTokenTTL struct {
	RoleName api.Name      `path:"role_name"` // The role.
	TokenTTL *api.Duration `json:"token_ttl"` // First lifetime of tokens; 0: the mount's.
}

// readTokenTTL shows the first lifetime of tokens.
func (engine) readTokenTTL(c *api.Call, q *RoleName) (*TokenTTL, error) {
	return show(c, q, func(r *role) *TokenTTL { return &TokenTTL{api.Duration(r.Terms.TTL)} })
}

// writeTokenTTL sets the first lifetime of tokens.
func (engine) writeTokenTTL(c *api.Call, q *WriteTokenTTL) (*api.None, error) {
	if err := missing("token_ttl", q.TokenTTL); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenTTL: q.TokenTTL}})
}

// deleteTokenTTL gives tokens the mount's first lifetime.
func (engine) deleteTokenTTL(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenTTL: zero[api.Duration]()}})
}

// TokenMaxTTL is the longest lifetime of a token.
type TokenMaxTTL struct {
	TokenMaxTTL api.Duration `json:"token_max_ttl"`
}

// WriteTokenMaxTTL sets the longest lifetime of a token.
type WriteTokenMaxTTL struct {
	RoleName    api.Name      `path:"role_name"`     // The role.
	TokenMaxTTL *api.Duration `json:"token_max_ttl"` // Longest lifetime, renewals included; 0: the mount's.
}

// readTokenMaxTTL shows the longest lifetime of tokens.
func (engine) readTokenMaxTTL(c *api.Call, q *RoleName) (*TokenMaxTTL, error) {
	return show(c, q, func(r *role) *TokenMaxTTL { return &TokenMaxTTL{api.Duration(r.Terms.MaxTTL)} })
}

// writeTokenMaxTTL sets the longest lifetime of tokens.
func (engine) writeTokenMaxTTL(c *api.Call, q *WriteTokenMaxTTL) (*api.None, error) {
	if err := missing("token_max_ttl", q.TokenMaxTTL); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenMaxTTL: q.TokenMaxTTL}})
}

// deleteTokenMaxTTL gives tokens the mount's longest lifetime.
func (engine) deleteTokenMaxTTL(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenMaxTTL: zero[api.Duration]()}})
}

// Period is that of a role's tokens, by both of its names.
type Period struct {
	TokenPeriod api.Duration `json:"token_period"`
	Period      api.Duration `json:"period"`
}

// WritePeriod sets the period of a role's tokens.
type WritePeriod struct {
	RoleName    api.Name      `path:"role_name"`                                  // The role.
	Period      *api.Duration `json:"period" api:"deprecated,alias=token_period"` // Old name of token_period.
	TokenPeriod *api.Duration `json:"token_period"`                               // Lifetime after each renewal, without a maximum.
	Aliases     []string      `json:"-" api:"aliases"`
}

// readPeriod shows the period of a role's tokens.
func (engine) readPeriod(c *api.Call, q *RoleName) (*Period, error) {
	return show(c, q, func(r *role) *Period {
		d := api.Duration(r.Terms.Period)
		return &Period{TokenPeriod: d, Period: d}
	})
}

// writePeriod sets the period of a role's tokens.
func (engine) writePeriod(c *api.Call, q *WritePeriod) (*api.None, error) {
	if err := missing("token_period", q.TokenPeriod); err != nil {
		return nil, err
	}
	return patch(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenPeriod: q.TokenPeriod}, Aliases: q.Aliases})
}

// deletePeriod makes tokens that are not periodic.
func (engine) deletePeriod(c *api.Call, q *RoleName) (*api.None, error) {
	return reset(c, q.RoleName, &Write{TokenFields: api.TokenFields{TokenPeriod: zero[api.Duration]()}})
}
