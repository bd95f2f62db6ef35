package outbound

import (
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for text, want := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/t/v2.0?x=1": true, "http://127.0.0.1:8080/keys": true, "http://localhost/keys": true, "http://[::1]/keys": true,
		"": false, "login.example.com": false, "http://login.example.com": false, "http://127.0.0.1.example.com": false, "https://u@login.example.com": false, "https://login.example.com/#x": false,
		"ftp://login.example.com": false, "ftp://localhost/keys": false, "https:///keys": false, "file:///keys": false, "http://localhost.example.com": false, "http://10.0.0.1": false, "javascript:alert(1)": false, "https://a b": false,
		"https://login.example.com:8443": true, "https://:443": false, "https://login.example.com:0": false, "https://login.example.com:70000": false, "https://login.example.com/#": false,
	} {
		if err := CheckURL(text); (err == nil) != want || err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
		if err := CheckBase(text); (err == nil) != (want && !strings.Contains(text, "?")) {
			t.Errorf("%q, before a path: %v", text, err)
		}
	}
	if long := "https://login.example.com/" + strings.Repeat("x", MaxBase); CheckURL(long) != nil || CheckBase(long) == nil {
		t.Error("the length of an address before a path is not bounded, or that of any is")
	}
}
