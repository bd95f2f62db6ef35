package cli

import (
	"sort"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// page holds the flags of lists.
type page struct{ client.Page }

func (p *page) flags(f *pflag.FlagSet) {
	f.StringVar(&p.After, "after", "", "only names after this `name`")
	f.IntVar(&p.Limit, "limit", 0, "greatest `number` of names; 0 means all")
}

// keyValues is a flag of key=value pairs that may be repeated.
type keyValues map[string]string

// Type implements pflag.Value.
func (kv *keyValues) Type() string { return "key=value" }

// String implements pflag.Value.
func (kv *keyValues) String() string {
	var pairs []string
	for k, v := range *kv {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

// Set implements pflag.Value.
func (kv *keyValues) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return usagef("want key=value")
	}
	if *kv == nil {
		*kv = keyValues{}
	}
	(*kv)[k] = v
	return nil
}

// cleanPath drops spaces around and slashes at both ends.
func cleanPath(path string) string { return strings.Trim(strings.TrimSpace(path), "/") }

// mountPath is cleanPath with the slash that mounts end in.
func mountPath(path string) string { return cleanPath(path) + "/" }
