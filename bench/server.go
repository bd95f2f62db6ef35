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

// startServer builds the server and starts it on an empty data directory below dir, with a local key slot and a file audit
// device.
func startServer(dir string) (*process.Server, error) {
	bin, err := process.Build(dir)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.hcl")
	text := fmt.Sprintf("seal \"file\" {}\naudit \"file\" \"file\" {\n  options { file_path = %q }\n}\n", filepath.Join(dir, "audit.log"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return process.Durable(bin, filepath.Join(dir, "data"), "-config="+config)
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
