package server

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/snapshot"
)

// TestRestoredIsTold tells people of key slots by what they have, and programs in the format
// that they ask for.
func TestRestoredIsTold(t *testing.T) {
	done := &snapshot.Overview{Cluster: "c1", Rows: 7, KeySlots: []snapshot.Slot{
		{Kind: "shamir", Shares: 5, Threshold: 3}, {Kind: "shamir", Name: "board", Shares: 1, Threshold: 1}, {Kind: "other"}, {Kind: "other", Name: "vault"},
	}}
	told := func(format string) (string, error) {
		var out bytes.Buffer
		cmd := &cobra.Command{}
		cmd.Flags().String("format", format, "")
		cmd.SetOut(&out)
		err := (&Config{}).tellRestored(cmd, done)
		return out.String(), err
	}
	text, err := told("")
	if err != nil || strings.Contains(text, "()") {
		t.Errorf("%s %v", text, err)
	}
	for _, want := range []string{"  3 of 5 unseal keys\n", "  1 of 1 unseal keys (board)\n", "  a key slot of kind other\n", "  a key slot of kind other (vault)\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	for format, want := range map[string]string{"json": `"cluster_id": "c1"`, "yaml": "cluster_id: c1"} {
		if text, err := told(format); err != nil || !strings.Contains(text, want) || strings.Contains(text, "Success") {
			t.Errorf("%s: %s %v", format, text, err)
		}
	}
	if _, err := told("xml"); err == nil {
		t.Error("a format that there is not was taken")
	}
}
