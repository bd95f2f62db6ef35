package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/strongroom/strongroom/internal/build"
)

// dialectVersion is the version of the Vault API that tools which gate features
// by version should assume, and that the program tells when called "vault".
const dialectVersion = "1.17.0"

func versionCommand() command {
	return command{
		use: "version", short: "Show the program's version", example: "version\nversion -format=json",
		run: func(c *call) error {
			version, revision := buildVersion()
			v := map[string]any{"version": version, "revision": revision, "api_version": dialectVersion}
			return c.show(v, v, func() error { return c.println(versionText(c.name)) })
		},
	}
}

// versionText has the form that tools parse. Under the names vault and bao it
// tells the dialect's version, so that the program can stand in for these.
func versionText(program string) string {
	version, revision := buildVersion()
	switch program {
	case "vault":
		return fmt.Sprintf("Vault v%s (Strongroom %s, %s)", dialectVersion, version, revision)
	case "bao":
		return fmt.Sprintf("OpenBao v2.0.0 (Strongroom %s, %s)", version, revision)
	}
	return fmt.Sprintf("Strongroom %s (%s)", version, revision)
}

func buildVersion() (version, revision string) { return build.Version() }

// unreleased is the version of a build from a working tree that tells none.
const unreleased = build.Unreleased

func versionOf(info *debug.BuildInfo) (version, revision string) { return build.Of(info) }
