// Package hostile holds the real binary to what one machine has to give: memory
// under many large bodies at once, and processor time for what is refused.
package hostile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

const root = "root-of-the-hostile"

var program string

func TestMain(m *testing.M) {
	process.Main(func(dir string) (int, error) {
		var err error
		if program, err = process.Build(dir); err != nil {
			return 1, err
		}
		return m.Run(), nil
	})
}

func dev(t *testing.T) *process.Server {
	t.Helper()
	s, err := process.Dev(program, root)
	if err != nil {
		t.Fatal(err)
	}
	return ends(t, s)
}

// durable is a server on a disk, whose memory holds no secrets, and its root token.
func durable(t *testing.T) (*process.Server, string) {
	t.Helper()
	s, err := process.Durable(program, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ends(t, s), s.RootToken()
}

func ends(t *testing.T, s *process.Server) *process.Server {
	t.Helper()
	t.Cleanup(func() {
		if strings.Contains(s.Output(), "panic") {
			t.Errorf("the server panicked:\n%s", s.Output())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// peak is the most memory that a process has held, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// spent is the processor time that a process has taken, in hundredths of a second.
func spent(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var sum time.Duration
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// large sends the head of a body of 32 MiB, with a space that has a copy be made of it, and as much of it as is taken before
// the answer comes.
func large(addr, token string, piece []byte) (status int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	const size = 32 << 20
	answer := make(chan int, 1)
	go func() {
		resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "POST"})
		if err != nil {
			answer <- 0
			return
		}
		answer <- resp.StatusCode
	}()
	if _, err := fmt.Fprintf(conn, "POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\nContent-Length: %d\r\n\r\n{\"data\":{\"a\": \"", token, size); err != nil {
		return 0, err
	}
	for sent := 15; sent < size-4; {
		select {
		case status := <-answer:
			return status, nil
		default:
		}
		n, err := conn.Write(piece[:min(len(piece), size-4-sent)])
		if sent += n; err != nil {
			return <-answer, nil
		}
	}
	if _, err := io.WriteString(conn, `"}}`+" "); err != nil {
		return <-answer, nil
	}
	return <-answer, nil
}

// callers makes tokens that may write anything; of none there is one that is empty.
func callers(t *testing.T, s *process.Server, root string, n int) []string {
	t.Helper()
	switch n {
	case 0:
		return []string{""}
	case 1:
		return []string{root}
	}
	post(t, s.URL+"/v1/sys/policies/acl/all", root, `{"policy":"path \"*\" { capabilities = [\"create\", \"update\"] }"}`)
	var out []string
	for i := range n {
		id := fmt.Sprintf("caller-%d", i)
		if status := post(t, s.URL+"/v1/auth/token/create", root, `{"policies":["all"],"id":"`+id+`"}`); status != 200 {
			t.Fatalf("making a token: %d", status)
		}
		out = append(out, id)
	}
	return out
}

// flood sends 1,000 bodies of 32 MiB at once and is how often each status was answered.
func flood(t *testing.T, addr string, of []string) map[int]int {
	t.Helper()
	piece := bytes.Repeat([]byte("x"), 64<<10)
	var mu sync.Mutex
	seen := map[int]int{}
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			status, err := large(addr, of[i%len(of)], piece)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			seen[status]++
		})
	}
	all.Wait()
	return seen
}

// TestAThousandLargeBodies sends 1,000 bodies of 32 MiB at once. Of nobody none is
// read; of one token one at a time; of many tokens two are held, and they are parsed and worked on
// one after another. All that the process ever holds stays within 256 MB, also when the next thousand
// follows. Each is answered, and the server serves on. The control is a server that was told to collect
// garbage rarely: it takes more, so that the test would see it.
func TestAThousandLargeBodies(t *testing.T) {
	const most = 256_000_000
	for name, c := range map[string]struct {
		tokens, floods int
		most           int64
		gogc           string
	}{"CVE-2023-6337": {0, 1, most / 2, ""}, "of one token": {1, 1, most, ""}, "of twenty tokens": {20, 3, most, ""}, "control": {20, 1, most, "400"}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", c.gogc)
			s, root := durable(t)
			of := callers(t, s, root, c.tokens)
			for range c.floods {
				seen := flood(t, s.Addr, of)
				t.Logf("answers %v, %d MB at most", seen, peak(t, s.PID())/1_000_000)
				if c.tokens > 0 && seen[200] == 0 {
					t.Error("none was taken")
				}
				for status := range seen {
					if status == 0 || status == 500 {
						t.Errorf("%d answers of %d", seen[status], status)
					}
				}
			}
			if held := peak(t, s.PID()); (held > c.most) != (c.gogc != "") {
				t.Errorf("the process held %d MB at most, and not %d", held/1_000_000, c.most/1_000_000)
			}
			if !process.Answers(s.URL) {
				t.Error("it does not answer any more")
			}
		})
	}
}

// bombs are bodies that cost more to read than to send, within 64 KiB (anybody)
// and within 32 MiB (who has a token).
func bombs(size int) map[string]string {
	return map[string]string{
		"depth": strings.Repeat(`{"a":`, size/5), "lists": `{"a":` + strings.Repeat("[", size-6), "members": "{" + strings.Repeat(`"":0,`, size/5-3) + `"x":0}`,
		"names": distinct(size), "texts": `{"a":[` + strings.Repeat(`"",`, size/3-4) + `""]}`, "number": `{"a":1` + strings.Repeat("0", size-8) + `}`,
		"exponent": `{"a":1e` + strings.Repeat("9", size-9) + `}`, "escapes": `{"a":"` + strings.Repeat(`\u0000`, size/6-2) + `"}`, "quotes": strings.Repeat(`"`, size),
		"space": strings.Repeat(" ", size-2) + "{}", "commas": `{"policies":"` + strings.Repeat(",", size-16) + `"}`, "bad UTF-8": `{"a":"` + strings.Repeat("\xff", size-8) + `"}`,
		"unpaired": `{"a":"` + strings.Repeat(`\ud800`, size/6-2) + `"}`, "in a text": `{"data":"` + strings.Repeat(`{\"a\":`, size/7-2) + `"}`,
	}
}

// distinct is an object of as many members as fit, no two of one name.
func distinct(size int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := 0; b.Len() < size-16; i++ {
		fmt.Fprintf(&b, `"%x":0,`, i)
	}
	return b.String() + `"x":0}`
}

// TestBombsAreCheap sends each bomb many times and asks what processor time a
// refusal took: at most 50 ms, on a machine with other work to do.
func TestBombsAreCheap(t *testing.T) {
	s := dev(t)
	for _, c := range []struct {
		token string
		size  int
		times int
	}{{"", 64 << 10, 40}, {root, 64 << 10, 40}, {root, 2 << 20, 4}} {
		for name, body := range bombs(c.size) {
			before := spent(t, s.PID())
			status := 0
			for range c.times {
				status = post(t, s.URL+"/v1/auth/token/create", c.token, body)
			}
			each := (spent(t, s.PID()) - before) / time.Duration(c.times)
			if each > 50*time.Millisecond {
				t.Errorf("%s of %d bytes took %v of the processor (token %q, answer %d)", name, len(body), each, c.token, status)
			}
			if status >= 500 || c.token == "" && status < 400 {
				t.Errorf("%s of %d bytes: %d", name, len(body), status)
			}
		}
	}
}

func post(t *testing.T, url, token, body string) int {
	t.Helper()
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
