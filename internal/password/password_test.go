package password

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/strongroom/strongroom/internal/api"
)

func check(t *testing.T, h *Hasher, form, password string) (right, old bool) {
	t.Helper()
	right, old, err := h.Check(t.Context(), form, api.NewSecret(password))
	if err != nil {
		t.Fatal(err)
	}
	return right, old
}

func TestHashAndCheck(t *testing.T) {
	for name, h := range map[string]*Hasher{"argon2id": New(1), "pbkdf2": {slots: make(chan struct{}, 1), queue: make(chan struct{}, 1), fips: true}} {
		a, err1 := h.Hash(t.Context(), api.NewSecret("correct horse"))
		b, err2 := h.Hash(t.Context(), api.NewSecret("correct horse"))
		if err1 != nil || err2 != nil || a == b || !strings.HasPrefix(a, "$"+strings.ReplaceAll(name, "pbkdf2", "pbkdf2-sha256")+"$") {
			t.Fatalf("%s: %q, %q, %v, %v", name, a, b, err1, err2)
		}
		if right, old := check(t, h, a, "correct horse"); !right || old {
			t.Errorf("%s: the password is right=%v old=%v", name, right, old)
		}
		for _, wrong := range []string{"", "correct hors", "correct horse ", "Correct horse"} {
			if right, _ := check(t, h, a, wrong); right {
				t.Errorf("%s: %q is taken for the password", name, wrong)
			}
		}
		for _, none := range []string{"", "nonsense", a[:len(a)-1]} {
			if right, _ := check(t, h, none, ""); right {
				t.Errorf("%s: a form that is none has a password", name)
			}
		}
	}
}

// A hash of bcrypt is checked and, once its password is known, replaced; one that costs
// too much is not taken.
func TestFormsOfElsewhere(t *testing.T) {
	h := New(1)
	made, err := bcrypt.GenerateFromPassword([]byte("hunter2"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.Take(api.NewSecret(string(made))); err != nil || got != string(made) {
		t.Fatal(err)
	}
	if right, old := check(t, h, string(made), "hunter2"); !right || !old {
		t.Errorf("bcrypt: right=%v old=%v", right, old)
	}
	if right, old := check(t, h, string(made), "hunter3"); right || old {
		t.Errorf("bcrypt: a wrong password is right=%v old=%v", right, old)
	}
	for _, bad := range []string{"", "x", "$2a$31$" + strings.Repeat("a", 53), "$argon2id$v=19$m=999999999,t=2,p=1$" + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43),
		"$argon2id$v=19$m=19456,t=2000,p=1$" + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43), "$pbkdf2-sha256$i=2000001$" + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43)} {
		if _, err := h.Take(api.NewSecret(bad)); api.KindOf(err) != api.Invalid {
			t.Errorf("%.20q...: %v, want a refusal", bad, err)
		}
	}
}

// What waits is bounded, and who is gone waits no longer.
func TestBounds(t *testing.T) {
	h := New(1)
	h.slots <- struct{}{} // somebody computes
	ctx, gone := context.WithCancel(t.Context())
	results := make(chan error)
	for range cap(h.queue) {
		go func() {
			_, _, err := h.Check(ctx, "", api.NewSecret("x"))
			results <- err
		}()
	}
	for len(h.queue) < cap(h.queue) {
		select {
		case err := <-results:
			t.Fatalf("one did not wait: %v", err)
		default:
		}
	}
	if _, _, err := h.Check(t.Context(), "", api.NewSecret("x")); api.KindOf(err) != api.TooMany {
		t.Errorf("one more than may wait: %v, want too many", err)
	}
	gone()
	for range cap(h.queue) {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("who is gone: %v", err)
		}
	}
	<-h.slots
	if _, _, err := h.Check(t.Context(), "", api.NewSecret("x")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLongPasswords(t *testing.T) {
	h := New(1)
	long := strings.Repeat("x", maxPassword+1)
	if _, err := h.Hash(t.Context(), api.NewSecret(long)); api.KindOf(err) != api.Invalid {
		t.Errorf("a password of %d bytes: %v", len(long), err)
	}
	form, err := h.Hash(t.Context(), api.NewSecret(long[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if right, _ := check(t, h, form, long); right {
		t.Error("a password that is too long is cut off, not refused")
	}
}

// Under FIPS 140-3 alone everything goes by PBKDF2; nothing else is computed.
func TestFIPSOnly(t *testing.T) {
	const inside = "STRONGROOM_TEST_FIPS"
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFIPSOnly$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1", "GODEBUG=fips140=only")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "fips140 was on") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	h := New(1)
	form, err := h.Hash(t.Context(), api.NewSecret("x"))
	if err != nil || !strings.HasPrefix(form, "$pbkdf2-sha256$") {
		t.Fatalf("%q, %v", form, err)
	}
	if right, _ := check(t, h, form, "x"); !right {
		t.Error("the password is not right")
	}
	bcryptForm := "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	if _, err := h.Take(api.NewSecret(bcryptForm)); api.KindOf(err) != api.Invalid {
		t.Errorf("bcrypt: %v", err)
	}
	if right, _ := check(t, h, bcryptForm, "x"); right {
		t.Error("bcrypt is computed")
	}
	t.Log("fips140 was on")
}

func FuzzForm(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43))
	f.Add("$pbkdf2-sha256$i=600000$" + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43))
	f.Add("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")
	f.Fuzz(func(t *testing.T, form string) {
		p, err := parse(form)
		if err != nil {
			return
		}
		if p.kind != kindBcrypt && p.String() != form {
			t.Errorf("%q is read as %q", form, p)
		}
		if p.memory > argonMemory || p.rounds > maxRounds {
			t.Errorf("%q costs too much", form)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	h := New(1)
	form, err := h.Hash(b.Context(), api.NewSecret("x"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := h.Check(b.Context(), form, api.NewSecret("x")); err != nil {
			b.Fatal(err)
		}
	}
}
