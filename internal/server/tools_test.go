package server_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// The hashes of "abc" are those of FIPS 180-4 and FIPS 202.
func TestToolsHash(t *testing.T) {
	d := newDev(t)
	for algorithm, sum := range map[string]string{
		"sha2-224": "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
		"sha2-256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha3-224": "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
		"sha3-256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
	} {
		for _, a := range []*answer{
			d.ask("POST", "sys/tools/hash/"+algorithm, `{"input":"YWJj"}`, "root"),
			d.ask("POST", "sys/tools/hash", `{"input":"YWJj","algorithm":"`+algorithm+`"}`, "root"),
		} {
			if d.want(200, a).Data["sum"] != sum {
				t.Errorf("%s: %v", algorithm, a.Data["sum"])
			}
		}
	}
	for body, field := range map[string]string{`{"input":"%"}`: "input", `{"input":"","algorithm":"md5"}`: "algorithm", `{"input":"","format":"x"}`: "format"} {
		if a := d.want(400, d.ask("POST", "sys/tools/hash", body, "root")); !strings.Contains(a.text, field+":") {
			t.Errorf("%s: %s", body, a.text)
		}
	}
}

func TestToolsRandom(t *testing.T) {
	d := newDev(t)
	seen := map[string]bool{}
	for path, want := range map[string]int{"": 32, "/24": 24, "/platform": 32, "/all/7": 7, "/seal/131072": 131072} {
		text, _ := d.want(200, d.ask("POST", "sys/tools/random"+path, `{}`, "root")).Data["random_bytes"].(string)
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != want || seen[text] {
			t.Errorf("%q: %d bytes, %v", path, len(raw), err)
		}
		seen[text] = true
	}
	d.want(200, d.ask("POST", "sys/tools/random/9", `{"source":"all"}`, "root"))
	d.want(400, d.ask("POST", "sys/tools/random/9", `{"source":"moon"}`, "root"))
	text, _ := d.want(200, d.ask("POST", "sys/tools/random", `{"bytes":5,"format":"hex"}`, "root")).Data["random_bytes"].(string)
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != 5 {
		t.Errorf("hex: %d bytes, %v", len(raw), err)
	}
	for _, bad := range []string{"/0", "/131073", "/moon", "/all/x"} {
		d.want(400, d.ask("POST", "sys/tools/random"+bad, `{}`, "root"))
	}
}

func TestDecodeToken(t *testing.T) {
	d := newDev(t)
	token, pad := []byte("srs_example"), []byte("0123456789a")
	raw := make([]byte, len(token))
	for i := range raw {
		raw[i] = token[i] ^ pad[i]
	}
	encoded := base64.RawStdEncoding.EncodeToString(raw)
	a := d.want(200, d.ask("POST", "sys/decode-token", `{"encoded_token":"`+encoded+`","otp":"`+string(pad)+`"}`, ""))
	if a.Data["token"] != string(token) {
		t.Error(a.text)
	}
	d.want(400, d.ask("POST", "sys/decode-token", `{"encoded_token":"`+encoded+`","otp":"short"}`, ""))
	d.want(400, d.ask("POST", "sys/decode-token", `{"encoded_token":"%","otp":"x"}`, ""))
}
