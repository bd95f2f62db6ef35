package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/azure"
	"github.com/hashicorp/vault/api/auth/gcp"
)

// loginVariable of the environment makes the program of these tests one that logs in by an unmodified helper and prints the
// answer. It holds a method, a mount and a role. What else there is to say the helper finds out from the machine it runs on.
const loginVariable = "STRONGROOM_COMPAT_LOGIN"

// logIn is that program; it gives its exit status.
func logIn(how string) int {
	s, err := helped(how)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// helped logs in as the variable says, at the server that VAULT_ADDR names.
func helped(how string) (*vault.Secret, error) {
	var name, mount, role string
	if _, err := fmt.Sscan(how, &name, &mount, &role); err != nil {
		return nil, fmt.Errorf("%s must be a method, a mount and a role: %w", loginVariable, err)
	}
	method, err := helperOf(name, mount, role)
	if err != nil {
		return nil, err
	}
	c, err := vault.NewClient(nil)
	if err != nil {
		return nil, err
	}
	return c.Auth().Login(context.Background(), method)
}

// helperOf is the helper of a method: azure, gcp on an instance, or gcp:ACCOUNT with the right to sign for an account.
func helperOf(name, mount, role string) (vault.AuthMethod, error) {
	name, account, _ := strings.Cut(name, ":")
	switch {
	case name == "azure":
		return azure.NewAzureAuth(role, azure.WithMountPath(mount))
	case name == "gcp" && account == "":
		return gcp.NewGCPAuth(role, gcp.WithMountPath(mount))
	case name == "gcp":
		return gcp.NewGCPAuth(role, gcp.WithMountPath(mount), gcp.WithIAMAuth(account))
	}
	return nil, fmt.Errorf("there is no helper called %q here", name)
}
