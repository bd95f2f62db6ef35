package chaos

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

var (
	kills = flag.Int("kills", 5, "how often to kill the server")
	cuts  = flag.Int("cuts", 3, "how often to cut the power")
	seed  = flag.Uint64("seed", 0, "what the moments are drawn from; 0 draws one")
)

// bin is the server, and control the build of it that never syncs.
var bin, control string

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeVar); text != "" {
		if err := beNode(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if base := os.Getenv(orphanVar); base != "" {
		if err := beOrphan(base); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	process.Main(func(dir string) (int, error) {
		var err error
		if bin, err = process.Build(dir); err != nil {
			return 1, err
		}
		if control, err = process.Build(dir, "nosync"); err != nil {
			return 1, err
		}
		return m.Run(), nil
	})
}

// drawn is the seed of a run, which is printed.
func drawn(t *testing.T) uint64 {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("run again with -seed=%d", s)
	return s
}

// moments draws how long the server lives each time.
func moments(t *testing.T) func() time.Duration {
	t.Helper()
	r := rand.New(rand.NewPCG(drawn(t), 0))
	return func() time.Duration { return 100*time.Millisecond + time.Duration(r.IntN(500))*time.Millisecond }
}

// life is one life of the server: it starts on the data directory, checks what earlier lives left, and takes load for some
// time until end takes it away. It returns what was lost by the life before, and what the server refused under load.
func life(t *testing.T, program, data, token string, l *ledger, lasts time.Duration, end func(*process.Server)) (_ string, lost []string, refused error) {
	t.Helper()
	s, err := process.Durable(program, data)
	if err != nil {
		return token, []string{fmt.Sprintf("the server does not start: %v", err)}, nil
	}
	if token == "" {
		token = first(t, s)
	}
	c := newClient(s.URL, token)
	lost = c.losses(t, l)
	l.power(true)
	finished, before := make(chan error, 1), l.sum()
	go func() { finished <- c.load(l) }()
	<-time.After(lasts)
	l.grows(before, finished)
	end(s)
	return token, lost, <-finished
}

// first sets up what the load writes to, and returns the root token.
func first(t *testing.T, s *process.Server) string {
	t.Helper()
	token := s.RootToken()
	if err := newClient(s.URL, token).call("POST", "sys/mounts/chaos", `{"type":"kv","options":{"version":"2"}}`, nil); err != nil {
		t.Fatal(err)
	}
	return token
}

func TestKill(t *testing.T) {
	lost, refused, acked := killAgain(t, bin)
	report(t, lost)
	if refused != nil {
		t.Errorf("under load: %v", refused)
	}
	if acked < *kills*writers {
		t.Errorf("only %d writes were acknowledged: this shows nothing", acked)
	}
}

// TestKillControl must lose writes: the same kills, of a server that acknowledges what it has in its memory alone.
func TestKillControl(t *testing.T) {
	forgetful, err := process.Build(t.TempDir(), "nolog")
	must(t, err)
	lost, _, acked := killAgain(t, forgetful)
	if len(lost) == 0 {
		t.Errorf("a server that writes nothing down lost none of %d acknowledged writes in %d kills: the test sees nothing", acked, *kills)
	}
	t.Logf("the control lost as it must: %s", brief(lost))
}

// killAgain runs lives that end with a kill until one has lost something.
func killAgain(t *testing.T, program string) (lost []string, refused error, acked int) {
	t.Helper()
	data, next, l, token := t.TempDir(), moments(t), newLedger(), ""
	kill := func(s *process.Server) {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	}
	for k := range *kills + 1 {
		if k == *kills {
			l.ending()
		}
		var err error
		token, lost, err = life(t, program, data, token, l, next(), kill)
		refused = errors.Join(refused, err)
		if len(lost) > 0 {
			break
		}
	}
	t.Logf("%d kills, %d acknowledged writes", *kills, l.total)
	return lost, refused, l.total
}

func report(t *testing.T, lost []string) {
	t.Helper()
	if len(lost) > 0 {
		t.Errorf("lost: %s", brief(lost))
	}
}

// brief names the first few of what may be thousands.
func brief(lost []string) string {
	const few = 5
	text := strings.Join(lost[:min(few, len(lost))], "\n")
	return fmt.Sprintf("%d in all\n%s", len(lost), text)
}
