package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseDuration reads seconds ("90"), Go's notation ("1h30m") and days ("2d").
func parseDuration(s string) (time.Duration, error) {
	unit, number := time.Second, s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		unit, number = 24*time.Hour, days
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return time.ParseDuration(s)
	}
	if n > int64(1<<63-1)/int64(unit) || n < -int64(1<<63-1)/int64(unit) {
		return 0, fmt.Errorf("duration %q is too long", s)
	}
	return time.Duration(n) * unit, nil
}

// humanSeconds prints seconds as "768h" or "1h30m", leaving out zero parts.
func humanSeconds(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	if d == 0 {
		return "0s"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// showDuration prints the value of a field that is named like a duration as one;
// other values come back as they are.
func showDuration(field string, v any) any {
	n, ok := v.(json.Number)
	if !ok || !durationField(field) {
		return v
	}
	seconds, err := n.Int64()
	if err != nil {
		return v
	}
	return humanSeconds(seconds)
}

func durationField(name string) bool {
	switch name {
	case "period", "ttl", "duration", "lease_max", "ttl_max", "interval":
		return true
	}
	for _, suffix := range []string{"_period", "_ttl", "_duration", "_interval", "_timeout", "_max_age"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
