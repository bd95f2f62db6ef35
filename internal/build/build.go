// Package build owns what the program says of how it was built: its version, the commit and when that was made.
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
	if commit := setting(info, "vcs.revision"); commit != "" {
		revision = commit[:min(12, len(commit))]
	}
	return version, revision
}

// Committed is when the commit was made that the program was built from (RFC 3339); empty where the build was not told,
// as outside of a checkout.
func Committed() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return setting(info, "vcs.time")
}

// setting is what a build was told by a name; empty: nothing.
func setting(info *debug.BuildInfo, name string) string {
	for _, s := range info.Settings {
		if s.Key == name {
			return s.Value
		}
	}
	return ""
}
