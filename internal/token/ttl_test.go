package token

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

const day = 24 * time.Hour

// CVE-2020-12757: what is configured decides, and not a default.
func TestCVE2020_12757(t *testing.T) {
	vault := Limits{768 * time.Hour, 768 * time.Hour}
	short := Limits{time.Hour, 2 * time.Hour}
	for name, c := range map[string]struct {
		terms
		age  time.Duration
		want time.Duration // 0: an error
		warn string
	}{
		"nothing asked: the mount's default":         {terms: terms{Limits: short}, want: time.Hour},
		"nothing asked: the server's default":        {terms: terms{Limits: vault}, want: 768 * time.Hour},
		"asked":                                      {terms: terms{Limits: vault, asked: time.Minute}, want: time.Minute},
		"asked wins over usual":                      {terms: terms{Limits: vault, asked: time.Minute, usual: time.Hour}, want: time.Minute},
		"usual wins over the default":                {terms: terms{Limits: vault, usual: time.Hour}, want: time.Hour},
		"over the mount's maximum":                   {terms: terms{Limits: short, usual: 9000 * time.Hour}, want: 2 * time.Hour, warn: `TTL of "9000h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly`},
		"default over the maximum":                   {terms: terms{Limits: Limits{day, time.Hour}}, want: time.Hour, warn: `TTL of "24h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly`},
		"over the role's maximum":                    {terms: terms{Limits: short, usual: time.Hour, roleMax: time.Minute}, want: time.Minute, warn: `TTL of "1h" exceeded the effective max_ttl of "1m"; TTL value is capped accordingly`},
		"a role's maximum raises nothing":            {terms: terms{Limits: short, usual: day, roleMax: day}, want: 2 * time.Hour, warn: `TTL of "24h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly`},
		"over the explicit maximum":                  {terms: terms{Limits: vault, usual: time.Hour, explicit: 30 * time.Minute}, want: 30 * time.Minute, warn: `TTL of "1h" exceeded the effective max_ttl of "30m"; TTL value is capped accordingly`},
		"an explicit maximum raises nothing":         {terms: terms{Limits: short, usual: day, explicit: day}, want: 2 * time.Hour, warn: `TTL of "24h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly`},
		"renewed within the maximum":                 {terms: terms{Limits: short, asked: time.Hour}, age: 30 * time.Minute, want: time.Hour},
		"renewed up to the maximum":                  {terms: terms{Limits: short, asked: time.Hour}, age: 90 * time.Minute, want: 30 * time.Minute, warn: `TTL of "1h" exceeded the effective max_ttl of "30m"; TTL value is capped accordingly`},
		"renewed 1 ms before the maximum":            {terms: terms{Limits: short}, age: 2*time.Hour - time.Millisecond, want: time.Millisecond, warn: `TTL of "1h" exceeded the effective max_ttl of "0s"; TTL value is capped accordingly`},
		"renewed at the maximum":                     {terms: terms{Limits: short}, age: 2 * time.Hour},
		"renewed after the maximum":                  {terms: terms{Limits: short}, age: 3 * time.Hour},
		"no maximum at all":                          {terms: terms{Limits: Limits{Default: time.Hour}}},
		"periodic":                                   {terms: terms{Limits: vault, period: time.Hour, usual: time.Minute}, want: time.Hour},
		"periodic ignores the increment":             {terms: terms{Limits: vault, period: time.Hour, asked: time.Minute}, want: time.Hour},
		"periodic outlives the mount's maximum":      {terms: terms{Limits: short, period: time.Hour}, age: 100 * day, want: time.Hour},
		"a period over the mount's maximum":          {terms: terms{Limits: short, period: day}, want: 2 * time.Hour, warn: `period of "24h" exceeded the effective max_ttl of "2h"; period value is capped accordingly`},
		"periodic with an explicit maximum":          {terms: terms{Limits: vault, period: 20 * time.Hour, explicit: 9000 * time.Hour}, want: 20 * time.Hour},
		"periodic near its explicit maximum":         {terms: terms{Limits: vault, period: time.Hour, explicit: day}, age: 23*time.Hour + 30*time.Minute, want: 30 * time.Minute, warn: `TTL of "1h" exceeded the effective max_ttl of "30m"; TTL value is capped accordingly`},
		"periodic at its explicit maximum":           {terms: terms{Limits: vault, period: time.Hour, explicit: day}, age: day},
		"periodic with an explicit maximum over all": {terms: terms{Limits: short, period: time.Hour, explicit: 10 * day}, age: 9 * day, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var warnings []string
			c.issued, c.nowIs = epoch, epoch.Add(c.age)
			c.terms.warn = func(w string) { warnings = append(warnings, w) }
			got, err := c.resolve()
			if got != c.want || (err != nil) != (c.want == 0) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
			if c.warn == "" && len(warnings) > 0 || c.warn != "" && !slices.Equal(warnings, []string{c.warn}) {
				t.Errorf("warnings %q; want %q", warnings, c.warn)
			}
		})
	}
}

// CVE-2021-32923: a renewal at the last moment must not give a token that never
// expires, nor one that outlives the moment of issue plus its maximum.
func TestCVE2021_32923(t *testing.T) {
	const limit = time.Hour
	for _, at := range []time.Duration{
		10*time.Minute - time.Millisecond, 10 * time.Minute, 10*time.Minute + time.Millisecond,
		limit - time.Millisecond, limit, limit + time.Millisecond,
	} {
		f := newFixture(t)
		lim := mountLimits(10*time.Minute, limit)
		text := f.child(f.root, `{"policies":["p"]}`, lim)
		begin := f.now
		// Keep it alive by renewals until the moment that is of interest.
		last := begin.Add(10 * time.Minute)
		for at > 10*time.Minute+time.Millisecond && last.Before(begin.Add(at)) && f.alive(text) {
			f.now = last.Add(-time.Millisecond)
			if _, _, err := f.write(text, "renew-self", "", lim); err != nil {
				t.Fatal(err)
			}
			next := f.describe(text).ExpireTime.Time
			if next.Equal(last) {
				break
			}
			last = next
		}
		f.now = begin.Add(at)
		wasAlive := f.alive(text)
		if wasAlive != f.now.Before(last) {
			t.Fatalf("at %v: alive %v with expiry %v", at, wasAlive, last.Sub(begin))
		}
		_, _, err := f.write(text, "renew-self", `{"increment":"1h"}`, lim)
		if wasAlive != (err == nil) {
			t.Fatalf("at %v: renewal of a token that is alive=%v: %v", at, wasAlive, err)
		}
		if wasAlive {
			if e := f.describe(text).ExpireTime; e == nil || e.After(begin.Add(limit)) || !e.After(f.now) {
				t.Fatalf("at %v: expires at %v", at, e)
			}
		}
		f.now = begin.Add(limit)
		f.mustBe(text, false)
	}
}

// Random renewals of random tokens never move the expiry over what applies.
func TestRandomRenewals(t *testing.T) {
	rounds := 100_000
	if testing.Short() {
		rounds = 2_000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	some := func(limit time.Duration) time.Duration {
		if rng.IntN(3) == 0 {
			return 0
		}
		return time.Duration(1 + rng.Int64N(int64(limit)))
	}
	for range rounds {
		tm := terms{
			Limits: Limits{1 + some(day), 1 + some(day)}, usual: some(day), period: some(day),
			roleMax: some(day), explicit: some(day), issued: epoch, nowIs: epoch,
		}
		var bound time.Time
		if tm.period == 0 {
			bound = epoch.Add(lesser(lesser(tm.Max, tm.roleMax), tm.explicit))
		} else if tm.explicit > 0 {
			bound = epoch.Add(tm.explicit)
		}
		for range 8 {
			ttl, err := tm.resolve()
			if err != nil {
				if tm.nowIs.Before(bound) || bound.IsZero() {
					t.Fatalf("%+v: %v", tm, err)
				}
				break
			}
			expire := tm.nowIs.Add(ttl)
			if ttl <= 0 || !bound.IsZero() && expire.After(bound) || tm.period > 0 && ttl > tm.Max {
				t.Fatalf("%+v: lives for %v", tm, ttl)
			}
			edge := []time.Duration{-time.Millisecond, -1, 0}[rng.IntN(3)]
			tm.asked, tm.usual = some(2*day), ttl
			tm.nowIs = expire.Add(max(edge, -ttl))
		}
	}
}

// The clock alone decides, at the edges too, without any job having run.
func TestExpiresByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		f := newFixture(t, func(c *Config) { c.Now = time.Now })
		f.now = begin
		text := f.child(f.root, `{"policies":["p"],"ttl":"90s"}`)
		for _, step := range []struct {
			after time.Duration
			alive bool
		}{{90*time.Second - time.Millisecond, true}, {90 * time.Second, false}, {90*time.Second + time.Millisecond, false}} {
			time.Sleep(time.Until(begin.Add(step.after)))
			f.now = time.Now()
			f.mustBe(text, step.alive)
		}
	})
}

func TestRenewAsClientsExpect(t *testing.T) {
	f := newFixture(t)
	text := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
	renew := func(body string) (*api.Auth, []string) {
		t.Helper()
		resp, c, err := f.write(f.root, "renew", `{"token":"`+text+`"`+body+`}`)
		if err != nil {
			t.Fatal(err)
		}
		return resp.(*api.Auth), c.Warnings()
	}
	a, warnings := renew(`,"increment":"2000h"`)
	if a.TTL != 768*time.Hour || !slices.Equal(warnings, []string{`TTL of "2000h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly`}) {
		t.Errorf("TTL %v, warnings %q", a.TTL, warnings)
	}
	if a, _ := renew(`,"increment":"50"`); a.TTL != 50*time.Second || a.ClientToken.Reveal() != text {
		t.Errorf("TTL %v", a.TTL)
	}
	if a, _ := renew(""); a.TTL != 50*time.Second {
		t.Errorf("TTL without an increment %v; want the last one", a.TTL)
	}
	if n := f.rows("/due/"); len(n) != 1 {
		t.Errorf("due-times %v; want one", n)
	}
	resp, _, err := f.write(f.root, "renew-accessor", `{"accessor":"`+a.Accessor+`"}`)
	if err != nil || !resp.(*api.Auth).ClientToken.Empty() {
		t.Errorf("renewal by accessor: %v", err)
	}
	_, _, err = f.write(f.root, "renew", `{"token":"`+text+`","increment":-5}`)
	f.refuses(api.Invalid, "increment: cannot be negative", err)
	fixed := f.child(f.root, `{"policies":["p"],"renewable":false}`)
	_, _, err = f.write(fixed, "renew-self", "")
	f.refuses(api.Invalid, "lease is not renewable", err)
}
