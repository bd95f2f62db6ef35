package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// searcher finds any of many patterns in one pass.
type searcher struct {
	byStart map[uint64][]string // names, by the first eight bytes
	first   [1 << 16]bool       // of the first two
	all     map[string][]byte
}

func newSearcher(patterns map[string][]byte) *searcher {
	s := &searcher{byStart: map[uint64][]string{}, all: patterns}
	for name, p := range patterns {
		start := binary.LittleEndian.Uint64(p)
		s.byStart[start] = append(s.byStart[start], name)
		s.first[binary.LittleEndian.Uint16(p)] = true
	}
	return s
}

// in counts what is found in b.
func (s *searcher) in(b []byte, found map[string]int) {
	for i := 0; i+8 <= len(b); i++ {
		if !s.first[uint16(b[i])|uint16(b[i+1])<<8] {
			continue
		}
		for _, name := range s.byStart[binary.LittleEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], s.all[name]) {
				found[name]++
			}
		}
	}
}

// memory looks through every page of a process that can be read.
func (s *searcher) memory(t *testing.T, pid int) map[string]int {
	t.Helper()
	return s.search(t, pid, func(string) bool { return true })
}

// dump looks through what a core dump would hold: no page that its flags leave out of one.
func (s *searcher) dump(t *testing.T, pid int) map[string]int {
	t.Helper()
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		t.Fatal(err)
	}
	left, region := map[string]bool{}, ""
	for line := range strings.Lines(string(smaps)) {
		if name, rest, _ := strings.Cut(line, " "); strings.Contains(name, "-") {
			region = name
		} else if name == "VmFlags:" && strings.Contains(" "+rest, " dd") {
			left[region] = true
		}
	}
	if len(left) == 0 {
		t.Fatal("no page is left out of core dumps")
	}
	return s.search(t, pid, func(region string) bool { return !left[region] })
}

// search looks through the regions of a process that want is true of.
func (s *searcher) search(t *testing.T, pid int, want func(region string) bool) map[string]int {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found, looked := map[string]int{}, 0
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		region, _, _ := strings.Cut(line, " ")
		if mode[0] != 'r' || strings.Contains(line, "[v") || !want(region) { // [v: the kernel's own
			continue
		}
		looked += s.region(t, mem, int64(from), int64(to), found)
	}
	if looked < 8<<20 {
		t.Fatalf("only %d bytes of memory could be read", looked)
	}
	return found
}

func (s *searcher) region(t *testing.T, mem *os.File, from, to int64, found map[string]int) (looked int) {
	t.Helper()
	b := make([]byte, min(to-from, 16<<20))
	const overlap = 64 // of two pieces, so that nothing lies between them
	for at := from; at < to; at += int64(len(b)) - overlap {
		n, err := mem.ReadAt(b[:min(int64(len(b)), to-at)], at)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EFAULT) {
			t.Fatal(err)
		}
		s.in(b[:n], found)
		looked += n
		if to-at <= int64(len(b)) {
			break
		}
	}
	return looked
}

// busy has the server use every kind of key.
func (s *server) busy(t *testing.T) (tokens map[string]string) {
	t.Helper()
	s.want(t, 204, "POST", "sys/mounts/kv", s.root, `{"type":"kv","options":{"version":"2"}}`)
	s.want(t, 200, "POST", "sys/namespaces/team", s.root, `{}`)
	s.want(t, 204, "POST", "sys/mounts/kv", s.root, `{"type":"kv"}`, "X-Vault-Namespace", "team")
	tokens = map[string]string{"root token": s.root}
	for i := range 20 {
		s.want(t, 200, "POST", fmt.Sprint("kv/data/s", i%5), s.root, `{"data":{"password":"value"}}`)
		s.want(t, 200, "GET", fmt.Sprint("kv/data/s", i%5), s.root, "")
		s.want(t, 204, "POST", "kv/x", s.root, `{"password":"value"}`, "X-Vault-Namespace", "team")
		s.want(t, 200, "GET", "kv/x", s.root, "", "X-Vault-Namespace", "team")
		if i == 10 {
			s.want(t, 204, "POST", "sys/rotate", s.root, "")
		}
	}
	tokens["token"] = field(t, s.want(t, 200, "POST", "auth/token/create", s.root, `{"policies":["default"],"ttl":"1h"}`), "auth", "client_token")
	tokens["batch token"] = field(t, s.want(t, 200, "POST", "auth/token/create", s.root, `{"type":"batch","policies":["default"],"ttl":"1h"}`), "auth", "client_token")
	for _, token := range tokens {
		s.want(t, 200, "GET", "auth/token/lookup-self", token, "")
	}
	s.want(t, 200, "POST", "sys/audit-hash/file", s.root, `{"input":"x"}`)
	return tokens
}

// TestSealedMemoryHoldsNoKey seals a server and looks for every key it had, in
// the memory of its process.
//
// Tokens and unseal keys come and go as texts of HTTP, through buffers of net/http
// and encoding/json that nobody can wipe: what is left of them is no key of the
// store, is reported, and is an exception that SECURITY.md names.
func TestSealedMemoryHoldsNoKey(t *testing.T) {
	s := start(t)
	tokens := s.busy(t)
	s.want(t, 204, "PUT", "sys/seal", s.root, "")
	k := keysOf(t, s)
	keys := newSearcher(k.patterns())
	var found map[string]int
	soon(func() bool {
		found = keys.memory(t, s.PID())
		return len(found) == 0
	})
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t.Errorf("%s: %d times in memory", name, found[name])
	}
	texts := map[string][]byte{}
	for name, text := range tokens {
		texts[name] = []byte(text)
	}
	for i := range s.keys {
		raw, err := base64.StdEncoding.DecodeString(s.keys[i])
		if err != nil {
			t.Fatal(err)
		}
		texts[fmt.Sprint("share ", i)], texts[fmt.Sprint("share ", i, " in base64")], texts[fmt.Sprint("share ", i, " in hexadecimal")] = raw, []byte(s.keys[i]), []byte(hex.EncodeToString(raw))
	}
	for name, n := range newSearcher(texts).memory(t, s.PID()) {
		t.Logf("exception: %s is %d times in buffers of HTTP", name, n)
	}
	s.unseal(t)
	s.want(t, 200, "GET", "kv/data/s1", s.root, "")
	s.unsealed(t, keys)
}

// unsealed is the control of what is found after a seal: the same search finds
// the keys of an unsealed server, and, a moment later, those that others come from
// only where no core dump reaches.
func (s *server) unsealed(t *testing.T, keys *searcher) {
	t.Helper()
	long := []string{"root key", "epoch 1", "epoch 2", "seed root"}
	const short = "strongroom/v1/token-hash mac root, state inner" // which a collection of garbage may just have wiped
	var again map[string]int
	soon(func() bool {
		s.want(t, 200, "GET", "auth/token/lookup-self", s.root, "")
		again = keys.memory(t, s.PID())
		return again[short] > 0
	})
	for _, name := range append([]string{short}, long...) {
		if again[name] == 0 {
			t.Errorf("control: %s is not found in an unsealed server: %v", name, again)
		}
	}
	var dumped map[string]int
	if !soon(func() bool {
		dumped = keys.dump(t, s.PID())
		return !slices.ContainsFunc(long, func(name string) bool { return dumped[name] > 0 })
	}) {
		t.Errorf("a core dump would hold %v", dumped)
	}
}
