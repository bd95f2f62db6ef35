package postgres

import (
	"strings"
	"testing"
)

// TestServerLives goes through what others use: start, settings, kill, restart, standby, promotion.
func TestServerLives(t *testing.T) {
	s, err := Start("log_statement=none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ok(t, s.Remove()) })
	sql(t, s, "create table t as select 1 as n")
	b, err := s.Standby("b")
	ok(t, err)
	t.Cleanup(func() { ok(t, b.Remove()) })
	if got := sql(t, b, "select pg_is_in_recovery()"); got != "t" {
		t.Errorf("a standby says %q", got)
	}
	ok(t, s.Kill())
	if _, err := s.SQL("select 1"); err == nil {
		t.Error("a killed server answers")
	}
	ok(t, b.Promote())
	sql(t, b, "insert into t values (2)")
	if got := sql(t, b, "select pg_is_in_recovery(), count(*) from t"); got != "f|2" {
		t.Errorf("a promoted standby says %q", got)
	}
	ok(t, s.Restart())
	ok(t, s.Abort())
	ok(t, s.Set("work_mem=5MB"))
	ok(t, s.Restart())
	if got := sql(t, s, "select current_setting('work_mem'), n from t"); got != "5MB|1" {
		t.Errorf("after a restart it says %q", got)
	}
	if !strings.Contains(s.URL(), Password) || strings.Contains(s.Socket(), Password) {
		t.Error("the password is not where it should be")
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func sql(t *testing.T, s *Server, text string) string {
	t.Helper()
	out, err := s.SQL(text)
	ok(t, err)
	return out
}
