package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/store"
)

// TestPasswordTakenForAHost: a password that is not percent-encoded is refused, and nothing of it is told.
func TestPasswordTakenForAHost(t *testing.T) {
	for _, text := range []string{
		"postgres://u:hun@ter2/secretpw@127.0.0.1:5533/fleet?sslmode=verify-full",
		"postgres://u:hun@ter2/secretpw@127.0.0.1:5533/fleet",
		"postgresql://u:12/?ter2=secretpw@127.0.0.1/fleet?sslmode=disable",
		"postgres://u:hun@ter2secretpw@127.0.0.1/fleet?sslmode=disable",
		"postgres://u:12/secretpw@127.0.0.1/fleet?sslmode=disable",
	} {
		err := Options{Conn: NewConnString(text)}.Validate()
		if err == nil || !strings.Contains(err.Error(), "percent-encode") || strings.Contains(err.Error(), "secretpw") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
	err := Options{Conn: NewConnString("host=127.0.0.1 password=hunter se@cretpw=1 dbname=fleet")}.Validate()
	if err == nil || !strings.Contains(err.Error(), "single quotes") || strings.Contains(err.Error(), "cretpw") {
		t.Errorf("words with a space in the password: %v", err)
	}
	for _, text := range []string{
		"postgres://u:hun%40ter2%2Fsecretpw@127.0.0.1:5533/fleet?search_path=a",
		"postgres://u:p#?ss@127.0.0.1/fleet?sslmode=disable", "postgres:///fleet?host=/run/postgresql", "postgres://u@127.0.0.1?sslmode=disable",
		"host=127.0.0.1 password='hunter se@cret/pw' dbname=fl@eet",
	} {
		if err := (Options{Conn: NewConnString(text)}).Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestFilesOfTheConnectionString: one that is not there, or holds no certificate, is named.
func TestFilesOfTheConnectionString(t *testing.T) {
	absent, empty := filepath.Join(t.TempDir(), "nope.pem"), filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"sslmode=verify-full&sslrootcert=" + absent:                   absent,
		"sslmode=verify-full&sslrootcert=" + empty:                    "sslrootcert",
		"sslmode=verify-full&sslcert=" + absent + "&sslkey=" + absent: absent,
		"sslmode=perhaps": "sslmode",
	} {
		err := Options{Conn: NewConnString("postgres://u:secretpw@127.0.0.1/fleet?" + query)}.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secretpw") {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestPasswordIsWholeOrRefused: whatever a password is, in its own spelling it is refused or it is the password.
func TestPasswordIsWholeOrRefused(t *testing.T) {
	signs := rapid.StringOf(rapid.SampledFrom([]rune("@/?#:,[]=&12a\\'\"ä")))
	for range 100 { // the package has rapid make few checks
		rapid.Check(t, func(t *rapid.T) {
			password := signs.Draw(t, "password")
			cfg, err := Options{Conn: NewConnString("postgres://u:" + password + "@127.0.0.1/db?sslmode=disable")}.withDefaults().parse()
			if err == nil && password != "" && (cfg.Password != password || cfg.Host != "127.0.0.1" || cfg.Database != "db") {
				t.Errorf("%q is read as password %q, host %q and database %q", password, cfg.Password, cfg.Host, cfg.Database)
			}
		})
	}
}

// TestPasswordIsRenewed changes the password of a node's role, and the file that it is read from: new connections are made with
// it, and errors hold neither the old nor the new one.
func TestPasswordIsRenewed(t *testing.T) {
	o := options(t.Name())
	url := func(password string) []byte {
		return []byte("postgres://renewed:" + password + "@" + server.Load().Addr + "/postgres?sslmode=disable")
	}
	sql(t, "create role renewed login password 'canary-old'; create schema "+o.Schema+" authorization renewed")
	o.ConnFile = filepath.Join(t.TempDir(), "conn")
	must(t, os.WriteFile(o.ConnFile, url("canary-old"), 0o600))
	var err error
	o.Conn, err = ReadConnString(o.ConnFile)
	must(t, err)
	s := openTest(t, o)
	set(t, s, "k", "v")
	sql(t, "alter role renewed password 'canary-new'; select pg_terminate_backend(pid) from pg_stat_activity where usename = 'renewed'")
	until(t, "a node with the old password is refused", func() bool {
		_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}})
		if err != nil && strings.Contains(err.Error(), "canary-") {
			t.Errorf("the password is in %v", err)
		}
		return err != nil && strings.Contains(err.Error(), codeBadPassword)
	})
	must(t, os.WriteFile(o.ConnFile, url("canary-new"), 0o600))
	until(t, "it commits and reads again", func() bool {
		_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}})
		if err == nil {
			_, err = s.Get(t.Context(), "k")
		}
		return err == nil
	})
	if text := s.redact("canary-old and canary-new"); strings.Contains(text, "canary") {
		t.Errorf("errors may hold %s", text)
	}
}
