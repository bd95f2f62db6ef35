package mfa

// ParsePayload is parsePayload.
var ParsePayload = parsePayload
