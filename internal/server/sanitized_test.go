package server

import "testing"

func TestRawStorageIsOffUnlessConfigured(t *testing.T) {
	for text, want := range map[string]bool{"": false, "raw_storage_endpoint = true": true, `raw_storage_endpoint = "false"`: false, `{"raw_storage_endpoint": true}`: true} {
		c, err := ParseConfig("c.hcl", []byte(text))
		if err != nil || c.RawStorage != want || len(c.Ignored) > 0 {
			t.Errorf("%q: %v, %v, passed over %v", text, c.RawStorage, err, c.Ignored)
		}
		if got := (&Server{config: c}).sanitized().RawStorage; got != want {
			t.Errorf("%q is shown as %v", text, got)
		}
	}
	if _, err := ParseConfig("c.hcl", []byte("raw_storage_endpoint = \"maybe\"")); err == nil {
		t.Error("any word is a truth value")
	}
}

func TestLocalSealIsShown(t *testing.T) {
	c, err := ParseConfig("c.hcl", []byte(`seal "file" {}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Server{config: c}).sanitized().Seals[0].Type; got != "file" {
		t.Errorf("it is shown as %s", got)
	}
}
