package aws

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// question is what a client has signed (Signature Version 4), as far as it is the
// client's to say: the server writes the request, and the signature holds only if the client
// has signed the same.
type question struct {
	header http.Header
	body   string
	auth   authorization
}

// authorization is what the header of that name says.
type authorization struct {
	region string
	signed []string // names of headers, in small letters
}

// bodies are the two ways to write the one question.
func bodies() []string {
	return []string{"Action=GetCallerIdentity&Version=2011-06-15", "Version=2011-06-15&Action=GetCallerIdentity"}
}

const serverIDHeader = "X-Vault-Aws-Iam-Server-Id"

// maxPart bounds each part of a question, in bytes.
const maxPart = 32 << 10

// allowedHeaders are those that a question may have. What is not here could have STS
// read or answer it differently.
func allowedHeaders() []string {
	return []string{"Authorization", "Content-Length", "Content-Type", "Host", "User-Agent", "X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-User-Agent", serverIDHeader}
}

func invalid(field, what string) *api.Error { return api.Errorf(api.Invalid, "%s: %s", field, what) }

// decode reads a part of a question, in base64.
func decode(field, text string) ([]byte, error) {
	if len(text) > maxPart {
		return nil, invalid(field, "is too long")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid(field, "must be base64")
	}
	return b, nil
}

// parse reads the question of a login.
func (q *Login) parse(conf *Config) (*question, error) {
	if q.Method != http.MethodPost {
		return nil, invalid("iam_http_request_method", "must be POST")
	}
	target, err := decode("iam_request_url", q.URL)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(string(target)); err != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return nil, invalid("iam_request_url", "must be the address of STS, with nothing behind the host") // who is asked the operator says
	}
	body, err := decode("iam_request_body", q.Body)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(bodies(), string(body)) {
		return nil, invalid("iam_request_body", "must ask for GetCallerIdentity of version 2011-06-15, and for nothing else")
	}
	header, err := parseHeaders(q.Headers)
	if err != nil {
		return nil, err
	}
	out := &question{header: header, body: string(body)}
	return out, out.check(conf)
}

// parseHeaders reads headers: an object, as JSON in base64 or as it is, of texts or lists of
// one text. A name that occurs twice, in any spelling, is refused.
func parseHeaders(raw any) (http.Header, error) {
	const field = "iam_request_headers"
	text, isText := raw.(string)
	b := []byte(text)
	var err error
	if !isText {
		if b, err = json.Marshal(raw); err != nil {
			return nil, invalid(field, "must be an object")
		}
	} else if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		if b, err = decode(field, text); err != nil {
			return nil, err
		}
	}
	if len(b) > maxPart {
		return nil, invalid(field, "is too long")
	}
	if _, err := api.ParseBodyWithin(b, 200); err != nil {
		return nil, invalid(field, "must be an object of texts, and name nothing twice")
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, invalid(field, "must be an object of texts")
	}
	header := http.Header{}
	for name, raw := range all {
		value, ok := headerValue(raw)
		key := http.CanonicalHeaderKey(name)
		if !ok || !headerForm().MatchString(name) || header[key] != nil {
			return nil, invalid(field, "must be an object of single texts, and name nothing twice")
		}
		header[key] = []string{value}
	}
	return header, nil
}

// headerValue is a text, or the one text of a list; a number as it is written.
func headerValue(raw json.RawMessage) (string, bool) {
	var text string
	var list []string
	var number json.Number
	switch {
	case json.Unmarshal(raw, &text) == nil:
	case json.Unmarshal(raw, &list) == nil && len(list) == 1:
		text = list[0]
	case json.Unmarshal(raw, &number) == nil:
		text = number.String()
	default:
		return "", false
	}
	return text, !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

var (
	regionForm = api.Regexp(`^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)
	// authForm is the header Authorization of Signature Version 4, for STS.
	authForm = api.Regexp(`^AWS4-HMAC-SHA256 Credential=[A-Za-z0-9]{4,128}/[0-9]{8}/([a-z0-9-]{1,64})/sts/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=[0-9a-f]{64}$`)
)

// maxSigned bounds the list of signed headers, in bytes.
const maxSigned = 1000

// check demands that a question has what it must have, and nothing that it may not.
func (q *question) check(conf *Config) error {
	const field = "iam_request_headers"
	for name := range q.header {
		if !slices.Contains(allowedHeaders(), name) && !slices.ContainsFunc(conf.Headers, func(h string) bool { return http.CanonicalHeaderKey(h) == name }) {
			return &api.Error{Kind: api.Invalid, Message: field + ": has a header that is not allowed", Hint: "allowed_sts_header_values of config/client names further ones"}
		}
	}
	m := authForm().FindStringSubmatch(q.header.Get("Authorization"))
	if m == nil || len(m[2]) > maxSigned || !regionForm().MatchString(m[1]) {
		return invalid(field, "Authorization is not a signature, of version 4, of a question to STS")
	}
	q.auth = authorization{region: m[1], signed: strings.Split(m[2], ";")}
	for _, name := range []string{"host", "x-amz-date"} {
		if !slices.Contains(q.auth.signed, name) {
			return invalid(field, "the signature must cover host and x-amz-date")
		}
	}
	if kind := q.header.Get("Content-Type"); kind != "" && !strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
		return invalid(field, "Content-Type must be that of a form")
	}
	if conf.Region != "" && q.auth.region != conf.Region {
		return invalid(field, "the signature is for another region")
	}
	return q.checkServerID(conf.ServerID)
}

// checkServerID demands that a question was signed for this server, where the operator
// says so: another server that was asked with it cannot pass it on.
func (q *question) checkServerID(want string) error {
	const field = "iam_request_headers"
	if want == "" {
		return nil
	}
	if q.header.Get(serverIDHeader) != want {
		return invalid(field, "X-Vault-AWS-IAM-Server-ID is missing, or not this server's")
	}
	if !slices.Contains(q.auth.signed, strings.ToLower(serverIDHeader)) {
		return invalid(field, "the signature must cover X-Vault-AWS-IAM-Server-ID")
	}
	return nil
}

// endpoint is where the question is asked. What the client has said of it is not looked
// at, but for the name of a region, of which AWS's own address is made.
func (q *question) endpoint(conf *Config) string {
	switch {
	case conf.ClientRegion && strings.HasPrefix(q.auth.region, "cn-"):
		return "https://sts." + q.auth.region + ".amazonaws.com.cn"
	case conf.ClientRegion:
		return "https://sts." + q.auth.region + ".amazonaws.com"
	case conf.Endpoint != "":
		return strings.TrimSuffix(conf.Endpoint, "/")
	}
	return usualEndpoint
}

var errHost = errors.New("the question is for another host")
