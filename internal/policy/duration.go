package policy

import (
	"math"
	"strconv"
	"strings"
	"time"
)

func (p *parser) duration(f *field) time.Duration {
	if f.val.kind == word || f.val.kind == number {
		if d, ok := parseDuration(f.val.text); ok {
			return d
		}
	}
	p.fault(f.val.line, `write a number of seconds, or a duration such as "90s", "5m", "1h" or "2d"`, "%s is not a duration", f.key)
	return 0
}

// parseDuration reads Vault's form: seconds, or a sequence of numbers with
// units up to days. What is negative is refused.
func parseDuration(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Duration(n) * time.Second, 0 <= n && n <= math.MaxInt64/int64(time.Second)
	}
	days := time.Duration(0)
	if count, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseFloat(count, 64)
		if err != nil || !(n >= 0 && n <= 36500) {
			return 0, false
		}
		days, s = time.Duration(n*24*float64(time.Hour)), rest
		if s == "" {
			return days, true
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > math.MaxInt64-days {
		return 0, false
	}
	return d + days, true
}
