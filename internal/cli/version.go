package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// dialectVersion is the version of the Vault API that tools which gate features
// by version should assume, and that the program tells when called "vault".
const dialectVersion = "1.17.0"

func versionCommand() command {
	return command{
		use: "version", short: "Show the program's version", example: "version",
		run: func(c *call) error { return c.println(versionText(c.name)) },
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

func buildVersion() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unreleased, runtime.Version()
	}
	return versionOf(info)
}

// unreleased is the version of a build from a working tree that tells none.
const unreleased = "0.0.0-unreleased"

// versionOf reads the module's version, which a build from a checkout derives from
// its tags, and the commit; where no checkout is, Go's own version is all there is
// to tell builds apart.
func versionOf(info *debug.BuildInfo) (version, revision string) {
	version, revision = info.Main.Version, info.GoVersion
	if version == "" || version == "(devel)" {
		version = unreleased
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value[:min(12, len(s.Value))]
		}
	}
	return version, revision
}
