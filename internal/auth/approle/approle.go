// Package approle owns the auth method of machines: a role, known by its role id, lets
// in whoever has one of its secret ids, from the addresses that it names.
//
// A role is one row, with one more that finds it by its role id. A secret id is kept as a
// keyed hash, in one row, with one that finds it by its accessor and, where it expires, one that
// says when. The rows of secret ids lie under the role's own identity and not its name: a role
// that takes the name of a removed one has none of its secret ids.
package approle

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// engine has the handlers.
type engine struct{}

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, slices.Concat(roleRoutes(), fieldRoutes(), secretRoutes()))
	if err != nil {
		return api.Engine{}, fmt.Errorf("approle: %w", err)
	}
	return api.Engine{Type: "approle", Auth: true, Description: "Machines, by a role and its secret ids.", Endpoints: eps, Renew: renew, Upkeep: upkeep}, nil
}

func roleRoutes() []api.Route[engine] {
	return []api.Route[engine]{
		api.Handle(api.Write, "login", engine.login, api.Public),
		api.Handle(api.List, "role", engine.list),
		api.Handle(api.Read, "role/{role_name}", engine.read),
		api.Upsert("role/{role_name}", engine.write, engine.exists),
		api.Handle(api.Delete, "role/{role_name}", engine.remove),
		api.Handle(api.Read, "role/{role_name}/role-id", engine.readRoleID),
		api.Handle(api.Write, "role/{role_name}/role-id", engine.writeRoleID),
	}
}

// Areas of the mount's store.
const (
	rolePrefix = "role/" // by name
	idPrefix   = "id/"   // by a hash of the role id
)

// Bounds, in bytes and numbers.
const (
	maxName     = 256
	maxRoleID   = 256
	maxSecretID = 4 << 10
	maxMetadata = 8 << 10
)

// role is a role's row.
type role struct {
	Name         string         `json:"name"`
	ID           string         `json:"id"`  // of this role, not of another that later has the name
	Key          []byte         `json:"key"` // of the hashes of its secret ids
	RoleID       string         `json:"role_id"`
	BindSecretID bool           `json:"bind_secret_id"`
	BoundCIDRs   []string       `json:"secret_id_bound_cidrs,omitempty"` // of logins with a secret id
	NumUses      int            `json:"secret_id_num_uses,omitempty"`    // of a secret id; 0: any number
	TTL          time.Duration  `json:"secret_id_ttl,omitempty"`         // of a secret id; 0: it does not expire
	Local        bool           `json:"local_secret_ids,omitempty"`
	Terms        api.TokenTerms `json:"terms"`
	Old          authrole.Old   `json:"old,omitempty"`
	OldCIDRs     bool           `json:"old_cidrs,omitempty"` // BoundCIDRs were last set by their deprecated name
}

func loadRole(ctx context.Context, r store.Reader, name string) (*role, error) {
	return store.LoadJSON[role](ctx, r, rolePrefix+name)
}

// decodeRole is nil for a role that is not there.
func decodeRole(e store.Entry, err error) (*role, error) {
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[role](e)
}

// named is a role that is to be shown.
func named(c *api.Call, name api.Name) (*role, error) {
	r, err := loadRole(c, c.Store, string(name))
	if err == nil && r == nil {
		err = api.ErrNotFound()
	}
	return r, err
}

// mustBe is a role that something is to be done with.
func mustBe(c *api.Call, name api.Name) (*role, error) {
	r, err := loadRole(c, c.Store, string(name))
	if err == nil && r == nil {
		err = errNoRole()
	}
	return r, err
}

// check refuses a role that would let everybody in, and what no role can have.
func (r *role) check() error {
	switch {
	case r.NumUses < 0 || r.TTL < 0:
		return api.Errorf(api.Invalid, "secret_id_num_uses and secret_id_ttl cannot be negative")
	case !r.BindSecretID && len(r.BoundCIDRs) == 0 && len(r.Terms.BoundCIDRs) == 0:
		return &api.Error{Kind: api.Invalid, Message: "at least one constraint should be enabled on the role", Hint: "set bind_secret_id, secret_id_bound_cidrs or token_bound_cidrs"}
	}
	return checkCIDRs("secret_id_bound_cidrs", r.BoundCIDRs)
}

func checkCIDRs(field string, list []string) error {
	if len(list) > api.MaxListed {
		return api.Errorf(api.Invalid, "%s: more than %d", field, api.MaxListed)
	}
	for _, text := range list {
		if !api.IsCIDR(text) {
			return api.Errorf(api.Invalid, "%s: not an address or a range of addresses", field)
		}
	}
	return nil
}

// idKey is the row that finds a role by its role id. A role id is no secret: the hash
// gives it a length and a spelling that a key can have.
func idKey(roleID string) string {
	return idPrefix + api.Digest([]byte("strongroom approle role id"), api.NewSecret(roleID))
}

// claim gives a role a role id, which no other role of the mount has.
func (r *role) claim(tx *store.Tx, id string) error {
	if id == r.RoleID {
		return nil
	}
	if id == "" || len(id) > maxRoleID {
		return api.Errorf(api.Invalid, "role_id: must have from 1 to %d bytes", maxRoleID)
	}
	at := idKey(id)
	e, err := tx.Get(at)
	switch {
	case err != nil:
		return err
	case e.Exists():
		return api.Errorf(api.Invalid, "role_id: is the id of another role")
	}
	if r.RoleID != "" {
		tx.Delete(idKey(r.RoleID))
	}
	tx.Put(at, []byte(r.Name))
	r.RoleID = id
	return nil
}

// change rewrites a role's row, or with create makes one.
func change(c *api.Call, name api.Name, create bool, do func(tx *store.Tx, r *role) error) error {
	if len(name) == 0 || len(name) > maxName {
		return api.Errorf(api.Invalid, "role_name: must have from 1 to %d bytes", maxName)
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(rolePrefix + string(name))
		r, err := decodeRole(e, err)
		switch {
		case err != nil:
			return err
		case r == nil && !create:
			return errNoRole()
		case r == nil:
			r = &role{Name: string(name), ID: api.NewUUID(), Key: newKey(), BindSecretID: true}
		}
		if err := do(tx, r); err != nil {
			return err
		}
		if r.RoleID == "" {
			if err := r.claim(tx, api.NewUUID()); err != nil {
				return err
			}
		}
		if err := r.check(); err != nil {
			return err
		}
		return tx.PutJSON(rolePrefix+r.Name, r)
	})
	return err
}

// errNoRole is told to who would do something with a role that there is not.
func errNoRole() error {
	return &api.Error{Kind: api.NotFound, Message: "the role does not exist", Hint: "a write to role/NAME makes it; a list of role has those that there are"}
}

// RoleName names a role.
type RoleName struct {
	RoleName api.Name `path:"role_name"` // The role.
}

// ListRequest asks for roles.
type ListRequest struct {
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// list names the roles.
func (engine) list(c *api.Call, q *ListRequest) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, rolePrefix, q.After, max(0, q.Limit))
	return &api.Keys{Keys: names}, err
}

// RoleAnswer is a role as it is read.
type RoleAnswer struct {
	BindSecretID       bool         `json:"bind_secret_id"`
	LocalSecretIDs     bool         `json:"local_secret_ids"`
	SecretIDBoundCIDRs []string     `json:"secret_id_bound_cidrs"`
	SecretIDNumUses    int          `json:"secret_id_num_uses"`
	SecretIDTTL        api.Duration `json:"secret_id_ttl"`
	api.TokenAnswer
	authrole.OldAnswer
	BoundCIDRList []string `json:"bound_cidr_list,omitempty"`
}

// read shows a role.
func (engine) read(c *api.Call, q *RoleName) (*RoleAnswer, error) {
	r, err := named(c, q.RoleName)
	if err != nil {
		return nil, err
	}
	a := &RoleAnswer{BindSecretID: r.BindSecretID, LocalSecretIDs: r.Local, SecretIDBoundCIDRs: r.BoundCIDRs, SecretIDNumUses: r.NumUses,
		SecretIDTTL: api.Duration(r.TTL), TokenAnswer: r.Terms.Answer(), OldAnswer: r.Old.Answer(r.Terms.Answer())}
	if r.OldCIDRs {
		a.BoundCIDRList = r.BoundCIDRs
	}
	return a, nil
}

// Write creates or changes a role; what is absent stays as it was.
type Write struct {
	RoleName           api.Name      `path:"role_name"`                                                    // The role.
	BindSecretID       *bool         `json:"bind_secret_id"`                                               // A login needs a secret id; true for a new role.
	BoundCIDRList      *[]string     `json:"bound_cidr_list" api:"deprecated,alias=secret_id_bound_cidrs"` // Old name of secret_id_bound_cidrs.
	LocalSecretIDs     *bool         `json:"local_secret_ids"`                                             // Secret ids are of this cluster alone; for a new role.
	Period             *api.Duration `json:"period" api:"deprecated,alias=token_period"`                   // Old name of token_period.
	Policies           *[]string     `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	RoleID             *string       `json:"role_id"`                                                      // The role id; made up for a new role that names none.
	SecretIDBoundCIDRs *[]string     `json:"secret_id_bound_cidrs"`                                        // Addresses that logins may come from.
	SecretIDNumUses    *int          `json:"secret_id_num_uses"`                                           // How many logins a secret id is good for; 0: any number.
	SecretIDTTL        *api.Duration `json:"secret_id_ttl"`                                                // How long a secret id is good; 0: it does not expire.
	api.TokenFields
	Aliases []string `json:"-" api:"aliases"`
}

// exists tells a create from an update.
func (engine) exists(c *api.Call, q *Write) (bool, error) {
	r, err := loadRole(c, c.Store, string(q.RoleName))
	return r != nil, err
}

// write creates or changes a role.
func (engine) write(c *api.Call, q *Write) (*api.None, error) {
	return nil, change(c, q.RoleName, true, func(tx *store.Tx, r *role) error {
		if err := q.apply(r); err != nil {
			return err
		}
		if q.RoleID != nil {
			return r.claim(tx, *q.RoleID)
		}
		return nil
	})
}

func (q *Write) apply(r *role) error {
	if q.LocalSecretIDs != nil && *q.LocalSecretIDs != r.Local {
		if r.RoleID != "" {
			return api.Errorf(api.Invalid, "local_secret_ids can only be modified during role creation")
		}
		r.Local = *q.LocalSecretIDs
	}
	api.Set(&r.BindSecretID, q.BindSecretID)
	api.Set(&r.BoundCIDRs, q.SecretIDBoundCIDRs)
	api.Set(&r.NumUses, q.SecretIDNumUses)
	api.Set((*api.Duration)(&r.TTL), q.SecretIDTTL)
	if q.SecretIDBoundCIDRs != nil {
		r.OldCIDRs = slices.Contains(q.Aliases, "bound_cidr_list")
	}
	r.Old.Note(&q.TokenFields, q.Aliases)
	return q.TokenFields.Apply(&r.Terms)
}

// remove removes a role. From then on none of its secret ids lets anybody in; their
// rows are erased afterwards.
func (engine) remove(c *api.Call, q *RoleName) (*api.None, error) {
	r, err := loadRole(c, c.Store, string(q.RoleName))
	if err != nil || r == nil {
		return nil, err
	}
	if err := c.Later(c.Now); err != nil {
		return nil, err
	}
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(rolePrefix + string(q.RoleName))
		r, err = decodeRole(e, err)
		if err != nil || r == nil {
			return err
		}
		tx.Delete(idKey(r.RoleID))
		tx.Delete(rolePrefix + r.Name)
		tx.Put(gonePrefix+r.ID, []byte{})
		return nil
	})
	if err != nil || r == nil {
		return nil, err
	}
	return nil, eraseRole(c, c.Store, r.ID)
}

// RoleID is a role's id.
type RoleID struct {
	RoleID string `json:"role_id"`
}

// readRoleID shows a role's id.
func (engine) readRoleID(c *api.Call, q *RoleName) (*RoleID, error) {
	r, err := named(c, q.RoleName)
	if err != nil {
		return nil, err
	}
	return &RoleID{r.RoleID}, nil
}

// WriteRoleID gives a role another id.
type WriteRoleID struct {
	RoleName api.Name `path:"role_name"` // The role.
	RoleID   string   `json:"role_id"`   // The new id.
}

// writeRoleID gives a role another id. Logins by the old one end.
func (engine) writeRoleID(c *api.Call, q *WriteRoleID) (*api.None, error) {
	if q.RoleID == "" {
		return nil, &api.Error{Kind: api.Invalid, Message: "missing role_id", Hint: "send the new id as role_id"}
	}
	return nil, change(c, q.RoleName, false, func(tx *store.Tx, r *role) error { return r.claim(tx, q.RoleID) })
}
