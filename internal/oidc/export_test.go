package oidc

// TryTemplate fills a template in with one text for every value, if it is taken.
func TryTemplate(template, value string) (string, bool) {
	if template == "" || checkTemplate(template) != nil {
		return "", false
	}
	out, err := fill(template, func(string) any { return value })
	return out, err == nil
}
