package mount

import (
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// What user_lockout_config says is judged, and is what the mount then has.
func TestLockoutOfAMount(t *testing.T) {
	f := fixtureFor(t)
	if err := f.on(t, "auth/people/", "userpass"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`{"lockout_threshold":"0"}`, `{"lockout_threshold":"-1"}`, `{"lockout_threshold":"many"}`, `{"lockout_threshold":"1001"}`,
		`{"lockout_duration":"-1m"}`, `{"lockout_duration":"soon"}`, `{"lockout_counter_reset_duration":"9999999h"}`, `{"lockout_disable":"perhaps"}`, `{"threshold":"3"}`} {
		if _, _, err := f.call(t, api.Write, "auth/people/tune", `{"user_lockout_config":`+bad+`}`); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, _, err := f.call(t, api.Write, "auth/people/tune", `{"user_lockout_config":{"lockout_threshold":"3","lockout_duration":"10m","lockout_counter_reset_duration":"1m"}}`); err != nil {
		t.Fatal(err)
	}
	got := f.table(t, "root").Get("auth/people/").Config.UserLockout
	if got.Threshold != 3 || got.Duration.Std() != 10*time.Minute || got.Reset.Std() != time.Minute {
		t.Errorf("%+v", got)
	}
}
