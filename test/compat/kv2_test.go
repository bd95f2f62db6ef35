package compat

import (
	"errors"
	"slices"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

func TestKV2Versions(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		_, kv := c.freshKV2(t)
		ctx := t.Context()
		_, err := kv.Get(ctx, "absent")
		if !errors.Is(err, c.gone) {
			t.Errorf("reading what is not there gave %v, want the client's not found", err)
		}
		put := must(kv.Put(ctx, "app", map[string]any{"n": 1}))(t)
		equal(t, "version of the first put", put.VersionMetadata.Version, 1)
		if since := time.Since(put.VersionMetadata.CreatedTime); since < -time.Minute || since > time.Minute {
			t.Errorf("created_time is %v ago", since)
		}
		equal(t, "destroyed", put.VersionMetadata.Destroyed, false)
		equal(t, "deleted", put.VersionMetadata.DeletionTime.IsZero(), true)
		equal(t, "version of the second put", must(kv.Put(ctx, "app", map[string]any{"n": 2}))(t).VersionMetadata.Version, 2)
		latest := must(kv.Get(ctx, "app"))(t)
		equal(t, "latest", latest.Data, map[string]any{"n": 2})
		equal(t, "lease seconds", latest.Raw.LeaseDuration, 0)
		equal(t, "version 1", must(kv.GetVersion(ctx, "app", 1))(t).Data, map[string]any{"n": 1})
		equal(t, "version 0", must(kv.GetVersion(ctx, "app", 0))(t).Data, map[string]any{"n": 2})
		_, err = kv.GetVersion(ctx, "app", 3)
		if !errors.Is(err, c.gone) {
			t.Errorf("reading version 3 of 2 gave %v, want the client's not found", err)
		}
		list := must(kv.GetVersionsAsList(ctx, "app"))(t)
		if len(list) != 2 || list[0].Version != 1 || list[1].Version != 2 {
			t.Errorf("versions are %v, want 1 and 2", list)
		}
	})
}

func TestKV2CheckAndSet(t *testing.T) {
	const mismatch = "check-and-set parameter did not match the current version"
	eachClient(t, func(t *testing.T, c *client) {
		_, kv := c.freshKV2(t)
		ctx, viaPatch := t.Context(), vault.WithMergeMethod(vault.KVMergeMethodPatch)
		_, err := kv.Put(ctx, "app", map[string]any{"n": 0}, vault.WithCheckAndSet(1))
		refused(t, err, 400, mismatch)
		must(kv.Put(ctx, "app", map[string]any{"n": 1}, vault.WithCheckAndSet(0)))(t)
		_, err = kv.Put(ctx, "app", map[string]any{"n": 2}, vault.WithCheckAndSet(0))
		refused(t, err, 400, mismatch)
		must(kv.Put(ctx, "app", map[string]any{"n": 2}, vault.WithCheckAndSet(1)))(t)
		ok(t, kv.PutMetadata(ctx, "app", vault.KVMetadataPutInput{CASRequired: true}))
		_, err = kv.Put(ctx, "app", map[string]any{"n": 3})
		refused(t, err, 400, "check-and-set parameter required for this call")
		must(kv.Put(ctx, "app", map[string]any{"n": 3}, vault.WithCheckAndSet(2)))(t)
		_, err = kv.Patch(ctx, "app", map[string]any{"n": 4}, viaPatch, vault.WithCheckAndSet(1))
		refused(t, err, 400, mismatch)
		must(kv.Patch(ctx, "app", map[string]any{"m": 4}, viaPatch, vault.WithCheckAndSet(3)))(t)
		equal(t, "data", must(kv.Get(ctx, "app"))(t).Data, map[string]any{"n": 3, "m": 4})
	})
}

func TestKV2Patch(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		for _, method := range []string{vault.KVMergeMethodPatch, vault.KVMergeMethodReadWrite} {
			_, kv := c.freshKV2(t)
			ctx, how := t.Context(), vault.WithMergeMethod(method)
			_, err := kv.Patch(ctx, "app", map[string]any{"a": "1"}, how)
			if err == nil {
				t.Errorf("%s: patching what is not there succeeded", method)
			}
			must(kv.Put(ctx, "app", map[string]any{"a": "1", "b": "2"}))(t)
			patched := must(kv.Patch(ctx, "app", map[string]any{"b": "3", "c": "4"}, how))(t)
			equal(t, method+": version", patched.VersionMetadata.Version, 2)
			equal(t, method+": data", must(kv.Get(ctx, "app"))(t).Data, map[string]any{"a": "1", "b": "3", "c": "4"})
		}
	})
}

// TestKV2MergePatch pins what JSON merge patch adds over a read and a write: null removes, objects merge.
func TestKV2MergePatch(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		must(kv.Put(t.Context(), "app", map[string]any{"a": "1", "deep": map[string]any{"x": "1", "y": "2"}}))(t)
		s := must(c.logical.JSONMergePatch(t.Context(), mount+"/data/app", map[string]any{
			"data": map[string]any{"a": nil, "deep": map[string]any{"y": "3", "z": "4"}},
		}))(t)
		equal(t, "version", s.Data["version"], 2)
		equal(t, "data", must(kv.Get(t.Context(), "app"))(t).Data, map[string]any{"deep": map[string]any{"x": "1", "y": "3", "z": "4"}})
		equal(t, "a patch of another type", c.send(t, "PATCH", "/v1/"+mount+"/data/app", `{"data":{}}`, "Content-Type", "text/plain").status, 415)
	})
}

func TestKV2DeleteUndeleteDestroy(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		ctx := t.Context()
		for n := range 3 {
			must(kv.Put(ctx, "app", map[string]any{"n": n + 1}))(t)
		}
		ok(t, kv.Delete(ctx, "app"))
		gone := must(kv.Get(ctx, "app"))(t)
		equal(t, "data of a deleted version", gone.Data == nil, true)
		equal(t, "deletion time set", gone.VersionMetadata.DeletionTime.IsZero(), false)
		equal(t, "status", closeBody(t, first(c.logical.ReadRaw(mount+"/data/app"))), 404)
		ok(t, kv.Undelete(ctx, "app", []int{3}))
		equal(t, "data undeleted", must(kv.Get(ctx, "app"))(t).Data, map[string]any{"n": 3})
		ok(t, kv.DeleteVersions(ctx, "app", []int{1, 2}))
		equal(t, "version 1 deleted", must(kv.GetVersion(ctx, "app", 1))(t).Data == nil, true)
		equal(t, "version 3 stands", must(kv.Get(ctx, "app"))(t).Data, map[string]any{"n": 3})
		ok(t, kv.Destroy(ctx, "app", []int{1}))
		ok(t, kv.Undelete(ctx, "app", []int{1, 2}))
		destroyed := must(kv.GetVersion(ctx, "app", 1))(t)
		equal(t, "destroyed", destroyed.VersionMetadata.Destroyed, true)
		equal(t, "data of a destroyed version", destroyed.Data == nil, true)
		equal(t, "version 2 undeleted", must(kv.GetVersion(ctx, "app", 2))(t).Data, map[string]any{"n": 2})
		ok(t, kv.DeleteMetadata(ctx, "app"))
		ok(t, kv.DeleteMetadata(ctx, "app"))
		_, err := kv.Get(ctx, "app")
		if !errors.Is(err, c.gone) {
			t.Errorf("reading after the metadata went gave %v, want the client's not found", err)
		}
		equal(t, "version after a new start", must(kv.Put(ctx, "app", map[string]any{"n": 9}))(t).VersionMetadata.Version, 1)
	})
}

func first[T any](v T, _ error) T { return v }

func TestKV2Rollback(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		_, kv := c.freshKV2(t)
		ctx := t.Context()
		must(kv.Put(ctx, "app", map[string]any{"n": 1}))(t)
		must(kv.Put(ctx, "app", map[string]any{"n": 2}))(t)
		equal(t, "version", must(kv.Rollback(ctx, "app", 1))(t).VersionMetadata.Version, 3)
		equal(t, "data", must(kv.Get(ctx, "app"))(t).Data, map[string]any{"n": 1})
		_, err := kv.Rollback(ctx, "app", 7)
		if err == nil {
			t.Error("rolling back to a version that never was succeeded")
		}
	})
}

func TestKV2Metadata(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		_, kv := c.freshKV2(t)
		ctx := t.Context()
		_, err := kv.GetMetadata(ctx, "absent")
		if !errors.Is(err, c.gone) {
			t.Errorf("metadata of what is not there gave %v, want the client's not found", err)
		}
		ok(t, kv.PutMetadata(ctx, "app", vault.KVMetadataPutInput{
			CustomMetadata: map[string]any{"owner": "ann", "team": "red"}, MaxVersions: 2, DeleteVersionAfter: time.Hour,
		}))
		for n := range 3 {
			must(kv.Put(ctx, "app", map[string]any{"n": n + 1}))(t)
		}
		md := must(kv.GetMetadata(ctx, "app"))(t)
		equal(t, "current version", md.CurrentVersion, 3)
		equal(t, "oldest version", md.OldestVersion, 2)
		equal(t, "max versions", md.MaxVersions, 2)
		equal(t, "delete_version_after", md.DeleteVersionAfter, time.Hour)
		equal(t, "custom metadata", md.CustomMetadata, map[string]any{"owner": "ann", "team": "red"})
		equal(t, "kept versions", len(md.Versions), 2)
		equal(t, "version 3 expires", md.Versions["3"].DeletionTime.Sub(md.Versions["3"].CreatedTime), time.Hour)
		s := must(kv.Get(ctx, "app"))(t)
		equal(t, "custom metadata beside the data", s.CustomMetadata, map[string]any{"owner": "ann", "team": "red"})
		_, err = kv.GetVersion(ctx, "app", 1)
		if !errors.Is(err, c.gone) {
			t.Errorf("reading a version beyond max_versions gave %v, want the client's not found", err)
		}
	})
}

func TestKV2PatchMetadata(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		_, kv := c.freshKV2(t)
		ctx, five, cas := t.Context(), 5, true
		ok(t, kv.PutMetadata(ctx, "app", vault.KVMetadataPutInput{CustomMetadata: map[string]any{"owner": "ann", "team": "red"}, MaxVersions: 2}))
		ok(t, kv.PatchMetadata(ctx, "app", vault.KVMetadataPatchInput{
			CustomMetadata: map[string]any{"team": nil, "tier": "1"}, MaxVersions: &five, CASRequired: &cas,
		}))
		md := must(kv.GetMetadata(ctx, "app"))(t)
		equal(t, "custom metadata", md.CustomMetadata, map[string]any{"owner": "ann", "tier": "1"})
		equal(t, "max versions", md.MaxVersions, 5)
		equal(t, "cas_required", md.CASRequired, true)
		equal(t, "current version", md.CurrentVersion, 0)
		if err := kv.PatchMetadata(ctx, "absent", vault.KVMetadataPatchInput{MaxVersions: &five}); err == nil {
			t.Error("patching metadata that is not there succeeded")
		}
	})
}

func TestKV2Lists(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		s, err := c.logical.List(mount + "/metadata")
		absent(t, "an empty list", s, err)
		for _, path := range []string{"a", "b/c", "b/d/e", "b", "z"} {
			must(kv.Put(t.Context(), path, map[string]any{"k": "v"}))(t)
		}
		equal(t, "keys at the top", keys(t, must(c.logical.List(mount+"/metadata"))(t)), []string{"a", "b", "b/", "z"})
		equal(t, "keys below", keys(t, must(c.logical.List(mount+"/metadata/b"))(t)), []string{"c", "d/"})
		ok(t, kv.Delete(t.Context(), "a"))
		equal(t, "keys after a delete", keys(t, must(c.logical.List(mount+"/metadata"))(t)), []string{"a", "b", "b/", "z"})
		ok(t, kv.DeleteMetadata(t.Context(), "a"))
		equal(t, "keys after the metadata went", keys(t, must(c.logical.List(mount+"/metadata"))(t)), []string{"b", "b/", "z"})
	})
}

// TestKV2Pages covers what only OpenBao's client asks for: pages of a list, and the recursive list.
func TestKV2Pages(t *testing.T) {
	c := baoClient(t, world.shared)
	mount, kv := c.freshKV2(t)
	for _, path := range []string{"a", "b/c", "b/d/e", "f"} {
		must(kv.Put(t.Context(), path, map[string]any{"k": "v"}))(t)
	}
	equal(t, "first page", keys(t, must(c.logical.ListPage(mount+"/metadata", "", 2))(t)), []string{"a", "b/"})
	equal(t, "next page", keys(t, must(c.logical.ListPage(mount+"/metadata", "b/", 2))(t)), []string{"f"})
	equal(t, "scan", slices.Sorted(slices.Values(keys(t, must(c.logical.Scan(mount+"/metadata"))(t)))), []string{"a", "b/c", "b/d/e", "f"})
}

func TestKV2Subkeys(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		must(kv.Put(t.Context(), "app", map[string]any{"a": "secret", "deep": map[string]any{"b": map[string]any{"c": "secret"}}}))(t)
		s := must(c.logical.Read(mount + "/subkeys/app"))(t)
		equal(t, "subkeys", s.Data["subkeys"], map[string]any{"a": nil, "deep": map[string]any{"b": map[string]any{"c": nil}}})
		s = must(c.logical.ReadWithData(mount+"/subkeys/app", map[string][]string{"depth": {"1"}}))(t)
		equal(t, "subkeys at depth 1", s.Data["subkeys"], map[string]any{"a": nil, "deep": nil})
		equal(t, "version", at(s.Data, "metadata.version"), 1)
		s, err := c.logical.Read(mount + "/subkeys/absent")
		absent(t, "subkeys of what is not there", s, err)
	})
}

// TestKV2Config pins the engine's own settings and that a secret's settings win over them.
func TestKV2Config(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		must(c.logical.Write(mount+"/config", map[string]any{"max_versions": 1, "cas_required": "true", "delete_version_after": "90m"}))(t)
		s := must(c.logical.Read(mount + "/config"))(t)
		for field, want := range map[string]any{"max_versions": 1, "cas_required": true, "delete_version_after": "1h30m0s"} {
			equal(t, field, s.Data[field], want)
		}
		_, err := kv.Put(t.Context(), "app", map[string]any{"n": 1})
		refused(t, err, 400, "check-and-set parameter required for this call")
		must(kv.Put(t.Context(), "app", map[string]any{"n": 1}, vault.WithCheckAndSet(0)))(t)
		must(kv.Put(t.Context(), "app", map[string]any{"n": 2}, vault.WithCheckAndSet(1)))(t)
		equal(t, "kept versions", len(must(kv.GetMetadata(t.Context(), "app"))(t).Versions), 1)
	})
}

// TestKV2WrongPath pins the warning that tells people they forgot data/.
func TestKV2WrongPath(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, _ := c.freshKV2(t)
		raw, err := c.logical.ReadRaw(mount + "/app")
		equal(t, "status", closeBody(t, raw), 404)
		refusedSilently(t, err, 404)
		a := c.send(t, "GET", "/v1/"+mount+"/app", "")
		holds(t, "the answer", a.text, "Invalid path for a versioned K/V secrets engine")
		_, err = c.logical.Write(mount+"/data/app", map[string]any{"n": 1})
		refused(t, err, 400, "no data provided")
	})
}
