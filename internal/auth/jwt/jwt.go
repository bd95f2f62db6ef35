// Package jwt owns the auth methods jwt and oidc: logins with a signed token
// (RFC 7519) that an issuer has given to a machine, and logins of people through
// an OpenID provider, by a browser or by the device flow (RFC 8628). Both are one
// method under two names.
//
// What is kept lies in rows of the mount: the configuration, roles, the issuer's
// keys with the time they were fetched, and logins that are under way, in a fixed
// number of places. Nothing is kept between calls otherwise.
package jwt

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/strongroom/strongroom/internal/api"
)

// Bounds of what callers, roles and issuers say.
const (
	maxGroups   = 1000    // that a login is in
	maxName     = 512     // of a user or a group, in bytes
	maxMetadata = 1 << 10 // of one value that becomes metadata, in bytes
	maxList     = 200     // entries of a list or map of a role or the configuration
)

// engine is the method. It keeps nothing.
type engine struct{}

// Engine is the row for the table of auth methods of the method under the name jwt. It returns an error when a
// declaration is wrong.
func Engine() (api.Engine, error) { return build("jwt", "Logins with signed tokens (JWT).") }

// OIDC is the same method under the name oidc.
func OIDC() (api.Engine, error) { return build("oidc", "Logins through an OpenID provider.") }

func build(kind, description string) (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config", engine.readConfig),
		api.Handle(api.Write, "config", engine.writeConfig),
		api.Handle(api.Read, "role/{name}", engine.readRole),
		api.Upsert("role/{name}", engine.writeRole, engine.hasRole),
		api.Handle(api.Delete, "role/{name}", engine.deleteRole),
		api.Handle(api.List, "role", engine.listRoles),
		api.Handle(api.Read, "cel/role/{name}", engine.readCELRole),
		api.Handle(api.Write, "cel/role/{name}", engine.writeCELRole),
		api.Handle(api.Patch, "cel/role/{name}", engine.patchCELRole),
		api.Handle(api.Delete, "cel/role/{name}", engine.deleteCELRole),
		api.Handle(api.List, "cel/role", engine.listCELRoles),
		api.Handle(api.Write, "cel/login", engine.celLogin, api.Public),
		api.Handle(api.Write, "login", engine.login, api.Public),
		api.Handle(api.Write, "oidc/auth_url", engine.authURL, api.Public, api.Asks),
		api.Handle(api.Read, "oidc/callback", engine.callback, api.Public, api.Asks),
		api.Handle(api.Write, "oidc/callback", engine.formPost, api.Public, api.Asks),
		api.Handle(api.Write, "oidc/poll", engine.poll, api.Public, api.Asks),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("%s: %w", kind, err)
	}
	return api.Engine{Type: kind, Auth: true, Description: description, Endpoints: eps, Renew: engine{}.renew}, nil
}

// plain reports whether a name that an issuer gives can stand for somebody: two
// that look alike, but for what is not seen, would be two.
func plain(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}
