package mount

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Lockout is when an auth method locks an account for wrong credentials; what is
// zero is as the server says.
type Lockout struct {
	Threshold int          `json:"lockout_threshold,omitempty"`     // Wrong credentials that lock an account.
	Duration  api.Duration `json:"lockout_duration,omitempty"`      // For how long it is locked.
	Reset     api.Duration `json:"lockout_counter_reset,omitempty"` // How long after the last wrong one they are forgotten; set as lockout_counter_reset_duration.
	Disabled  *bool        `json:"disable_lockout,omitempty"`       // Whether nobody is locked; absent: as the server says. Set as lockout_disable.
}

// The bounds of settings.
const (
	maxThreshold = 1000
	maxLockout   = 365 * 24 * time.Hour
)

// Change sets what a request gives, by the names that the API has for it. An empty
// text sets a value back to the server's.
func (l *Lockout) Change(fields map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := l.Set(name, fields[name]); err != nil {
			return api.Errorf(api.Invalid, "user_lockout_config: %s: %v", name, err)
		}
	}
	return nil
}

// Set sets one value by its name.
func (l *Lockout) Set(name, text string) error { return l.set(name, strings.TrimSpace(text)) }

func (l *Lockout) set(name, text string) (err error) {
	switch name {
	case "lockout_threshold":
		l.Threshold = 0
		if text != "" {
			l.Threshold, err = strconv.Atoi(text)
		}
		if err != nil || l.Threshold < 0 || text != "" && l.Threshold == 0 || l.Threshold > maxThreshold {
			return fmt.Errorf("must be a number from 1 to %d; to lock nobody, set lockout_disable to true", maxThreshold)
		}
	case "lockout_duration":
		l.Duration, err = lockoutTime(text)
	case "lockout_counter_reset_duration", "lockout_counter_reset":
		l.Reset, err = lockoutTime(text)
	case "lockout_disable", "disable_lockout":
		l.Disabled = nil
		if text == "" {
			return nil
		}
		off, bad := strconv.ParseBool(text)
		l.Disabled = &off
		if bad != nil {
			return fmt.Errorf("must be true or false")
		}
	default:
		return fmt.Errorf("is not a setting: there are lockout_threshold, lockout_duration, lockout_counter_reset_duration and lockout_disable")
	}
	return err
}

func lockoutTime(text string) (api.Duration, error) {
	d, err := api.ParseDuration(text)
	if err == nil && (d < 0 || d > 0 && d < time.Second || d > maxLockout) {
		err = fmt.Errorf("must be from 1s to 365d")
	}
	return api.Duration(d), err
}

// UnmarshalJSON takes texts in place of numbers, as settings were kept once.
func (l *Lockout) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	texts := map[string]string{}
	for k, v := range fields {
		texts[k] = strings.Trim(string(v), `"`)
	}
	*l = Lockout{}
	return l.Change(texts)
}
