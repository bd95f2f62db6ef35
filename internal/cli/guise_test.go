package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/client"
)

// runAs runs the program under a name, with an environment.
func runAs(name string, env map[string]string, args ...string) result {
	var out, errs bytes.Buffer
	code := Main(append([]string{"/usr/bin/" + name}, args...), strings.NewReader(""), &out, &errs, func(k string) string { return env[k] })
	return result{out.String(), errs.String(), code}
}

func TestVariablesOfTheNameComeFirst(t *testing.T) {
	all := map[string]string{"STRONGROOM_FORMAT": "json", "BAO_FORMAT": "yaml", "VAULT_FORMAT": "none of them"}
	for name, want := range map[string]string{"strongroom": "json", "bao": "yaml", "vault": "none of them"} {
		a := newApp([]string{name}, nil, nil, nil, func(k string) string { return all[k] })
		if got := client.LookupEnv(a.getenv, "FORMAT"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	only := map[string]string{"STRONGROOM_FORMAT": "json"}
	a := newApp([]string{"vault"}, nil, nil, nil, func(k string) string { return only[k] })
	if got := client.LookupEnv(a.getenv, "FORMAT"); got != "json" {
		t.Errorf("as vault, the own variable: %q", got)
	}
}

func TestHelpAndHintsFollowTheName(t *testing.T) {
	for name, prefix := range map[string]string{"strongroom": "STRONGROOM_", "vault": "VAULT_", "bao": "BAO_"} {
		r := runAs(name, nil, "options")
		if !strings.Contains(r.stdout, "("+prefix+"ADDR)") || !strings.Contains(r.stdout, prefix+"TOKEN's") {
			t.Errorf("%s options: %s", name, r.stdout)
		}
		r = runAs(name, map[string]string{"HOME": t.TempDir()}, "print", "token")
		if !strings.Contains(r.stderr, "set "+prefix+"TOKEN") || !strings.Contains(r.stderr, name+" login") {
			t.Errorf("%s print token: %s", name, r.stderr)
		}
		if r = runAs(name, nil, "-h"); !strings.Contains(r.stdout, "\n  "+name+" [flags] COMMAND") {
			t.Errorf("%s -h: %s", name, r.stdout)
		}
		for _, flag := range []string{"-version", "--version", "-v", "version"} {
			if r = runAs(name, nil, flag); strings.TrimSpace(r.stdout) != versionText(name) || r.code != 0 {
				t.Errorf("%s %s: %q %d", name, flag, r.stdout, r.code)
			}
		}
	}
}

// TestUnknownCommand pins the code that a script under each name expects of a command
// that there is not, or of none.
func TestUnknownCommand(t *testing.T) {
	for name, want := range map[string]int{"strongroom": 1, "vault": 127, "bao": 127} {
		if r := runAs(name, nil, "sekrets"); r.code != want || !strings.Contains(r.stderr, "did you mean "+name+" secrets?") {
			t.Errorf("%s: %d %s", name, r.code, r.stderr)
		}
		if r := runAs(name, nil); r.code != want || r.stdout != "" || !strings.Contains(r.stderr, "Commands:") {
			t.Errorf("%s alone: %d %s", name, r.code, r.stdout)
		}
		for _, args := range [][]string{{"kv"}, {"kv", "gett"}} {
			if r := runAs(name, nil, args...); r.code != 1 {
				t.Errorf("%s %s: %d", name, args, r.code)
			}
		}
	}
}

func TestTokenFilesFollowTheName(t *testing.T) {
	for name, file := range map[string]string{"strongroom": ".strongroom-token", "vault": ".vault-token", "bao": ".vault-token"} {
		home := t.TempDir()
		env := map[string]string{"HOME": home}
		a := newApp([]string{name}, nil, nil, nil, func(k string) string { return env[k] })
		if err := a.storeToken("hvs.new"); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(home, file))
		if err != nil || string(raw) != "hvs.new" {
			t.Errorf("%s: %q %v", name, raw, err)
		}
		env["VAULT_TOKEN_PATH"] = filepath.Join(home, "elsewhere")
		if a.token() != "" {
			t.Errorf("%s: TOKEN_PATH does not count", name)
		}
	}
}

// helperHome is a home whose ~/.vault names a helper that keeps the token in a file
// and fails while a file "broken" is there.
func helperHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	script := "#!/bin/sh\ncd " + home + "\n[ -e broken ] && exit 3\n" +
		"case $1 in get) [ -e kept ] && cat kept || true;; store) cat > kept;; erase) rm -f kept;; *) exit 4;; esac\n"
	write(t, filepath.Join(home, "helper"), script, 0o700)
	write(t, filepath.Join(home, ".vault"), `token_helper = "`+filepath.Join(home, "helper")+`"`, 0o600)
	return home
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestTokenHelper(t *testing.T) {
	home := helperHome(t)
	env := map[string]string{"HOME": home}
	var errs bytes.Buffer
	a := newApp([]string{"vault"}, nil, nil, &errs, func(k string) string { return env[k] })
	if got, err := a.findToken(); got != "" || err != nil {
		t.Errorf("before: %q %v", got.Reveal(), err)
	}
	if err := a.storeToken("hvs.kept"); err != nil {
		t.Fatal(err)
	}
	if got := a.token(); got != "hvs.kept" {
		t.Errorf("stored: %q", got.Reveal())
	}
	if _, err := os.Stat(filepath.Join(home, ".vault-token")); err == nil {
		t.Error("the token is in the file, too")
	}
	env["VAULT_TOKEN"] = "environment"
	if got := a.token(); got != "environment" {
		t.Errorf("with a variable: %q", got.Reveal())
	}
	delete(env, "VAULT_TOKEN")
	if err := a.forgetToken(); err != nil {
		t.Fatal(err)
	}
	if got := a.token(); got != "" {
		t.Errorf("erased: %q", got.Reveal())
	}
	write(t, filepath.Join(home, "broken"), "", 0o600)
	r := runAs("vault", env, "token", "lookup")
	if r.code != 1 || !strings.Contains(r.stderr, "token helper") || !strings.Contains(r.stderr, "set VAULT_TOKEN") {
		t.Errorf("a helper that fails: %d %s", r.code, r.stderr)
	}
}

func TestTokenHelperMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"token_helper = [":          "not HCL or JSON",
		"token_helper = 3":          "token_helper",
		"$ANSIBLE_VAULT;1.1;AES256": "CONFIG_PATH",
		`colour = "red"`:            `"colour" is not known`,
	} {
		home := t.TempDir()
		write(t, filepath.Join(home, ".vault"), text, 0o600)
		r := runAs("vault", map[string]string{"HOME": home, "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_MAX_RETRIES": "0"}, "token", "lookup")
		if r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: %d %s", text, r.code, r.stderr)
		}
		r = runAs("vault", map[string]string{"HOME": home, "VAULT_CONFIG_PATH": os.DevNull}, "print", "token")
		if !strings.Contains(r.stderr, "no token is set") {
			t.Errorf("%q elsewhere: %s", text, r.stderr)
		}
	}
}

func FuzzTokenHelper(f *testing.F) {
	for _, seed := range []string{`token_helper = "/bin/x"`, `{"token_helper":"/bin/x"}`, "a {", "a = 99999999999999999999"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if helper, err := parseHelper(raw); err != nil && helper != "" {
			t.Errorf("a helper %q beside an error %v", helper, err)
		}
	})
}
