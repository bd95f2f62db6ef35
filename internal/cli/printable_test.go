package cli

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2J\x1b]0;x\x07b\nc\u200b\u202e"); got != "a\ufffd[2J\ufffd]0;x\ufffdb\nc\ufffd\ufffd" {
		t.Errorf("%q", got)
	}
}

// TestHostileServerReachesNoTerminal has a server send escapes wherever its words
// are shown.
func TestHostileServerReachesNoTerminal(t *testing.T) {
	const evil = `\u001b]0;owned\u0007`
	f := newFake(t, map[string]answer{
		"PUT a": {400, `{"errors":["` + evil + `"],"request_id":"` + evil + `","data":{},"warnings":["` + evil + `"]}`},
		"PUT b": {200, `{"request_id":"r","data":{"a":"b"},"warnings":["` + evil + `"]}`},
	})
	for line, shown := range map[string]int{"write a x=y": 3, "write b x=y": 1} {
		r := run(t, f, t.TempDir(), line)
		if strings.ContainsAny(r.stdout+r.stderr, "\x1b\x07") || strings.Count(r.stderr, "owned") != shown {
			t.Errorf("%s: %q %q", line, r.stdout, r.stderr)
		}
	}
}
