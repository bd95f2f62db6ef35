package client

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// Stream sends req once and returns the answer's body as it comes, for answers
// that go on until ctx ends; the caller closes it. Config's Timeout and MaxResponse
// do not hold for it. A status from 400 up is an *Error.
func (c *Client) Stream(ctx context.Context, req Request) (io.ReadCloser, error) {
	httpReq, err := c.NewRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, err := c.patient(httpReq, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	answer, err := c.taken(httpReq, req, resp)
	if err != nil {
		return nil, err
	}
	return nil, answer.asError(httpReq.Method, req.Path)
}

// Upload sends req once, with body in place of req.Body, however long that takes:
// Config's Timeout does not hold for it. A status from 400 up is returned as an
// *Error beside the Response.
func (c *Client) Upload(ctx context.Context, req Request, body io.Reader) (*Response, error) {
	httpReq, err := c.NewRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	httpReq.Body, httpReq.ContentLength = io.NopCloser(body), -1
	httpReq.Header.Set("Content-Type", "application/octet-stream")
	resp, err := c.patient(httpReq, req)
	if err != nil {
		return nil, err
	}
	answer, err := c.taken(httpReq, req, resp)
	if err != nil {
		return nil, err
	}
	return answer, answer.asError(httpReq.Method, req.Path)
}

// patient sends a request without a bound on its time.
func (c *Client) patient(httpReq *http.Request, req Request) (*http.Response, error) {
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(httpReq)
	if err != nil {
		return nil, &TransportError{Method: httpReq.Method, Address: c.address, Path: req.Path, Err: withoutURL(err)}
	}
	return resp, nil
}

// maxShortBody is how much is read of an answer that ought to be short, in bytes.
const maxShortBody = 1 << 20

// taken reads a short answer.
func (c *Client) taken(httpReq *http.Request, req Request, resp *http.Response) (*Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxShortBody))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, &TransportError{Method: httpReq.Method, Address: c.address, Path: req.Path, Err: err}
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}
