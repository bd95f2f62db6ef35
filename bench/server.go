package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/engine"
	"github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/process"
)

// startServer starts the server on the store, with a local key slot and a file audit device. Its files lie in dir.
func startServer(bin, dir string, e *engine.Engine) (*process.Server, error) {
	settings := fmt.Sprintf("%s\naudit \"file\" \"file\" {\n  options { file_path = %q }\n}\n", engine.LocalSlot(dir), filepath.Join(dir, "audit.log"))
	return e.Template().Durable(bin, dir, settings)
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
	bare              bool             // bare marks the handler that is not a secrets manager.
	database          *postgres.Server // database is what has the server's store; nil: none, or nothing is known of it.
	logins            []string         // logins are the bodies of logins by AppRole.
	person            string           // person is the token of an entity in groups, with policies that have templates.
	root              string           // root is a token that may read the server's metrics.
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
