package gate

import (
	"testing"
	"time"
)

// TestToldLoginsAreBounded: who fails to log in without end fills no log, and what was left out is counted.
func TestToldLoginsAreBounded(t *testing.T) {
	var f Refusals
	now, logged := time.Unix(1_800_000_000, 0), 0
	for range 10 * toldLogins {
		if ok, _ := f.tells(now); ok {
			logged++
		}
	}
	if logged != toldLogins {
		t.Errorf("%d of a minute are logged, want %d", logged, toldLogins)
	}
	if ok, left := f.tells(now.Add(time.Minute)); !ok || left != 9*toldLogins {
		t.Errorf("a minute later: %v, %d left out", ok, left)
	}
	if ok, left := f.tells(now); !ok || left != 0 {
		t.Errorf("a clock that was set back: %v, %d left out", ok, left)
	}
}
