package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/process"
)

// startServer builds the server, starts it on an empty data directory below dir and enables a file audit device.
func startServer(dir string) (*process.Server, error) {
	bin, err := process.Build(dir)
	if err != nil {
		return nil, err
	}
	server, err := process.Durable(bin, filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	t := &target{addr: server.Addr, token: server.RootToken()}
	body := fmt.Sprintf(`{"type":"file","options":{"file_path":%q}}`, filepath.Join(dir, "data", "audit", "audit.log"))
	if _, err := t.call("PUT", "/v1/sys/audit/file", body); err != nil {
		return nil, fmt.Errorf("%w (%v)", err, server.Kill())
	}
	return server, nil
}

// startBare starts this program again as the bare handler.
func startBare() (*process.Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	return process.Start(addr, self, "-serve-bare="+addr)
}

// target is a server under measurement.
type target struct {
	name, addr, token string
	pid               int
	bare              bool // bare marks the handler that is not a secrets manager.
}

// call makes one request outside the measurement and returns the answer.
func (t *target) call(method, path, body string) (string, error) {
	req, err := http.NewRequest(method, "http://"+t.addr+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Vault-Token", t.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 400 {
		err = fmt.Errorf("%s %s answered %d: %s", method, path, resp.StatusCode, text)
	}
	return string(text), err
}
