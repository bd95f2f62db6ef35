// Package build owns what the program says of how it was built: its version and the commit.
package build

import (
	"runtime"
	"runtime/debug"
)

// Unreleased is the version of a build from a working tree that tells none.
const Unreleased = "0.0.0-unreleased"

// Version is the program's version and the commit that it was built from.
func Version() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Unreleased, runtime.Version()
	}
	return Of(info)
}

// Of reads the module's version, which a build from a checkout derives from its tags, and the
// commit; where no checkout is, Go's own version is all there is to tell builds apart.
func Of(info *debug.BuildInfo) (version, revision string) {
	version, revision = info.Main.Version, info.GoVersion
	if version == "" || version == "(devel)" {
		version = Unreleased
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value[:min(12, len(s.Value))]
		}
	}
	return version, revision
}
