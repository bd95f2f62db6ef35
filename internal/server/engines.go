package server

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/auth/approle"
	"github.com/strongroom/strongroom/internal/auth/aws"
	"github.com/strongroom/strongroom/internal/auth/cert"
	"github.com/strongroom/strongroom/internal/auth/gcp"
	"github.com/strongroom/strongroom/internal/auth/jwt"
	"github.com/strongroom/strongroom/internal/auth/kubernetes"
	"github.com/strongroom/strongroom/internal/auth/ldap"
	"github.com/strongroom/strongroom/internal/auth/radius"
	"github.com/strongroom/strongroom/internal/auth/userpass"
	"github.com/strongroom/strongroom/internal/engine/cubbyhole"
	"github.com/strongroom/strongroom/internal/engine/kv"
)

// mountable are the makers of everything that needs nothing of the server, which is
// nearly all that can be mounted: one a line, by their type. They are made anew at each
// unsealing.
func mountable() []func() (api.Engine, error) {
	return []func() (api.Engine, error){
		// Secret engines.
		cubbyhole.Engine,
		kv.Engine,

		// Auth methods.
		approle.Engine,
		ldap.Engine,
		radius.Engine,
		jwt.Engine,
		jwt.OIDC,
		userpass.Engine,
		cert.Engine,
		kubernetes.Engine,
		aws.Engine,
		gcp.Engine,
	}
}
