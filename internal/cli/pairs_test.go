package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParsePairs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	object := filepath.Join(dir, "o.json")
	for name, text := range map[string]string{file: "from file\n", object: `{"n": 12345678901234567890, "x": "object"}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	big := json.Number("12345678901234567890")
	for _, tc := range []struct {
		name, stdin string
		args        []string
		want        map[string]any
	}{
		{"nothing", "", nil, map[string]any{}},
		{"an empty argument", "", []string{""}, map[string]any{}},
		{"plain", "", []string{"a=1", "b=x=y", "c="}, map[string]any{"a": "1", "b": "x=y", "c": ""}},
		{"a value keeps its spaces", "", []string{"a= x "}, map[string]any{"a": " x "}},
		{"a list", "", []string{"a=1", "a=2", "a=3"}, map[string]any{"a": []any{"1", "2", "3"}}},
		{"a file keeps its last newline", "", []string{"a=@" + file}, map[string]any{"a": "from file\n"}},
		{"an escaped at", "", []string{`a=\@x`}, map[string]any{"a": "@x"}},
		{"a backslash alone", "", []string{`a=\x`}, map[string]any{"a": `\x`}},
		{"standard input as value", "hi\n", []string{"a=-"}, map[string]any{"a": "hi\n"}},
		{"a dash within", "", []string{"a=-x"}, map[string]any{"a": "-x"}},
		{"an object on standard input", `{"a": {"b": [1]}}`, []string{"-", "c=2"},
			map[string]any{"a": map[string]any{"b": []any{json.Number("1")}}, "c": "2"}},
		{"an object in a file", "", []string{"@" + object}, map[string]any{"n": big, "x": "object"}},
		{"a later object wins", "", []string{"x=1", "@" + object}, map[string]any{"n": big, "x": "object"}},
	} {
		got, err := parsePairs(strings.NewReader(tc.stdin), tc.args)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", tc.name, got, err, tc.want)
		}
	}
}

// TestOneLine: below auth/, what is read and is one line has no line end; other values are kept as they are.
func TestOneLine(t *testing.T) {
	const user = "auth/userpass/users/ann"
	for _, tc := range []struct{ path, in, want string }{
		{user, "hunter2\n", "hunter2"},
		{user, "hunter2\r\n", "hunter2"},
		{user, "hunter2", "hunter2"},
		{user, " hunter2 \n", " hunter2 "},
		{user, "a\nb\n", "a\nb\n"},
		{user, "hunter2\n\n", "hunter2\n\n"},
		{user, "\n", ""},
		{"secret/auth/ann", "hunter2\n", "hunter2\n"},
	} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(tc.in), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := parseFor(tc.path, strings.NewReader(tc.in), []string{"a=-", "b=@" + file, "c=x\n"})
		if want := map[string]any{"a": tc.want, "b": tc.want, "c": "x\n"}; err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q at %s: %q, %v", tc.in, tc.path, got, err)
		}
	}
}

func TestParsePairsRefuses(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte("{\"a\":\"\xfe\"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, stdin string
		args        []string
	}{
		{"no equals sign", "", []string{"hunter2"}},
		{"a missing file", "", []string{"a=@/nowhere/at/all"}},
		{"standard input twice", "hunter2", []string{"a=-", "b=-"}},
		{"an array", `["hunter2"]`, []string{"-"}},
		{"two values", `{"a":"hunter2"} {"b":1}`, []string{"-"}},
		{"half an object", `{"a":"hunter2"`, []string{"-"}},
		{"rubbish", `hunter2`, []string{"-"}},
		{"nothing", ``, []string{"-"}},
		{"a binary value on standard input", "hunter2\xff", []string{"a=-"}},
		{"a binary value as argument", "", []string{"a=\xff"}},
		{"a binary key", "", []string{"\xff=a"}},
		{"a binary file", "", []string{"a=@" + binary}},
		{"an object that is not UTF-8", "{\"a\":\"hunter2\xff\"}", []string{"-"}},
		{"a file with an object that is not UTF-8", "", []string{"@" + binary}},
	} {
		got, err := parsePairs(strings.NewReader(tc.stdin), tc.args)
		if err == nil {
			t.Errorf("%s: accepted as %v", tc.name, got)
		} else if tc.stdin != "" && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the value: %v", tc.name, err)
		}
	}
	if _, err := parsePairs(nil, []string{"a=-"}); err == nil {
		t.Error("standard input was read with -non-interactive")
	}
	if got, err := parseStringPairs("", nil, []string{"a=1", "a=2"}); err == nil {
		t.Errorf("a list was taken for a text: %v", got)
	}
}

// TestBinaryValues: what would arrive as something else is not sent, and the hint
// tells what to do with the file at hand.
func TestBinaryValues(t *testing.T) {
	f := newFake(t, cannedAnswers())
	file := filepath.Join(t.TempDir(), "key.der")
	if err := os.WriteFile(file, []byte{0x30, 0x82, 0xff}, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"kv put secret/a k=@" + file, "kv put secret/a k=- <<< \xff", "write old/a k=@" + file, "kv patch secret/a k=@" + file} {
		f.requests = nil
		r := run(t, f, t.TempDir(), line)
		if r.code != exitLocal || len(f.requests) > 0 {
			t.Errorf("%q: exit code %d after %q", line, r.code, f.requests)
		}
		if !strings.Contains(r.stderr, `the value of "k" is not UTF-8 text`) || !strings.Contains(r.stderr, "hint: encode it") {
			t.Errorf("%q: %s", line, r.stderr)
		}
		if strings.Contains(line, file) && !strings.Contains(r.stderr, "base64 < "+file) {
			t.Errorf("%q: the hint does not name the file: %s", line, r.stderr)
		}
	}
}

func FuzzParsePairs(f *testing.F) {
	f.Add("a=1", `{"x":1}`)
	f.Add("-", `{"x":[1,{"y":null}]}`)
	f.Add(`a=\@b`, "")
	f.Fuzz(func(t *testing.T, arg, stdin string) {
		if strings.Contains(arg, "@") && !strings.Contains(arg, `\@`) {
			return // would read files
		}
		data, err := parsePairs(strings.NewReader(stdin), []string{arg})
		if err != nil {
			return
		}
		if _, err := json.Marshal(data); err != nil {
			t.Fatalf("%q gives what cannot be sent: %v", arg, err)
		}
		key, value, ok := strings.Cut(arg, "=")
		if ok && value != "-" && !strings.HasPrefix(value, `\@`) && data[key] != value {
			t.Fatalf("%q gives %v", arg, data)
		}
	})
}
