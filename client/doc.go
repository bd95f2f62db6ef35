// Package client speaks the Vault-dialect HTTP API of a Strongroom server, and
// of any server that speaks the same dialect. It owns requests, their retries,
// the errors they may end in, and typed forms of the most used endpoints. It
// depends on the standard library alone.
//
// A [Client] is made from a [Config] and never changes afterwards, so that many
// goroutines may share it. The methods beginning with With return a changed copy.
//
//	cfg, err := client.FromEnv(os.Getenv)
//	if err != nil { … }
//	c, err := client.New(cfg)
//	if err != nil { … }
//	secret, err := c.KV2("secret").Get(ctx, "db/prod")
//	switch {
//	case errors.Is(err, client.ErrNotFound): …
//	case err != nil: …
//	}
//
// # Levels
//
// [Client.Read], [Client.Write], [Client.Patch], [Client.List], [Client.Scan] and
// [Client.Delete] work on every path and answer a [Secret], the dialect's
// envelope. [Client.KV1], [Client.KV2], [Client.Tokens] and [Client.Sys] give
// typed helpers. [Client.Do] sends any request and returns the raw answer.
//
// # Promises
//
// A request is sent again, after a pause that honours Retry-After, when the
// connection was refused or the answer is 429: then nothing was done. Only requests
// that change nothing (GET, HEAD) are sent again after a broken connection or a 5xx
// answer; not after a 503 that says why and has no Retry-After, as a sealed server's, nor after
// such a 429 of a quota of leases: by waiting these do not change. Where there are several addresses, the next one is tried at once, by the same rules, and
// also after any failure to connect. A redirect is followed only to the very same
// scheme and host. Answers over a size limit are refused. The token is printed
// by no verb of package fmt and by no marshaller: see [Token].
package client
