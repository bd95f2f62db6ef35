package cli

import "testing"

func FuzzLastLogin(f *testing.F) {
	f.Add([]byte(`{"method":"userpass","path":"corp","username":"ann"}`))
	f.Add([]byte(`{"method":"none"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		last := parseLastLogin(raw)
		if last == nil {
			return
		}
		if _, ok := loginMethods()[last.Method]; !ok || last.Path == "" || !oneLine(last.Path+last.Username+last.Role) {
			t.Errorf("%q is taken: %+v", raw, last)
		}
	})
}
