package server_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

func TestBrowsersOfUnknownOriginsAreRefused(t *testing.T) {
	s := servertest.Start(t)
	from := func(method, origin string, headers ...string) *servertest.Answer {
		t.Helper()
		return s.Do(t, method, "sys/seal-status", "", "", append([]string{"Origin", origin}, headers...)...)
	}
	if a := from("GET", "https://a.example"); a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("while no origin is known: %d %v", a.Status, a.Header)
	}
	if a := from("OPTIONS", "https://a.example"); a.Status != 405 {
		t.Errorf("OPTIONS while no origin is known: %d", a.Status)
	}
	if a := s.Do(t, "POST", "sys/config/cors", servertest.Root, `{"allowed_origins":"https://a.example","allow_credentials":true,"allowed_headers":"X-Mine"}`); a.Status != 204 {
		t.Fatal(a.Status, a.Text())
	}
	a := from("GET", "https://a.example")
	if a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "https://a.example" || a.Header.Get("Access-Control-Allow-Credentials") != "true" || a.Header.Get("Vary") != "Origin" {
		t.Errorf("its origin: %d %v", a.Status, a.Header)
	}
	if a := from("GET", "https://evil.example"); a.Status != 403 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", a.Status, a.Header)
	}
	if a := from("OPTIONS", "https://evil.example", "Access-Control-Request-Method", "GET"); a.Status != 403 {
		t.Errorf("another origin beforehand: %d", a.Status)
	}
	a = from("OPTIONS", "https://a.example", "Access-Control-Request-Method", "PATCH")
	if a.Status != 200 || len(a.Body) > 0 || a.Header.Get("Access-Control-Max-Age") != "300" || a.Header.Get("Access-Control-Allow-Methods") == "" || a.Header.Get("Access-Control-Allow-Headers") == "" {
		t.Errorf("beforehand: %d %q %v", a.Status, a.Body, a.Header)
	}
	if a := from("OPTIONS", "https://a.example", "Access-Control-Request-Method", "TRACE"); a.Status != 405 {
		t.Errorf("a method that there is not: %d", a.Status)
	}
	if a := s.Do(t, "GET", "sys/seal-status", "", ""); a.Status != 200 {
		t.Errorf("who is no browser: %d", a.Status)
	}
	if a := s.Do(t, "DELETE", "sys/config/cors", servertest.Root, "", "Origin", "https://a.example"); a.Status != 204 {
		t.Fatal(a.Status, a.Text())
	}
	if a := from("GET", "https://evil.example"); a.Status != 200 {
		t.Errorf("once it is deleted: %d", a.Status)
	}
}

func TestConfiguredHeadersAreSent(t *testing.T) {
	s := servertest.Start(t)
	if a := s.Do(t, "POST", "sys/config/ui/headers/X-Frame-Options", servertest.Root, `{"values":["DENY"]}`); a.Status != 204 {
		t.Fatal(a.Status, a.Text())
	}
	for what, a := range map[string]*servertest.Answer{
		"an answer":      s.Do(t, "GET", "sys/mounts", servertest.Root, ""),
		"a refusal":      s.Do(t, "GET", "sys/mounts", "", ""),
		"no page at all": s.Do(t, "GET", "../nowhere", "", ""),
	} {
		if got := a.Header.Get("X-Frame-Options"); got != "DENY" {
			t.Errorf("%s has %q", what, got)
		}
	}
	if a := s.Do(t, "DELETE", "sys/config/ui/headers/x-frame-options", servertest.Root, ""); a.Status != 204 || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatal(a.Status, a.Text())
	}
	if got := s.Do(t, "GET", "sys/mounts", servertest.Root, "").Header.Get("X-Frame-Options"); got != "" {
		t.Errorf("it is still sent: %q", got)
	}
}
