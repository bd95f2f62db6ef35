package oidc

import (
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under identity/oidc/.
func Routes() []api.Route[*Store] {
	return slices.Concat(tokenRoutes(), providerRoutes())
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

// providerRoutes are those of the provider.
func providerRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.List, "oidc/scope", (*Store).listScopes),
		api.Handle(api.Read, "oidc/scope/{name}", (*Store).readScope),
		api.Upsert("oidc/scope/{name}", (*Store).writeScope, (*Store).hasScope),
		api.Handle(api.Delete, "oidc/scope/{name}", (*Store).removeScope),
		api.Handle(api.List, "oidc/assignment", (*Store).listAssignments),
		api.Handle(api.Read, "oidc/assignment/{name}", (*Store).readAssignment),
		api.Upsert("oidc/assignment/{name}", (*Store).writeAssignment, (*Store).hasAssignment),
		api.Handle(api.Delete, "oidc/assignment/{name}", (*Store).removeAssignment),
		api.Handle(api.List, "oidc/client", (*Store).listClients),
		api.Handle(api.Read, "oidc/client/{name}", (*Store).readClient),
		api.Upsert("oidc/client/{name}", (*Store).writeClient, (*Store).hasClient),
		api.Handle(api.Delete, "oidc/client/{name}", (*Store).removeClient),
		api.Handle(api.List, "oidc/provider", (*Store).listProviders),
		api.Handle(api.Read, "oidc/provider/{name}", (*Store).readProvider),
		api.Upsert("oidc/provider/{name}", (*Store).writeProvider, (*Store).hasProvider),
		api.Handle(api.Delete, "oidc/provider/{name}", (*Store).removeProvider),
		api.Handle(api.Read, "oidc/provider/{name}/.well-known/keys", (*Store).providerKeys, api.Public),
		api.Handle(api.Read, "oidc/provider/{name}/.well-known/openid-configuration", (*Store).describe, api.Public),
		api.Handle(api.Read, "oidc/provider/{name}/authorize", (*Store).authorize),
		api.Handle(api.Write, "oidc/provider/{name}/authorize", (*Store).authorize),
		api.Handle(api.Read, "oidc/provider/{name}/sign-in", (*Store).signIn, api.Public),
		api.Handle(api.Write, "oidc/provider/{name}/sign-in", (*Store).judgeSignIn, api.Public),
		api.Handle(api.Write, "oidc/provider/{name}/token", (*Store).exchange, api.Public),
		api.Handle(api.Read, "oidc/provider/{name}/userinfo", (*Store).userinfo, api.Public, api.Bearer),
		api.Handle(api.Write, "oidc/provider/{name}/userinfo", (*Store).userinfo, api.Public, api.Bearer),
	}
}
