// Package ldap is the auth method that asks a directory over LDAP (RFC 4511): who
// knows the password of an account there is let in, with policies by name and by the
// groups that the directory puts them in. It owns its settings and the rows of users
// and groups. The directory is asked for who somebody is: the name of an alias is what
// stands there, never what was typed.
package ldap

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// engine has the handlers.
type engine struct{}

// Engine is the method's row for the table of auth methods. It returns an error
// when a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config", engine.readConfig),
		api.Handle(api.Write, "config", engine.writeConfig),
		api.Handle(api.Write, "login/{username...}", engine.login, api.Public, api.Asks),
		api.Handle(api.List, "users", engine.listUsers),
		api.Handle(api.Read, "users/{name...}", engine.readUser),
		api.Upsert("users/{name...}", engine.writeUser, engine.hasUser),
		api.Handle(api.Delete, "users/{name...}", engine.deleteUser),
		api.Handle(api.List, "groups", engine.listGroups),
		api.Handle(api.Read, "groups/{name...}", engine.readGroup),
		api.Upsert("groups/{name...}", engine.writeGroup, engine.hasGroup),
		api.Handle(api.Delete, "groups/{name...}", engine.deleteGroup),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("ldap: %w", err)
	}
	return api.Engine{Type: "ldap", Auth: true, Description: "Names and passwords of a directory.", Endpoints: eps, Renew: renew, Spelling: spelling}, nil
}

// Keys of rows.
const (
	keyConfig   = "config"
	prefixUser  = "user/"
	prefixGroup = "group/"
)

// formatRow is the first byte of every row, before the JSON object.
const formatRow = 1

// getter reads one entry: of the store, or of a transaction.
type getter func(key string) (store.Entry, error)

// stored reads what is in a call's store.
func stored(c *api.Call) getter {
	return func(key string) (store.Entry, error) { return c.Store.Get(c, key) }
}

// load reads a row into v and reports whether there is one.
func load(get getter, key string, v any) (bool, error) {
	e, err := get(key)
	if err != nil || !e.Exists() {
		return false, err
	}
	return true, decode(e.Value, v)
}

func decode(b []byte, v any) error {
	if len(b) == 0 || b[0] != formatRow {
		return fmt.Errorf("ldap: a row is of a form that this program does not know: %w", store.ErrCorrupt)
	}
	if err := json.Unmarshal(b[1:], v); err != nil {
		return fmt.Errorf("ldap: a row cannot be read: %w", store.ErrCorrupt)
	}
	return nil
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("ldap: encode a row: %w", err)
	}
	return append([]byte{formatRow}, b...), nil
}

func save(ctx context.Context, s store.Store, key string, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, s, func(tx *store.Tx) error {
		tx.Put(key, b)
		return nil
	})
	return err
}

func remove(ctx context.Context, s store.Store, key string) error {
	_, err := store.Update(ctx, s, func(tx *store.Tx) error {
		tx.Delete(key)
		return nil
	})
	return err
}
