package main

import "github.com/strongroom/strongroom/internal/reference"

// pages are the pages of the reference, with a mount as example for each: one a
// line.
func pages() []reference.Page {
	return []reference.Page{
		// Always there.
		{Name: "sys", Title: "System", Mount: reference.Mount{Path: "sys/", Type: "system", Builtin: true}},
		{Name: "auth-token", Title: "Tokens", Mount: reference.Mount{Path: "auth/token/", Type: "token", Builtin: true}},
		{Name: "identity", Title: "Identity", Mount: reference.Mount{Path: "identity/", Type: "identity", Builtin: true}},
		{Name: "secret-cubbyhole", Title: "Cubbyhole", Mount: reference.Mount{Path: "cubbyhole/", Type: "cubbyhole", Builtin: true}},

		// Secret engines.
		{Name: "secret-kv-v1", Title: "KV version 1", Mount: reference.Mount{Path: "kv/", Type: "kv", Options: map[string]string{"version": "1"}}},
		{Name: "secret-kv-v2", Title: "KV version 2", Mount: reference.Mount{Path: "secret/", Type: "kv", Options: map[string]string{"version": "2"}}},

		// Auth methods.
		{Name: "auth-approle", Title: "AppRole", Mount: reference.Mount{Path: "auth/approle/", Type: "approle"}},
		{Name: "auth-userpass", Title: "Userpass", Mount: reference.Mount{Path: "auth/userpass/", Type: "userpass"}},
		{Name: "auth-radius", Title: "RADIUS", Mount: reference.Mount{Path: "auth/radius/", Type: "radius"}},
		{Name: "auth-ldap", Title: "LDAP", Mount: reference.Mount{Path: "auth/ldap/", Type: "ldap"}},
		{Name: "auth-jwt", Title: "JWT", Mount: reference.Mount{Path: "auth/jwt/", Type: "jwt"}},
		{Name: "auth-oidc", Title: "OIDC", Mount: reference.Mount{Path: "auth/oidc/", Type: "oidc"}},
		{Name: "auth-cert", Title: "Client certificates", Mount: reference.Mount{Path: "auth/cert/", Type: "cert"}},
		{Name: "auth-kubernetes", Title: "Kubernetes", Mount: reference.Mount{Path: "auth/kubernetes/", Type: "kubernetes"}},
		{Name: "auth-aws", Title: "AWS", Mount: reference.Mount{Path: "auth/aws/", Type: "aws"}},
		{Name: "auth-gcp", Title: "Google Cloud", Mount: reference.Mount{Path: "auth/gcp/", Type: "gcp"}},
	}
}
