package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// JoinPath puts path elements together with single slashes, leaving empty ones
// out and without a slash at either end, which some endpoints do not take.
func JoinPath(elements ...string) string {
	kept := make([]string, 0, len(elements))
	for _, e := range elements {
		if e = strings.Trim(e, "/"); e != "" {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, "/")
}

// Page limits a list.
type Page struct {
	After string // only names after this one
	Limit int    // at most so many; 0 means all
}

func (p Page) query(kind string) url.Values {
	q := url.Values{kind: {"true"}}
	if p.After != "" {
		q.Set("after", p.After)
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

// Read gets path. Where nothing is there the error is ErrNotFound, and its
// Secret field holds data or warnings that came along (a deleted version's
// metadata, for one).
func (c *Client) Read(ctx context.Context, path string, query url.Values) (*Secret, error) {
	return c.secret(ctx, Request{Path: path, Query: query})
}

// Write sends body, marshalled as JSON, to path. The Secret is nil when the
// server has nothing to answer.
func (c *Client) Write(ctx context.Context, path string, body any) (*Secret, error) {
	if body == nil {
		body = struct{}{}
	}
	return c.secret(ctx, Request{Method: http.MethodPut, Path: path, Body: body})
}

// Patch merges body into what is at path (RFC 7396): a nil value removes its key.
func (c *Client) Patch(ctx context.Context, path string, body any) (*Secret, error) {
	return c.secret(ctx, Request{
		Method: http.MethodPatch, Path: path, Body: body,
		Header: http.Header{"Content-Type": {"application/merge-patch+json"}},
	})
}

// List gives the names right below path; those of folders end in a slash. An
// empty folder is ErrNotFound.
func (c *Client) List(ctx context.Context, path string, page Page) (*Secret, error) {
	return c.secret(ctx, Request{Path: path, Query: page.query("list")})
}

// Scan gives all names below path, at any depth. An empty folder is ErrNotFound.
func (c *Client) Scan(ctx context.Context, path string, page Page) (*Secret, error) {
	return c.secret(ctx, Request{Path: path, Query: page.query("scan")})
}

// Delete deletes path; deleting what is not there is no error. The Secret is nil
// when the server has nothing to answer.
func (c *Client) Delete(ctx context.Context, path string, query url.Values) (*Secret, error) {
	return c.secret(ctx, Request{Method: http.MethodDelete, Path: path, Query: query})
}

// Unwrap takes out what the wrapping token holds; this can be done once. With an
// empty token, the client's own token is the wrapping token.
func (c *Client) Unwrap(ctx context.Context, token Token) (*Secret, error) {
	if token != "" {
		c = c.WithToken(token)
	}
	return c.WithWrapTTL("").secret(ctx, Request{Method: http.MethodPut, Path: "sys/wrapping/unwrap"})
}

// Help gives the help text of a path, as path-help shows it.
func (c *Client) Help(ctx context.Context, path string) (string, error) {
	var out struct {
		Help string `json:"help"`
	}
	err := c.bare(ctx, Request{Path: path, Query: url.Values{"help": {"1"}}}, &out)
	return out.Help, err
}
