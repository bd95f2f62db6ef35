package cli

import "testing"

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2J\x1b]0;x\x07b\nc\u200b\u202e"); got != "a\ufffd[2J\ufffd]0;x\ufffdb\nc\ufffd\ufffd" {
		t.Errorf("%q", got)
	}
}
