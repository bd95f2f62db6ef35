package servertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// client follows no redirect, so that tests see each answer as it was sent.
var client = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
}

// Answer is one HTTP answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Text is the body as text.
func (a *Answer) Text() string { return string(a.Body) }

// Field is a value deep in a JSON body: Field("data", "keys"). It is nil when
// there is none.
func (a *Answer) Field(names ...string) any {
	var v any
	if json.Unmarshal(a.Body, &v) != nil {
		return nil
	}
	for _, n := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[n]
	}
	return v
}

// String is Field as text; empty when it is none.
func (a *Answer) String(names ...string) string {
	s, _ := a.Field(names...).(string)
	return s
}

// Do sends a request below /v1/ and reads the answer. Headers come in pairs of
// name and value and are added in order. An empty token sends none.
func (s *Server) Do(t testing.TB, method, path, token, body string, headers ...string) *Answer {
	t.Helper()
	a, err := s.Try(method, path, token, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// Try is Do for other goroutines than the test's.
func (s *Server) Try(method, path, token, body string, headers ...string) (*Answer, error) {
	req, err := http.NewRequest(method, s.URL+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	return answerOf(resp)
}

func answerOf(resp *http.Response) (*Answer, error) {
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return &Answer{resp.StatusCode, resp.Header, body}, err
}

// requestID is what an answer names its request by.
var requestID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Want is Do that fails the test unless the status is the one wanted, and shows what the server has logged of a request whose answer does not say why.
func (s *Server) Want(t testing.TB, status int, method, path, token, body string, headers ...string) *Answer {
	t.Helper()
	a := s.Do(t, method, path, token, body, headers...)
	if a.Status == status {
		return a
	}
	if id := requestID.Find(a.Body); a.Status == http.StatusInternalServerError && id != nil {
		for line := range bytes.Lines(s.Log.Bytes()) {
			if bytes.Contains(line, id) {
				t.Logf("%s", line)
			}
		}
	}
	t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.Status, status, a.Body)
	return nil
}

// Raw sends bytes as they are on a connection of their own and reads one
// answer. The method is that of the request in the bytes.
func (s *Server) Raw(t testing.TB, method string, request []byte) *Answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(request); err != nil {
		t.Logf("sending: %v", err) // the server may answer before it has read all
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %q: %v", request[:min(len(request), 120)], err)
	}
	a, err := answerOf(resp)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// RawGet is Raw for a request target exactly as given, with a token.
func (s *Server) RawGet(t testing.TB, method, target, token string) *Answer {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + s.Addr + "\r\nConnection: close\r\n")
	if token != "" {
		b.WriteString("X-Vault-Token: " + token + "\r\n")
	}
	b.WriteString("\r\n")
	return s.Raw(t, method, b.Bytes())
}

// Policy writes a policy into the namespace and makes a token that holds it and
// nothing else; fields are further members of the token's request.
func (s *Server) Policy(t testing.TB, namespace, name, text string, fields ...string) (token string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"policy": text})
	if err != nil {
		t.Fatal(err)
	}
	s.Want(t, 204, "POST", "sys/policies/acl/"+name, Root, string(body), "X-Vault-Namespace", namespace)
	more := strings.Join(append([]string{""}, fields...), ",")
	a := s.Want(t, 200, "POST", "auth/token/create", Root, `{"no_default_policy":true,"policies":["`+name+`"]`+more+`}`, "X-Vault-Namespace", namespace)
	return a.String("auth", "client_token")
}
