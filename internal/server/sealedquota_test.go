package server

import "testing"

// TestQuotaOfASealedNamespaceIsListed has a server that has started while a namespace is sealed, so that it cannot read its mounts, list a
// quota of one by its name alone: without a path it would say that it is about everything.
func TestQuotaOfASealedNamespaceIsListed(t *testing.T) {
	dir := t.TempDir()
	w := start(t, Config{DataDir: dir, LocalSlot: true})
	root := w.printed()
	w.wants(200, "key_shares", root, "POST", "sys/namespaces/team", `{"seal":"seal \"shamir\" { shares = 1 threshold = 1 }"}`)
	w.wants(204, "", root, "POST", "team/sys/mounts/kv", `{"type":"kv"}`)
	w.wants(204, "", root, "POST", "sys/quotas/rate-limit/kv", `{"rate":9,"path":"team/kv"}`)
	w.wants(200, `"path":"team/kv/"`, root, "LIST", "sys/quotas/rate-limit", "")
	w.wants(204, "", root, "POST", "sys/namespaces/team/seal", "")
	w.end()
	w = start(t, Config{DataDir: dir, LocalSlot: true})
	defer w.end()
	w.wants(200, `"data":{"keys":["kv"]}`, root, "LIST", "sys/quotas/rate-limit", "")
}
