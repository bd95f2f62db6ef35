package approle

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

func secretRoutes() []api.Route[engine] {
	const at = "role/{role_name}/"
	return []api.Route[engine]{
		api.Handle(api.Write, at+"secret-id", engine.generate),
		api.Handle(api.List, at+"secret-id", engine.listSecrets, api.Veiled),
		api.Handle(api.Write, at+"custom-secret-id", engine.keep),
		api.Handle(api.Write, at+"secret-id/lookup", engine.lookup),
		api.Handle(api.Write, at+"secret-id/destroy", engine.destroy),
		api.Handle(api.Delete, at+"secret-id/destroy", engine.destroy),
		api.Handle(api.Write, at+"secret-id-accessor/lookup", engine.lookupAccessor),
		api.Handle(api.Write, at+"secret-id-accessor/destroy", engine.destroyAccessor),
		api.Handle(api.Delete, at+"secret-id-accessor/destroy", engine.destroyAccessor),
		api.Handle(api.Write, "tidy/secret-id", engine.tidy),
	}
}

// Generate asks for a secret id.
type Generate struct {
	RoleName api.Name `path:"role_name"` // The role.
	Terms
}

// Custom gives a role a secret id that was made elsewhere.
type Custom struct {
	RoleName api.Name   `path:"role_name"` // The role.
	SecretID api.Secret `json:"secret_id"` // The secret id.
	Terms
}

// Issued is a new secret id. It is not shown again.
type Issued struct {
	SecretID         api.Disclosed `json:"secret_id"`
	SecretIDAccessor api.Disclosed `json:"secret_id_accessor"`
	SecretIDNumUses  int           `json:"secret_id_num_uses"`
	SecretIDTTL      api.Duration  `json:"secret_id_ttl"`
}

// generate makes a secret id of a role.
func (engine) generate(c *api.Call, q *Generate) (*Issued, error) {
	text := api.NewUUID()
	s, err := issue(c, q.RoleName, &q.Terms, api.NewSecret(text))
	if err != nil {
		return nil, err
	}
	return s.issued(api.Disclosed(text)), nil
}

// keep gives a role a secret id that was made elsewhere.
func (engine) keep(c *api.Call, q *Custom) (*Issued, error) {
	switch {
	case q.SecretID.Empty():
		return nil, errNoSecretID()
	case q.SecretID.Len() > maxSecretID:
		return nil, api.Errorf(api.Invalid, "secret_id: longer than %d bytes", maxSecretID)
	}
	s, err := issue(c, q.RoleName, &q.Terms, q.SecretID)
	if err != nil {
		return nil, err
	}
	return s.issued(q.SecretID.Disclose()), nil
}

func issue(c *api.Call, name api.Name, t *Terms, text api.Secret) (*secret, error) {
	r, err := mustBe(c, name)
	if err != nil {
		return nil, err
	}
	if !r.BindSecretID {
		return nil, api.Errorf(api.Invalid, "bind_secret_id is not set on the role")
	}
	s, err := newSecret(c, r, t)
	if err != nil {
		return nil, err
	}
	return s, r.insert(c, s, text)
}

func (s *secret) issued(text api.Disclosed) *Issued {
	return &Issued{SecretID: text, SecretIDAccessor: api.Disclosed(s.Accessor), SecretIDNumUses: s.Uses, SecretIDTTL: api.Duration(s.TTL)}
}

// ListSecrets asks for the accessors of a role's secret ids.
type ListSecrets struct {
	RoleName api.Name `path:"role_name"` // The role.
	After    string   `json:"after"`     // Only accessors that are listed behind this one.
	Limit    int      `json:"limit"`     // At most so many accessors; 0: all.
}

// listSecrets lists the accessors of a role's secret ids, in an order that stays the
// same.
func (engine) listSecrets(c *api.Call, q *ListSecrets) (*api.Keys, error) {
	r, err := named(c, q.RoleName)
	if err != nil {
		return nil, err
	}
	rg := store.Prefix(r.accessorKey(""))
	if q.After != "" {
		rg = rg.After(r.accessorKey(r.hash(api.NewSecret(q.After))))
	}
	const most = 1000
	keys := &api.Keys{}
	for {
		rg.Limit = most
		if q.Limit > 0 {
			rg.Limit = min(most, q.Limit-len(keys.Keys))
		}
		es, err := c.Store.List(c, rg)
		if err != nil {
			return nil, err
		}
		for _, e := range es {
			row, err := store.DecodeJSON[accessorRow](e)
			if err != nil {
				return nil, err
			}
			keys.Keys = append(keys.Keys, row.Accessor)
		}
		if len(es) < rg.Limit || len(keys.Keys) == q.Limit {
			return keys, nil
		}
		rg = rg.After(es[len(es)-1].Key)
	}
}

// BySecret names a secret id.
type BySecret struct {
	RoleName api.Name   `path:"role_name"` // The role.
	SecretID api.Secret `json:"secret_id"` // The secret id.
}

// ByAccessor names a secret id by its accessor.
type ByAccessor struct {
	RoleName         api.Name   `path:"role_name"`          // The role.
	SecretIDAccessor api.Secret `json:"secret_id_accessor"` // The secret id's accessor.
}

// Known is a secret id as it is looked up. Its text is not.
type Known struct {
	SecretIDAccessor api.Disclosed     `json:"secret_id_accessor"`
	CIDRList         []string          `json:"cidr_list"`
	CreationTime     api.Time          `json:"creation_time"`
	ExpirationTime   api.Time          `json:"expiration_time"`
	LastUpdatedTime  api.Time          `json:"last_updated_time"`
	Metadata         map[string]string `json:"metadata"`
	SecretIDNumUses  int               `json:"secret_id_num_uses"`
	SecretIDTTL      api.Duration      `json:"secret_id_ttl"`
	TokenBoundCIDRs  []string          `json:"token_bound_cidrs"`
}

// MarshalJSON writes a secret id that does not expire with the time that clients know
// for never.
func (k *Known) MarshalJSON() ([]byte, error) {
	type plain Known
	never := "0001-01-01T00:00:00Z"
	if !k.ExpirationTime.IsZero() {
		return json.Marshal((*plain)(k))
	}
	return json.Marshal(struct {
		*plain
		Never string `json:"expiration_time"`
	}{(*plain)(k), never})
}

func (s *secret) known() *Known {
	k := &Known{SecretIDAccessor: api.Disclosed(s.Accessor), CIDRList: api.Full(s.CIDRs), CreationTime: api.Time{Time: s.Created}, ExpirationTime: api.Time{Time: s.Expires},
		LastUpdatedTime: api.Time{Time: s.Updated}, Metadata: s.Metadata, SecretIDNumUses: s.Uses, SecretIDTTL: api.Duration(s.TTL), TokenBoundCIDRs: api.Full(s.TokenCIDRs)}
	if k.Metadata == nil {
		k.Metadata = map[string]string{}
	}
	return k
}

// lookup shows what is known of a secret id; nothing of one that there is not.
func (engine) lookup(c *api.Call, q *BySecret) (*Known, error) {
	r, err := q.role(c)
	if err != nil {
		return nil, err
	}
	s, err := loadSecret(c, c.Store, r.secretKey(r.hash(q.SecretID)))
	if err != nil || s == nil || !s.alive(c.Now) {
		return nil, err
	}
	return s.known(), nil
}

func (q *BySecret) role(c *api.Call) (*role, error) {
	if q.SecretID.Empty() {
		return nil, errNoSecretID()
	}
	return mustBe(c, q.RoleName)
}

// destroy removes a secret id.
func (engine) destroy(c *api.Call, q *BySecret) (*api.None, error) {
	r, err := q.role(c)
	if err != nil {
		return nil, err
	}
	return nil, r.destroy(c, r.hash(q.SecretID))
}

func errNoSecretID() error {
	return &api.Error{Kind: api.Invalid, Message: "missing secret_id", Hint: "send the secret id as secret_id"}
}

func errNoAccessor() error {
	return &api.Error{Kind: api.NotFound, Message: "the role has no secret id with this accessor"}
}

// find is a role and the hash of the secret id that an accessor of it stands for.
func (q *ByAccessor) find(c *api.Call) (*role, string, error) {
	if q.SecretIDAccessor.Empty() {
		return nil, "", &api.Error{Kind: api.Invalid, Message: "missing secret_id_accessor", Hint: "send the secret id's accessor as secret_id_accessor: a list of role/NAME/secret-id has those of the role"}
	}
	r, err := mustBe(c, q.RoleName)
	if err != nil {
		return nil, "", err
	}
	e, err := c.Store.Get(c, r.accessorKey(r.hash(q.SecretIDAccessor)))
	if err != nil {
		return nil, "", err
	}
	if !e.Exists() {
		return nil, "", errNoAccessor()
	}
	row, err := store.DecodeJSON[accessorRow](e)
	if err != nil {
		return nil, "", err
	}
	return r, row.Hash, nil
}

// lookupAccessor shows what is known of the secret id that an accessor of the role
// stands for.
func (engine) lookupAccessor(c *api.Call, q *ByAccessor) (*Known, error) {
	r, hash, err := q.find(c)
	if err != nil {
		return nil, err
	}
	s, err := loadSecret(c, c.Store, r.secretKey(hash))
	if err != nil {
		return nil, err
	}
	if s == nil || !s.alive(c.Now) {
		return nil, errNoAccessor()
	}
	return s.known(), nil
}

// destroyAccessor removes the secret id that an accessor of the role stands for.
func (engine) destroyAccessor(c *api.Call, q *ByAccessor) (*api.None, error) {
	r, hash, err := q.find(c)
	if err != nil {
		return nil, err
	}
	return nil, r.destroy(c, hash)
}

// tidy erases what expired secret ids and removed roles have left, which happens by
// itself as well.
func (engine) tidy(c *api.Call, _ *api.None) (*api.Raw, error) {
	if err := upkeep(c, c.Store, c.Now); err != nil {
		return nil, fmt.Errorf("tidying: %w", err)
	}
	return api.JSON(http.StatusAccepted, map[string]any{"request_id": c.RequestID, "lease_id": "", "renewable": false, "lease_duration": 0, "data": nil, "wrap_info": nil,
		"warnings": []string{"Tidy operation successfully started: it has been done."}, "auth": nil})
}
