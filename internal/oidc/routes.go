package oidc

import (
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under identity/oidc/.
func Routes() []api.Route[*Store] {
	return slices.Concat(tokenRoutes())
}

// tokenRoutes are those of identity tokens.
func tokenRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Read, "oidc/config", (*Store).readConfig),
		api.Handle(api.Write, "oidc/config", (*Store).writeConfig),
		api.Handle(api.List, "oidc/key", (*Store).listKeys),
		api.Handle(api.Read, "oidc/key/{name}", (*Store).readKey),
		api.Upsert("oidc/key/{name}", (*Store).writeKey, (*Store).hasKey),
		api.Handle(api.Delete, "oidc/key/{name}", (*Store).removeKey),
		api.Handle(api.Write, "oidc/key/{name}/rotate", (*Store).rotateKey),
		api.Handle(api.List, "oidc/role", (*Store).listRoles),
		api.Handle(api.Read, "oidc/role/{name}", (*Store).readRole),
		api.Upsert("oidc/role/{name}", (*Store).writeRole, (*Store).hasRole),
		api.Handle(api.Delete, "oidc/role/{name}", (*Store).removeRole),
		api.Handle(api.Read, "oidc/token/{name}", (*Store).token),
		api.Handle(api.Write, "oidc/introspect", (*Store).introspect),
		api.Handle(api.Read, "oidc/.well-known/keys", (*Store).keys, api.Public),
		api.Handle(api.Read, "oidc/.well-known/openid-configuration", (*Store).configuration, api.Public),
	}
}
