package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/strongroom/strongroom/client"
)

func Example() {
	// A server with one secret.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/secret/data/db" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"data":{"data":{"user":"app"},"metadata":{"version":3,"created_time":"2026-01-02T03:04:05Z"}}}`)
	}))
	defer server.Close()

	c, err := client.New(client.Config{Address: server.URL, Token: "s.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := c.KV2("secret").Get(context.Background(), "db")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(secret.Data["user"], secret.Metadata.Version)

	_, err = c.KV2("secret").Get(context.Background(), "other")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	fmt.Println(c.Token())
	// Output:
	// app 3
	// true
	// [redacted]
}
