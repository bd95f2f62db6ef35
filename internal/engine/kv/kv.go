// Package kv owns the secret model: what a secret is, how its versions are
// stored, and the key-value views of it that the Vault API calls KV version 1
// and version 2.
//
// A secret is one metadata row, found by its path, which describes all its
// versions; each version's payload is a row of its own, found by the version's
// UUID and written once. A plain read is two Gets, a write is one commit. The
// views differ in what they show: a mount that changes from version 1 to
// version 2 needs no migration. docs/decisions/0003-secret-model.md says how the
// other dialects' versions, labels and states map onto the same rows.
package kv

import (
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
)

// Versions of the engine's interface, as the mount option "version" names them.
const (
	optionVersion = "version"
	unversioned   = "1"
	versioned     = "2"
)

// Engine is the engine's row for the table of secret engines: type kv, with the
// endpoints of version 1 unless the mount option version is 2. It returns an
// error when a declaration is wrong.
func Engine() (api.Engine, error) {
	one, err := api.Bind(v1{}, routesV1())
	if err != nil {
		return api.Engine{}, fmt.Errorf("kv version 1: %w", err)
	}
	two, err := api.Bind(v2{}, routesV2())
	if err != nil {
		return api.Engine{}, fmt.Errorf("kv version 2: %w", err)
	}
	return api.Engine{
		Type:         "kv",
		Description:  "Secrets of your own, kept with their versions.",
		Endpoints:    one,
		CheckOptions: checkOptions,
		Variant: func(options map[string]string) []*api.Endpoint {
			if options[optionVersion] == versioned {
				return two
			}
			return one
		},
		Upkeep: Sweep,
	}, nil
}

// checkOptions refuses a version that does not exist. Options that the engine
// does not know are kept and mean nothing, as clients expect.
func checkOptions(options map[string]string) error {
	switch options[optionVersion] {
	case "", unversioned, versioned:
		return nil
	}
	return api.Errorf(api.Invalid, "version must be 1 or 2")
}
