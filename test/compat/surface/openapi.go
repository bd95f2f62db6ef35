package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// document is as much of an OpenAPI document as the comparison reads.
type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // Type is a name, or since OpenAPI 3.1 a list of names.
	Format     string            `json:"format"`
	Items      *schema           `json:"items"`
	Properties map[string]schema `json:"properties"`
}

type parameter struct {
	Name     string `json:"name"`
	In       string `json:"in"`
	Required bool   `json:"required"`
	Schema   schema `json:"schema"`
}

type method struct {
	Parameters  []parameter `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// served is what a server says it answers: parameter kinds by place and name, by method and path in one spelling.
type served map[string]map[string]string

// readDocument reads an OpenAPI document.
func readDocument(text []byte) (served, error) {
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	all := served{}
	for path, members := range doc.Paths {
		var shared []parameter
		if raw, has := members["parameters"]; has {
			if err := json.Unmarshal(raw, &shared); err != nil {
				return nil, fmt.Errorf("parameters of %s: %w", path, err)
			}
		}
		for verb, raw := range members {
			if err := all.add(doc, verb, path, raw, shared); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// verbs are the members of a path item that are operations; list and scan are Vault's own.
var verbs = map[string]string{
	"get": "GET", "put": "POST", "post": "POST", "patch": "PATCH", "delete": "DELETE", "list": "LIST", "scan": "SCAN",
}

func (all served) add(doc document, verb, path string, raw json.RawMessage, shared []parameter) error {
	name, isVerb := verbs[verb]
	if !isVerb {
		return nil
	}
	var m method
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%s of %s: %w", verb, path, err)
	}
	kinds := map[string]string{}
	for _, p := range append(shared, m.Parameters...) {
		kinds[p.In+"="+p.Name] = doc.kind(p.Schema)
		if p.Name == "list" && p.In == "query" {
			all.merge(spelling("LIST", path), kinds)
		}
		if p.Name == "list" && p.In == "query" && p.Required {
			name = "LIST"
		}
	}
	for _, content := range m.RequestBody.Content {
		for field, s := range doc.resolve(content.Schema).Properties {
			kinds["body="+field] = doc.kind(s)
		}
	}
	all.merge(spelling(name, path), kinds)
	return nil
}

// merge joins operations whose paths differ only in the names of their parameters.
func (all served) merge(key string, kinds map[string]string) {
	if all[key] == nil {
		all[key] = map[string]string{}
	}
	maps.Copy(all[key], kinds)
}

func (doc document) resolve(s schema) schema {
	if name, isRef := strings.CutPrefix(s.Ref, "#/components/schemas/"); isRef {
		return doc.Components.Schemas[name]
	}
	return s
}

// kind spells a schema as the table does.
func (doc document) kind(s schema) string {
	s = doc.resolve(s)
	name := fmt.Sprint(s.Type)
	if list, isList := s.Type.([]any); isList && len(list) > 0 {
		name = fmt.Sprint(list[0])
	}
	if name == "array" && s.Items != nil {
		return "array<" + doc.base(*s.Items) + ">"
	}
	if s.Format != "" {
		name += ":" + s.Format
	}
	return name
}

// base is the kind of a list's elements, without its format.
func (doc document) base(s schema) string {
	name, _, _ := strings.Cut(doc.kind(s), ":")
	return name
}

var braces = regexp.MustCompile(`\{[^}]*\}`)

// spelling is the one spelling of an operation, in which path parameters have no names.
func spelling(verb, path string) string {
	path = "/" + strings.Trim(strings.TrimPrefix(path, "/v1"), "/")
	return verb + " " + braces.ReplaceAllString(path, "{}")
}
