package aws

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

const webRole = "arn:aws:iam::123456789012:role/Web"

// furnished is a mount that asks an STS, with a role for an IAM role.
func furnished(t *testing.T) (*mounted, *sts) {
	t.Helper()
	m, s := open(t), startSTS(t)
	m.Must(api.Write, "config/client", fields{"sts_endpoint": s.url, "iam_server_id_header_value": "vault.example"})
	m.Must(api.Write, "role/web", fields{"bound_iam_principal_arn": webRole, "token_policies": "dev", "token_ttl": "1h"})
	return m, s
}

func TestLogin(t *testing.T) {
	m, s := furnished(t)
	a, err := m.login(s.sign(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	id := m.Must(api.Read, "role/web", nil).(*Role).ID
	want := map[string]string{"auth_type": "iam", "account_id": "123456789012", "canonical_arn": webRole, "client_arn": "arn:aws:sts::123456789012:assumed-role/Web/i-1", "client_user_id": "AROAEXAMPLE", "role_id": id}
	for k, v := range want {
		if a.Metadata[k] != v || v == "" {
			t.Errorf("metadata %s is %q, want %q", k, a.Metadata[k], v)
		}
	}
	if a.Alias.Name != id || a.DisplayName != "aws-Web" || a.TTL != time.Hour {
		t.Errorf("answers %+v, alias %+v", a, a.Alias)
	}
	for alias, want := range map[string]string{byUniqueID: "AROAEXAMPLE", byCanonical: webRole, byFull: "arn:aws:sts::123456789012:assumed-role/Web/i-1", byRole: id} {
		m.Must(api.Write, "config/identity", fields{"iam_alias": alias})
		if a, err := m.login(s.sign(nil, nil)); err != nil || a.Alias.Name != want {
			t.Errorf("%s: %+v, %v", alias, a, err)
		}
	}
	m.Must(api.Write, "config/identity", fields{"iam_alias": "role_id", "iam_metadata": "account_id,auth_type,inferred_entity_id"})
	if a, err := m.login(s.sign(nil, nil)); err != nil || a.Alias.Name != id || a.Metadata["role_id"] != id || !maps.Equal(a.Alias.Metadata, map[string]string{"account_id": "123456789012", "auth_type": "iam"}) {
		t.Errorf("with chosen metadata: %+v, alias %+v, %v", a, a.Alias, err)
	}
	m.Must(api.Write, "config/identity", fields{"iam_metadata": []string{"default"}})
	if a, err := m.login(s.sign(nil, nil)); err != nil || !maps.Equal(a.Alias.Metadata, want) {
		t.Errorf("with all metadata: alias %+v, %v", a.Alias, err)
	}
	if a, err := m.login(s.sign(nil, func(f fields) { delete(f, "role") })); err != nil || a.Metadata["role_id"] != id || a.LoginRole != "web" {
		t.Errorf("by the name of the IAM role: %v", err)
	}
	object := s.sign(nil, nil)
	text, err := base64.StdEncoding.DecodeString(object["iam_request_headers"].(string))
	if err != nil {
		t.Fatal(err)
	}
	object["iam_request_headers"] = string(text)
	if _, err := m.login(object); err != nil {
		t.Errorf("with headers as JSON: %v", err)
	}
	if _, err := m.login(s.sign(func(f *form) { f.body = bodies()[1] }, nil)); err != nil {
		t.Errorf("with the question the other way round: %v", err)
	}
}

// The client has no say in whom the server asks and what, nor in what the answer is:
// nothing of that is even asked.
func TestCVE_2020_16250_QuestionIsTheServers(t *testing.T) {
	m, s := furnished(t)
	b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	header := func(name, value string) func(*form) {
		return func(f *form) { f.header[name] = []string{value} }
	}
	signedAs := func(signed ...string) func(*form) { return func(f *form) { f.signed = signed } }
	for name, c := range map[string]struct {
		change func(*form)
		after  func(fields)
	}{
		"GET":                   {nil, func(f fields) { f["iam_http_request_method"] = "GET" }},
		"another action":        {func(f *form) { f.body = "Action=AssumeRole&Version=2011-06-15" }, nil},
		"another parameter":     {func(f *form) { f.body += "&x=y" }, nil},
		"an action twice":       {func(f *form) { f.body += "&Action=AssumeRole" }, nil},
		"spaces":                {func(f *form) { f.body += " " }, nil},
		"a path":                {func(f *form) { f.url = "https://sts.amazonaws.com/x" }, nil},
		"a query":               {func(f *form) { f.url = "https://sts.amazonaws.com/?Action=AssumeRole" }, nil},
		"an empty query":        {func(f *form) { f.url = "https://sts.amazonaws.com/?" }, nil},
		"a fragment":            {func(f *form) { f.url = "https://sts.amazonaws.com/#x" }, nil},
		"a user":                {func(f *form) { f.url = "https://a@sts.amazonaws.com/" }, nil},
		"JSON wanted":           {header("Accept", "application/json"), nil},
		"an encoding":           {header("Accept-Encoding", "gzip"), nil},
		"a target":              {header("X-Amz-Target", "x"), nil},
		"an override":           {header("X-Http-Method-Override", "GET"), nil},
		"a content type":        {header("Content-Type", "application/x-amz-json-1.1"), nil},
		"a header with lines":   {header("User-Agent", "a\r\nHost: b"), nil},
		"a header twice":        {func(f *form) { f.header["user-agent"] = []string{"x"} }, nil},
		"a header of two":       {func(f *form) { f.header["User-Agent"] = []string{"x", "y"} }, nil},
		"a date not signed":     {signedAs("host", "x-vault-aws-iam-server-id"), nil},
		"a host not signed":     {signedAs("x-amz-date", "x-vault-aws-iam-server-id"), nil},
		"a region with a host":  {func(f *form) { f.region = "us-east-1.example.com" }, nil},
		"a region that is none": {func(f *form) { f.region = "x" }, nil},
		"a region of slashes":   {func(f *form) { f.region = "x/y" }, nil},
		"no headers":            {nil, func(f fields) { delete(f, "iam_request_headers") }},
		"headers as a list":     {nil, func(f fields) { f["iam_request_headers"] = []string{"x"} }},
		"no base64":             {nil, func(f fields) { f["iam_request_body"] = "!" }},
		"no URL":                {nil, func(f fields) { f["iam_request_url"] = b64("http://[") }},
		"an EC2 document":       {nil, func(f fields) { f["pkcs7"] = "x" }},
	} {
		if _, err := m.login(s.sign(c.change, c.after)); api.KindOf(err) != api.Invalid || s.asked != 0 {
			t.Errorf("%s: %v, asked %d times", name, err, s.asked)
		}
	}
	if _, err := m.login(s.sign(func(f *form) { f.header["Host"] = []string{"sts.example.com"} }, nil)); api.KindOf(err) != api.Denied || s.asked != 0 {
		t.Errorf("for another host: %v", err)
	}
	if _, err := m.login(s.sign(func(f *form) { f.url = "https://evil.example.com" }, nil)); err != nil || s.asked != 1 {
		t.Errorf("whatever address the client names, the operator's is asked: %v", err)
	}
}

// What is not signed by somebody whom STS knows, or was changed since.
func TestSignature(t *testing.T) {
	m, s := furnished(t)
	f := s.sign(nil, nil)
	f["iam_request_body"] = base64.StdEncoding.EncodeToString([]byte(bodies()[1]))
	if _, err := m.login(f); api.KindOf(err) != api.Denied {
		t.Errorf("changed: %v", err)
	}
	s.status = 302
	if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Denied {
		t.Errorf("a redirect: %v", err)
	}
	for _, status := range []int{500, 503, 429} {
		s.status = status
		if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Unavailable {
			t.Errorf("status %d: %v", status, err)
		}
	}
	m.Must(api.Write, "config/client", fields{"sts_endpoint": "http://127.0.0.1:1"})
	if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// A question that was signed for another server, or for none, is not taken.
func TestServerID(t *testing.T) {
	m, s := furnished(t)
	for name, change := range map[string]func(*form){
		"another's":  func(f *form) { f.header[serverIDHeader] = []string{"other.example"} },
		"none":       func(f *form) { delete(f.header, serverIDHeader) },
		"not signed": func(f *form) { f.signed = []string{"host", "x-amz-date"} },
	} {
		if _, err := m.login(s.sign(change, nil)); api.KindOf(err) != api.Invalid || s.asked != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.Must(api.Write, "config/client", fields{"iam_server_id_header_value": ""})
	if _, err := m.login(s.sign(func(f *form) { delete(f.header, serverIDHeader); f.signed = []string{"host", "x-amz-date"} }, nil)); err != nil {
		t.Errorf("none, where none is asked for: %v", err)
	}
	m.Must(api.Write, "config/client", fields{"sts_region": "eu-west-1"})
	if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Invalid {
		t.Errorf("for another region: %v", err)
	}
	m.Must(api.Write, "config/client", fields{"allowed_sts_header_values": "x-custom"})
	if _, err := m.login(s.sign(func(f *form) { f.region = "eu-west-1"; f.header["X-Custom"] = []string{"y"} }, nil)); err != nil {
		t.Errorf("with a header that the operator allows: %v", err)
	}
}

// Who it is, is what STS says, in one form alone; a role of the same name in another
// account is another.
func TestCVE_2025_59048_WhoItIs(t *testing.T) {
	m, s := furnished(t)
	const role, user, account = "arn:aws:sts::123456789012:assumed-role/Web/i-1", "AROAEXAMPLE:i-1", "123456789012"
	usual := s.answer
	for name, c := range map[string][3]string{
		"another account":      {"arn:aws:sts::210987654321:assumed-role/Web/i-1", user, "210987654321"},
		"accounts that differ": {role, user, "210987654321"},
		"another name":         {"arn:aws:sts::123456789012:assumed-role/Web2/i-1", user, account},
		"in small letters":     {"arn:aws:sts::123456789012:assumed-role/web/i-1", user, account},
		"a user of that name":  {"arn:aws:iam::123456789012:user/Web", "AIDAEXAMPLE", account},
		"another partition":    {"arn:aws-cn:sts::123456789012:assumed-role/Web/i-1", user, account},
		"the account itself":   {"arn:aws:iam::123456789012:root", account, account},
		"a federated user":     {"arn:aws:sts::123456789012:federated-user/Web", "123456789012:Web", account},
		"a session of slashes": {"arn:aws:sts::123456789012:assumed-role/Web/a/b", user, account},
		"no ARN":               {"Web", user, account},
		"no user":              {role, "", account},
	} {
		s.is(c[0], c[1], c[2])
		if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"JSON": `{"GetCallerIdentityResponse":{}}`, "another document": strings.ReplaceAll(usual, "GetCallerIdentityResponse", "X"), "without a namespace": strings.Replace(usual, ` xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`, "", 1),
		"two answers": usual + usual, "text behind": usual + "x", "two ARNs": strings.Replace(usual, "</Arn>", "</Arn><Arn>arn:aws:iam::123456789012:root</Arn>", 1),
		"two results": strings.Replace(usual, "<ResponseMetadata>", "<GetCallerIdentityResult></GetCallerIdentityResult><ResponseMetadata>", 1), "empty": "",
	} {
		s.answer = text
		if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.answer, s.kind = usual, "application/json"
	if _, err := m.login(s.sign(nil, nil)); api.KindOf(err) != api.Denied {
		t.Errorf("as JSON: %v", err)
	}
	s.kind = "text/xml; charset=utf-8"
	if _, err := m.login(s.sign(nil, func(f fields) { f["role"] = "none" })); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
		t.Errorf("a role that is none: %v", err)
	}
	if _, err := m.login(s.sign(nil, nil)); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}

func TestPrincipals(t *testing.T) {
	const account = "arn:aws:iam::123456789012:"
	for _, c := range []struct {
		bound, arn string
		in         bool
	}{
		{account + "role/path/to/Web", account + "role/Web", true}, {account + "role/W*", account + "role/Web", true}, {account + "role/*", account + "role/Web", true}, {account + "role/*", account + "user/Web", false},
		{account + "user/ops/*", account + "user/ops/ann", true}, {account + "user/ops/*", account + "user/ann", false}, {account + "user/ann", account + "user/ann", true}, {account + "user/ann", account + "user/anna", false},
		{"arn:aws:iam::123456789013:role/*", account + "role/Web", false},
	} {
		list, err := principals([]string{c.bound})
		if got := err == nil && (&role{Principals: list}).lets(&caller{Principal: c.arn}); got != c.in || err != nil {
			t.Errorf("%s lets %s in: %v, %v", c.bound, c.arn, got, err)
		}
	}
	for _, bad := range []string{"", "*", "arn:aws:iam::*", "arn:aws:iam::*:role/Web", "arn:aws:iam::123456789012:*", account + "group/x", account + "role/", account + "role/a*b", account + "role/a/*", account + "role/a**", "arn:aws:iam::12345678901:role/a",
		account + "user/" + strings.Repeat("x", maxARN) + "*"} {
		if list, err := principals([]string{bad}); err == nil {
			t.Errorf("%s is taken as %v", bad, list)
		}
	}
	if (&role{}).lets(&caller{Principal: webRole}) {
		t.Error("a row that says nothing lets somebody in")
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		conf         Config
		region, want string
	}{
		{Config{}, "eu-west-1", "https://sts.amazonaws.com"}, {Config{Endpoint: "https://sts.x/"}, "eu-west-1", "https://sts.x"},
		{Config{ClientRegion: true, Endpoint: "https://sts.x"}, "eu-west-1", "https://sts.eu-west-1.amazonaws.com"}, {Config{ClientRegion: true}, "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn"},
	} {
		q := &question{auth: authorization{region: c.region}}
		if got := q.endpoint(&c.conf); got != c.want {
			t.Errorf("%+v: %s, want %s", c.conf, got, c.want)
		}
	}
}

func TestRenew(t *testing.T) {
	m, s := furnished(t)
	a, err := m.login(s.sign(nil, nil))
	if err != nil || a.TTL != time.Hour {
		t.Fatal(a, err)
	}
	m.Renews(a, "as it was", true)
	m.Must(api.Write, "role/web", fields{"bound_iam_principal_arn": webRole + "2"})
	m.Renews(a, "where it is no longer bound", false)
	m.Must(api.Delete, "role/web", nil)
	m.Renews(a, "where the role is gone", false)
}

func TestWhatIsKept(t *testing.T) {
	m, s := furnished(t)
	for name, f := range map[string]fields{"plain": {"sts_endpoint": "http://sts.example.com"}, "path": {"sts_endpoint": "https://a/b"}, "user": {"sts_endpoint": "https://a:b@c"}, "region": {"sts_region": "x"},
		"id": {"iam_server_id_header_value": "a\nb"}, "header": {"allowed_sts_header_values": "accept"}, "name": {"allowed_sts_header_values": "a b"}} {
		if _, err := m.Do(api.Write, "config/client", f); api.KindOf(err) != api.Invalid {
			t.Errorf("config, %s: %v", name, err)
		}
	}
	for _, field := range []string{"bound_account_id", "bound_region", "bound_ami_id", "bound_vpc_id", "bound_subnet_id", "bound_iam_role_arn", "bound_iam_instance_profile_arn", "bound_ec2_instance_id", "role_tag"} {
		m.Invalid("role/web", fields{"bound_iam_principal_arn": webRole, field: "x"}, field+": is not supported")
	}
	for name, f := range map[string]fields{"nobody": {}, "ec2": {"bound_iam_principal_arn": webRole, "auth_type": "ec2"}, "unique": {"bound_iam_principal_arn": webRole, "resolve_aws_unique_ids": true},
		"inferred": {"bound_iam_principal_arn": webRole, "inferred_entity_type": "ec2_instance"}, "root": {"bound_iam_principal_arn": webRole, "policies": "root"}} {
		if _, err := m.Do(api.Write, "role/x", f); api.KindOf(err) != api.Invalid {
			t.Errorf("role, %s: %v", name, err)
		}
	}
	if c := m.Must(api.Read, "config/client", nil).(*Config); c.Endpoint != s.url || c.ServerID != "vault.example" {
		t.Errorf("is read as %+v", c)
	}
	m.Must(api.Delete, "config/client", nil)
	if c := m.Must(api.Read, "config/client", nil).(*Config); c.Endpoint != "" {
		t.Errorf("is read as %+v", c)
	}
	for field, v := range map[string]string{"iam_alias": "x", "ec2_alias": "x", "iam_metadata": "x"} {
		if _, err := m.Do(api.Write, "config/identity", fields{field: v}); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%s of x: %v", field, err)
		}
	}
	r := m.Must(api.Read, "role/WEB", nil).(*Role)
	m.Must(api.Write, "role/web", fields{"ttl": 60, "auth_type": "iam", "resolve_aws_unique_ids": false})
	if again := m.Must(api.Read, "role/web", nil).(*Role); again.ID != r.ID || again.TokenTTL.Seconds() != 60 || again.Principals[0] != webRole {
		t.Errorf("is read as %+v, was %+v", again, r)
	}
	if k := m.Must(api.List, "roles", nil).(*api.Keys); len(k.Keys) != 1 {
		t.Errorf("listed: %v", k.Keys)
	}
	if _, err := m.Do(api.Read, "role/none", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("one that is not there: %v", err)
	}
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{`{"Authorization":["x"]}`, `{"a":"b","A":"c"}`, "e30=", `{"a":1}`, "[]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		header, err := parseHeaders(text)
		for name, values := range header {
			if err == nil && (len(values) != 1 || strings.ContainsAny(name+values[0], "\r\n\x00")) {
				t.Errorf("%q is %q", name, values)
			}
		}
	})
}

func FuzzCaller(f *testing.F) {
	f.Add([]byte(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/a</Arn><UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseCaller(text); err == nil && !strings.HasPrefix(c.Principal, "arn:aws") {
			t.Errorf("%q is %+v", text, c)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20260301/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, text string) {
		q := &question{header: map[string][]string{"Authorization": {text}}}
		if q.check(&Config{}) == nil {
			if e := q.endpoint(&Config{ClientRegion: true}); !strings.HasSuffix(e, ".amazonaws.com") && !strings.HasSuffix(e, ".amazonaws.com.cn") || !isEndpoint(e) {
				t.Errorf("%q asks %s", text, e)
			}
		}
	})
}
