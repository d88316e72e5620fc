package config

import (
	"reflect"
	"strings"
)

// Schema returns the keys of the configuration as a JSON schema (2020-12), from which editors complete and check them. describe returns
// what a key means, "" where nothing is to be said; in its path NAME stands for the names that people choose.
//
// A file that the schema refuses is refused by Parse, too, but not the other way round: which pools there are, and how large a value may
// be, only Parse knows. Keys without a value are allowed, as they are in a file whose entries are all commented out.
func Schema(describe func(path []string) string) map[string]any {
	s := schemaOf(reflect.TypeFor[Config](), "", nil, describe)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Configuration of tapefs"
	return s
}

// Patterns of values that are texts with a meaning.
const (
	sizePattern   = `^\s*[0-9][0-9.,]*\s*([kKmMgGtTpPeE][iI]?)?[bB]?\s*$`
	periodPattern = `^\s*(-?0|[0-9]+[dwy]|-?([0-9]*\.?[0-9]+\.?(ns|us|µs|μs|ms|s|m|h))+)\s*$`
	sharePattern  = `^\s*(all|none|[0-9.]+%)\s*$`
)

// schemaOf returns the schema of a value at a path. words are the values that a text may have, separated by commas; "" if any.
func schemaOf(t reflect.Type, words string, path []string, describe func([]string) string) map[string]any {
	s := map[string]any{}
	switch t {
	case reflect.TypeFor[Size]():
		s["type"], s["pattern"] = anyOf("string", "number"), sizePattern
		return s
	case reflect.TypeFor[Period]():
		s["type"], s["pattern"] = anyOf("string", "number"), periodPattern
		return s
	case reflect.TypeFor[Share]():
		s["type"], s["pattern"] = anyOf("string"), sharePattern
		return s
	case reflect.TypeFor[SSH]():
		list := schemaOf(reflect.TypeFor[[]string](), "", path, describe)
		named := schemaOf(reflect.TypeFor[namedSSH](), "", path, describe)
		s["anyOf"] = []any{list, named}
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), words, path, describe)
	case reflect.Bool:
		s["type"] = anyOf("boolean")
	case reflect.Int, reflect.Int64:
		s["type"] = anyOf("integer")
	case reflect.Uint32:
		s["type"], s["minimum"] = anyOf("integer"), 0
	case reflect.Slice:
		s["type"], s["items"] = anyOf("array"), schemaOf(t.Elem(), "", path, describe)
	case reflect.Map:
		s["type"], s["additionalProperties"] = anyOf("object"), schemaOf(t.Elem(), "", append(path[:len(path):len(path)], "NAME"), describe)
		s["propertyNames"] = map[string]any{"pattern": NamePattern().String()}
	case reflect.Struct:
		s["type"], s["properties"], s["additionalProperties"] = anyOf("object"), propertiesOf(t, path, describe), false
	default:
		s["type"] = anyOf("string", "number", "boolean") // YAML reads a serial number of digits as a number
		if words != "" {
			s = map[string]any{"enum": append(toAny(strings.Split(words, ",")), nil)}
		}
	}
	return s
}

func propertiesOf(t reflect.Type, path []string, describe func([]string) string) map[string]any {
	properties := map[string]any{}
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		at := append(path[:len(path):len(path)], key)
		property := schemaOf(f.Type, f.Tag.Get("values"), at, describe)
		if text := describe(at); text != "" {
			property["description"] = text
		}
		properties[key] = property
	}
	return properties
}

// anyOf returns types that a value may have, and null, which is a key without a value.
func anyOf(types ...string) []any { return append(toAny(types), "null") }

func toAny(words []string) []any {
	all := make([]any, len(words))
	for i, w := range words {
		all[i] = w
	}
	return all
}
