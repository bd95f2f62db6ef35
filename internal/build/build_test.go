package build

import (
	"runtime/debug"
	"testing"
)

func TestSetting(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}}}
	if got := setting(info, "vcs.time"); got != "2026-01-02T03:04:05Z" {
		t.Errorf("the commit is of %q", got)
	}
	if got := setting(info, "vcs.revision"); got != "" {
		t.Errorf("what the build was not told is %q", got)
	}
}
