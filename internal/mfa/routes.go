package mfa

import "github.com/strongroom/strongroom/internal/api"

// Routes are the endpoints under identity/.
func Routes() []api.Route[*Store] {
	routes := []api.Route[*Store]{
		api.Handle(api.List, "mfa/method", (*Store).listMethods),
		api.Handle(api.Read, "mfa/method/{method_id}", (*Store).readMethod),
		api.Handle(api.List, "mfa/method/totp", (*Store).listMethods),
		api.Handle(api.Write, "mfa/method/totp", (*Store).writeTOTP),
		api.Handle(api.Read, "mfa/method/totp/{method_id}", (*Store).readMethod),
		api.Handle(api.Write, "mfa/method/totp/{method_id}", (*Store).writeTOTPByID),
		api.Handle(api.Delete, "mfa/method/totp/{method_id}", (*Store).removeMethod),
		api.Handle(api.Write, "mfa/method/totp/generate", (*Store).generate),
		api.Handle(api.Write, "mfa/method/totp/admin-generate", (*Store).adminGenerate),
		api.Handle(api.Write, "mfa/method/totp/admin-destroy", (*Store).adminDestroy),
		api.Handle(api.List, "mfa/login-enforcement", (*Store).listEnforcements),
		api.Handle(api.Read, "mfa/login-enforcement/{name}", (*Store).readEnforcement),
		api.Upsert("mfa/login-enforcement/{name}", (*Store).writeEnforcement, (*Store).hasEnforcement),
		api.Handle(api.Delete, "mfa/login-enforcement/{name}", (*Store).removeEnforcement),
	}
	return append(routes, vendorRoutes()...)
}

// SystemRoutes are the endpoints under sys/.
func SystemRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{api.Handle(api.Write, "mfa/validate", (*Store).validate, api.Public)}
}
