package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/client"
)

// completeWithin is how long a shell is kept waiting for suggestions.
const completeWithin = 2 * time.Second

// completer suggests words for a command's first argument, of which word is typed
// already. It need not filter them.
type completer func(c *call, cl *client.Client, word string) ([]string, error)

// completion adapts a completer to cobra. Failures suggest nothing: a shell has no
// place to show them.
func (d command) completion(a *app) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		suggest := d.complete
		if len(args) > 0 {
			suggest = nil
		}
		if len(args) > 0 && d.fields && !strings.HasPrefix(word, "@") && !strings.Contains(word, "=") {
			suggest = fieldsOf(args[0])
		}
		if suggest == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		cl, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := suggest(&call{app: a, ctx: ctx}, cl, word)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return matching(names, word)
	}
}

// fieldsOf suggests the fields that may be written at a path, as the server's help for it has them.
func fieldsOf(path string) completer {
	return func(c *call, cl *client.Client, _ string) ([]string, error) {
		resp, err := cl.Do(c.ctx, client.Request{Path: cleanPath(path), Query: url.Values{"help": {"1"}}})
		if err != nil {
			return nil, err
		}
		return writable(resp.Body)
	}
}

// writable are the fields of the bodies in a help's answer, each with its equals sign.
func writable(help []byte) ([]string, error) {
	type named struct {
		Ref        string                     `json:"$ref"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var answer struct {
		OpenAPI struct {
			Paths map[string]struct {
				Post struct {
					Body struct {
						Content map[string]struct {
							Schema named `json:"schema"`
						} `json:"content"`
					} `json:"requestBody"`
				} `json:"post"`
			} `json:"paths"`
			Components struct {
				Schemas map[string]named `json:"schemas"`
			} `json:"components"`
		} `json:"openapi"`
	}
	if err := json.Unmarshal(help, &answer); err != nil {
		return nil, err
	}
	fields := map[string]bool{}
	for _, at := range answer.OpenAPI.Paths {
		for _, content := range at.Post.Body.Content {
			s := content.Schema
			if s.Ref != "" {
				s = answer.OpenAPI.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
			}
			for field := range s.Properties {
				fields[field+"="] = true
			}
		}
	}
	return sortedKeys(fields), nil
}

// completeFlags has a shell suggest the values of flags that have few.
func (d command) completeFlags(cmd *cobra.Command) {
	for flag, values := range d.values {
		// It fails where there is no such flag, which the test of all commands finds.
		_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return matching(values, word)
		})
	}
}

// matching keeps the names that begin with word. After a folder the shell adds no
// space, so that its contents can be asked for next.
func matching(names []string, word string) (out []string, d cobra.ShellCompDirective) {
	d = cobra.ShellCompDirectiveNoFileComp
	for _, n := range names {
		if strings.HasPrefix(n, word) {
			out = append(out, n)
		}
		if strings.HasSuffix(n, "/") || strings.HasSuffix(n, "=") {
			d |= cobra.ShellCompDirectiveNoSpace
		}
	}
	return out, d
}

// folderOf is what stands before the last slash of a word, with that slash.
func folderOf(word string) string {
	folder, _ := path.Split(word)
	return folder
}

func under(folder string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = folder + n
	}
	return out
}

// completePath suggests mounts, then what a LIST of the folder so far gives.
func completePath(c *call, cl *client.Client, word string) ([]string, error) {
	folder := folderOf(word)
	if folder == "" {
		return visibleMounts(c, cl, "")
	}
	s, err := cl.List(c.ctx, folder, client.Page{})
	return under(folder, s.Keys()), err
}

// complete suggests KV mounts, then the secrets in them.
func (k *kvAt) complete(c *call, cl *client.Client, word string) ([]string, error) {
	folder := folderOf(word)
	if folder == "" && k.mount == "" {
		return visibleMounts(c, cl, "kv")
	}
	t, err := k.resolve(c.ctx, cl, cleanPath(folder))
	if err != nil {
		return nil, err
	}
	s, err := cl.List(c.ctx, t.at("metadata"), client.Page{})
	return under(folder, s.Keys()), err
}

// visibleMounts are the secret engines that the token may know of, of one type or,
// when that is empty, of any. No right beyond a valid token is needed.
func visibleMounts(c *call, cl *client.Client, typ string) ([]string, error) {
	s, err := cl.Read(c.ctx, "sys/internal/ui/mounts", nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for name, v := range inner(s, "secret") {
		m, _ := v.(map[string]any)
		if typ == "" || m["type"] == typ {
			names = append(names, name)
		}
	}
	return names, nil
}

// oneOf suggests words that do not depend on the server.
func oneOf(words ...string) completer {
	return func(*call, *client.Client, string) ([]string, error) { return words, nil }
}

// completeType suggests the types that the server has.
func (k mountKind) completeType(c *call, cl *client.Client, _ string) ([]string, error) {
	kind := "secret"
	if k.auth {
		kind = "auth"
	}
	s, err := cl.List(c.ctx, client.JoinPath(catalogPath, kind), client.Page{})
	return s.Keys(), err
}

func completeAudit(c *call, cl *client.Client, _ string) ([]string, error) {
	s, err := cl.Read(c.ctx, "sys/audit", nil)
	if err != nil {
		return nil, err
	}
	return sortedKeys(s.Data), nil
}

func completePolicy(c *call, cl *client.Client, _ string) ([]string, error) {
	return cl.Sys().Policies(c.ctx)
}

func completeNamespace(c *call, cl *client.Client, _ string) ([]string, error) {
	return cl.Sys().Namespaces(c.ctx)
}

func (k mountKind) complete(c *call, cl *client.Client, _ string) ([]string, error) {
	s, err := cl.Read(c.ctx, k.api, nil)
	if err != nil {
		return nil, err
	}
	return sortedKeys(s.Data), nil
}
