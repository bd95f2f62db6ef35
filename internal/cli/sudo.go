package cli

import "strings"

// sudoPaths are what policies must grant sudo on, by the dialect's documentation and
// by this server's declarations. A last "*" stands for what follows, a "+" for one
// segment. Nothing is decided by it: -output-policy tells what people will need.
func sudoPaths() []string {
	return []string{
		"auth/token/accessors", "auth/token/revoke-orphan",
		"sys/audit", "sys/audit/*", "sys/auth/+", "sys/auth/+/tune",
		"sys/config/auditing/request-headers", "sys/config/auditing/request-headers/*",
		"sys/config/cors", "sys/config/ui/headers", "sys/config/ui/headers/*",
		"sys/internal/inspect/*", "sys/key-slots", "sys/key-slots/*",
		"sys/leases", "sys/leases/lookup/*", "sys/leases/revoke-force/*", "sys/leases/revoke-prefix/*",
		"sys/revoke-force/*", "sys/revoke-prefix/*",
		"sys/plugins/catalog/*", "sys/raw", "sys/raw/*", "sys/remount", "sys/seal", "sys/step-down", "sys/storage/members", "sys/storage/members/*",
		"sys/rotate", "sys/rotate/keyring", "sys/rotate/root", "sys/pprof", "sys/pprof/*", "sys/monitor",
	}
}

func needsSudo(path string) bool {
	path = strings.Trim(path, "/")
	for _, pattern := range sudoPaths() {
		if fits(pattern, path) {
			return true
		}
	}
	return false
}

// fits matches segment by segment.
func fits(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, segment := range want {
		switch {
		case i >= len(got):
			return false
		case segment == "*":
			return true
		case segment != "+" && segment != got[i]:
			return false
		}
	}
	return len(want) == len(got)
}
