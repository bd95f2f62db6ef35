package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

const (
	keyID  = "AKIDEXAMPLE"
	secret = "a secret key of nobody"
	date   = "20260301"
	now    = "20260301T120000Z"
)

// signature is that of Signature Version 4 over a question to STS.
func signature(region, host, body string, header http.Header, signed []string) string {
	var canonical strings.Builder
	for _, name := range signed {
		value := header.Get(name)
		if name == "host" {
			value = host
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.TrimSpace(value))
	}
	request := "POST\n/\n\n" + canonical.String() + "\n" + strings.Join(signed, ";") + "\n" + sum(body)
	scope := date + "/" + region + "/sts/aws4_request"
	key := keyed([]byte("AWS4"+secret), date)
	for _, part := range []string{region, "sts", "aws4_request"} {
		key = keyed(key, part)
	}
	return hex.EncodeToString(keyed(key, "AWS4-HMAC-SHA256\n"+now+"\n"+scope+"\n"+sum(request)))
}

// sts answers questions that are signed, as STS does, and is strict about them.
type sts struct {
	*testing.T
	url, host string
	asked     int
	answer    string // in place of the usual one
	status    int    // 0: 200
	kind      string // content type
}

const answerForm = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>%s</Arn>
    <UserId>%s</UserId>
    <Account>%s</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata><RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ResponseMetadata>
</GetCallerIdentityResponse>
`

func startSTS(t *testing.T) *sts {
	t.Helper()
	s := &sts{T: t, kind: "text/xml"}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.url, s.host = h.URL, strings.TrimPrefix(h.URL, "http://")
	s.is("arn:aws:sts::123456789012:assumed-role/Web/i-1", "AROAEXAMPLE:i-1", "123456789012")
	return s
}

// is sets who has signed.
func (s *sts) is(arn, user, account string) { s.answer = fmt.Sprintf(answerForm, arn, user, account) }

var parts = regexp.MustCompile(`Credential=(\w+)/(\d+)/([\w-]+)/sts/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=(\w+)`)

func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked++
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.Error(err)
	}
	m := parts.FindStringSubmatch(r.Header.Get("Authorization"))
	if r.Method != http.MethodPost || r.URL.String() != "/" || r.Host != s.host || m == nil || r.Header.Get("Accept") != "" {
		s.Errorf("was asked %s %s of %s with %v", r.Method, r.URL, r.Host, r.Header)
		return
	}
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	if m[1] != keyID || m[5] != signature(m[3], r.Host, string(body), r.Header, strings.Split(m[4], ";")) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", s.kind)
	w.WriteHeader(max(s.status, 200))
	if _, err := io.WriteString(w, s.answer); err != nil {
		s.Error(err)
	}
}

type fields = authtest.Fields

// form is a question as a client signs it, which a test may change before and after.
type form struct {
	method, url, body, region string
	header                    http.Header
	signed                    []string
}

// sign makes the fields of a login.
func (s *sts) sign(change func(*form), after func(fields)) fields {
	f := &form{method: "POST", url: "https://sts.amazonaws.com/", body: bodies()[0], region: "us-east-1", signed: []string{"content-type", "host", "x-amz-date", "x-vault-aws-iam-server-id"},
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}, "X-Amz-Date": {now}, serverIDHeader: {"vault.example"}, "User-Agent": {"sdk"}}}
	if change != nil {
		change(f)
	}
	f.header["Authorization"] = []string{fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/sts/aws4_request, SignedHeaders=%s, Signature=%s",
		keyID, date, f.region, strings.Join(f.signed, ";"), signature(f.region, s.host, f.body, f.header, f.signed))}
	headers, err := json.Marshal(f.header)
	if err != nil {
		s.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	out := fields{"role": "web", "iam_http_request_method": f.method, "iam_request_url": b64([]byte(f.url)), "iam_request_body": b64([]byte(f.body)), "iam_request_headers": b64(headers)}
	if after != nil {
		after(out)
	}
	return out
}

// mounted is a mount of the method.
type mounted struct{ *authtest.Mount }

func open(t testing.TB) *mounted { return &mounted{authtest.Open(t, Engine)} }

func (m *mounted) login(f fields) (*api.Auth, error) {
	m.Helper()
	return m.Login("login", f)
}
