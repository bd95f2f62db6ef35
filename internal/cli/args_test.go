package cli

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func testApp() *app {
	return newApp([]string{"strongroom"}, strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
}

func TestRewrite(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"kv get -format=json secret/a", "kv get --format=json secret/a"},
		{"kv get --format=json secret/a", "kv get --format=json secret/a"},
		{"kv get -mount secret -field value a", "kv get --mount secret --field value a"},
		// A value may look like a flag.
		{"kv get -field -x a", "kv get --field -x a"},
		{"kv get -field -mount secret/a", "kv get --field -mount secret/a"},
		{"kv get -field -- a", "kv get --field -- a"},
		// Global flags may stand anywhere, before the command too.
		{"-address http://h kv get -ns team a -format json", "--address http://h kv get --ns team a --format json"},
		// A flag without a value takes none.
		{"write -force -field x sys/rotate", "write --force --field x sys/rotate"},
		{"write -f sys/rotate", "write -f sys/rotate"},
		{"write --f sys/rotate", "write -f sys/rotate"},
		{"operator init -n=1 -t 1", "operator init -n=1 -t 1"},
		{"token create -renewable=false -ttl -1", "token create --renewable=false --ttl -1"},
		// What is data stays data.
		{"kv put secret/a -cas=0 x=-y -", "kv put secret/a --cas=0 x=-y -"},
		{"kv put secret/a -- -x=1 -format=json", "kv put secret/a -- -x=1 -format=json"},
		// A path that is called like a command is a path.
		{"read kv -field x", "read kv --field x"},
		// What no command knows becomes a long flag, for cobra to refuse by name.
		{"kv get -nope a", "kv get --nope a"},
		{"-h", "-h"}, {"-help", "--help"}, {"kv -help", "kv --help"}, {"-version", "--version"}, {"-v", "-v"},
		{"", ""},
		{"__complete kv get -fo", "__complete kv get -fo"},
		{"__complete kv get -mount secret -", "__complete kv get --mount secret -"},
		{"__complete", "__complete"},
	} {
		got := rewrite(testApp().root(), strings.Fields(tc.in))
		if strings.Join(got, " ") != tc.want {
			t.Errorf("rewrite(%q) = %q, want %q", tc.in, strings.Join(got, " "), tc.want)
		}
	}
}

// FuzzRewrite checks that rewriting adds, drops and moves no argument, changes
// nothing but leading dashes, and changes nothing when done again.
func FuzzRewrite(f *testing.F) {
	f.Add("kv get -mount secret -field -x a")
	f.Add("write -f - -- -x")
	f.Add("-address --address -=")
	f.Add("__complete kv -")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		root := testApp().root()
		once := rewrite(root, args)
		if len(once) != len(args) {
			t.Fatalf("%q became %q", args, once)
		}
		for i := range args {
			if strings.TrimLeft(args[i], "-") != strings.TrimLeft(once[i], "-") {
				t.Fatalf("%q became %q", args[i], once[i])
			}
		}
		if twice := rewrite(root, once); !slices.Equal(once, twice) {
			t.Fatalf("%q is not stable: %q, then %q", args, once, twice)
		}
	})
}
