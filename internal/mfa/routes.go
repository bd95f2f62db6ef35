package mfa

import (
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under identity/.
func Routes() []api.Route[*Store] {
	routes := []api.Route[*Store]{
		api.Handle(api.List, "mfa/method", (*Store).listMethods),
		api.Handle(api.Read, "mfa/method/{method_id}", (*Store).readMethod),
		api.Handle(api.List, "mfa/method/totp", (*Store).listTOTP),
		api.Handle(api.Write, "mfa/method/totp", (*Store).writeTOTP),
		api.Handle(api.Read, "mfa/method/totp/{method_id}", (*Store).readTOTP),
		api.Handle(api.Write, "mfa/method/totp/{method_id}", (*Store).writeTOTPByID),
		api.Handle(api.Delete, "mfa/method/totp/{method_id}", (*Store).removeTOTP),
		api.Handle(api.List, "mfa/method/totp/{method_id}/entity", (*Store).listEnrolledTOTP),
		api.Handle(api.Write, "mfa/method/totp/generate", (*Store).generate),
		api.Handle(api.Write, "mfa/method/totp/admin-generate", (*Store).adminGenerate),
		api.Handle(api.Write, "mfa/method/totp/admin-destroy", (*Store).adminDestroy),
		api.Handle(api.Write, "mfa/method/totp/register", (*Store).registerTOTP),
		api.Handle(api.Write, "mfa/method/totp/finish", (*Store).finishTOTP),
		api.Handle(api.Write, "mfa/method/totp/admin-register", (*Store).adminRegisterTOTP),
		api.Handle(api.List, "mfa/login-enforcement", (*Store).listEnforcements),
		api.Handle(api.Read, "mfa/login-enforcement/{name}", (*Store).readEnforcement),
		api.Upsert("mfa/login-enforcement/{name}", (*Store).writeEnforcement, (*Store).hasEnforcement),
		api.Handle(api.Delete, "mfa/login-enforcement/{name}", (*Store).removeEnforcement),
	}
	return slices.Concat(routes, webauthnRoutes(), vendorRoutes())
}

// webauthnRoutes are those of passkeys.
func webauthnRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.List, "mfa/method/webauthn", (*Store).listWebAuthn),
		api.Handle(api.Write, "mfa/method/webauthn", (*Store).writeWebAuthn),
		api.Handle(api.Read, "mfa/method/webauthn/{method_id}", (*Store).readWebAuthn),
		api.Handle(api.Write, "mfa/method/webauthn/{method_id}", (*Store).writeWebAuthnByID),
		api.Handle(api.Delete, "mfa/method/webauthn/{method_id}", (*Store).removeWebAuthn),
		api.Handle(api.Write, "mfa/method/webauthn/register", (*Store).register),
		api.Handle(api.Write, "mfa/method/webauthn/finish", (*Store).finish),
		api.Handle(api.List, "mfa/method/webauthn/{method_id}/passkey", (*Store).listPasskeys),
		api.Handle(api.Delete, "mfa/method/webauthn/{method_id}/passkey/{passkey_id}", (*Store).removePasskey),
		api.Handle(api.Write, "mfa/method/webauthn/admin-register", (*Store).adminRegister),
		api.Handle(api.Write, "mfa/method/webauthn/admin-destroy", (*Store).adminDestroyPasskeys),
		api.Handle(api.List, "mfa/method/webauthn/{method_id}/entity", (*Store).listEnrolledWebAuthn),
		api.Handle(api.List, "mfa/method/webauthn/{method_id}/entity/{entity_id}", (*Store).adminListPasskeys),
	}
}

// SystemRoutes are the endpoints under sys/.
func SystemRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Write, "mfa/validate", (*Store).validate, api.Public),
		api.Handle(api.Write, "mfa/totp/register", (*Store).registerTOTPByRight, api.Public),
		api.Handle(api.Write, "mfa/totp/finish", (*Store).finishTOTPByRight, api.Public),
		api.Handle(api.Read, "mfa/passkey", (*Store).page, api.Public),
		api.Handle(api.Write, "mfa/passkey/challenge", (*Store).challenge, api.Public),
		api.Handle(api.Write, "mfa/passkey/register", (*Store).registerByRight, api.Public),
		api.Handle(api.Write, "mfa/passkey/finish", (*Store).finishByRight, api.Public),
	}
}
