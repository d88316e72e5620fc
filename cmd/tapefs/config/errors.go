package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// valueError is a value of the configuration that cannot be what its key asks for.
type valueError struct {
	text string
	at   *token.Token
}

func (e *valueError) Error() string { return e.FormatError(false, false) }

// GetMessage returns what is wrong, without the place.
func (e *valueError) GetMessage() string { return e.text }

// GetToken returns the place.
func (e *valueError) GetToken() *token.Token { return e.at }

// FormatError is what the YAML library's own errors have.
func (e *valueError) FormatError(colored, source bool) string {
	return yaml.FormatErrorWithToken(e.text, e.at, colored, source)
}

// explainYAML says what is wrong with a configuration in its own words: line, column, key, and what belongs there. The
// library speaks of Go's types.
func explainYAML(err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	text := at.GetMessage()
	var (
		mistyped *yaml.TypeError
		overflow *yaml.OverflowError
		misused  *yaml.UnexpectedNodeTypeError
		unknown  *yaml.UnknownFieldError
	)
	switch {
	case errors.As(err, &mistyped):
		text = belongs(mistyped.DstType)
	case errors.As(err, &overflow):
		text = overflow.SrcNum + " is too large"
	case errors.As(err, &misused):
		text = fmt.Sprintf("a %s belongs here, not a %s", yamlWords(misused.Expected.String()), yamlWords(misused.Actual.String()))
	case errors.As(err, &unknown):
		text = fmt.Sprintf("there is no key %q here%s", unknown.Token.Value, ui.DidYouMean(unknown.Token.Value, configKeys))
	}
	var syntax *yaml.SyntaxError
	if key := keyOf(at.GetToken()); key != "" && unknown == nil && !errors.As(err, &syntax) {
		text = key + ": " + text
	}
	return errors.New(strings.TrimSpace(yaml.FormatErrorWithToken(text, at.GetToken(), false, true)))
}

// keyOf is the key whose value a token is; "" where it is none's, as in a list.
func keyOf(t *token.Token) string {
	if t.Prev != nil && t.Prev.Type == token.MappingValueType && t.Prev.Prev != nil {
		return t.Prev.Prev.Value
	}
	return ""
}

func belongs(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false belongs here"
	case reflect.Int, reflect.Int64:
		return "a whole number belongs here"
	case reflect.String:
		return "a text belongs here"
	case reflect.Slice:
		return "a list belongs here"
	}
	return "keys with values belong here"
}

// yamlWords are the library's names of YAML's kinds in words that a configuration's author uses.
func yamlWords(kind string) string {
	switch kind = strings.ToLower(kind); kind {
	case "mapping":
		return "set of keys"
	case "sequence":
		return "list"
	case "string":
		return "text"
	}
	return kind
}

// configKeys are all keys that a configuration may have, on any level.
var configKeys = keysOf(reflect.TypeFor[Config](), nil)

func keysOf(t reflect.Type, keys []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(t.Elem(), keys)
	case reflect.Struct:
		for f := range t.Fields() {
			if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" && key != "-" {
				keys = keysOf(f.Type, append(keys, key))
			}
		}
	}
	return keys
}

// configPlace is the key that an error of config.check begins with: sources.photos.copies or library.drives[1].serial.
var configPlace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z_]+(?:\.[a-z0-9_-]+|\[\d+\])*)(?::| is )`) })

// placed adds line and column to an error of config.check, where the key that it names stands in the text.
func placed(err error, data []byte) error {
	found := configPlace().FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	file, perr := parser.ParseBytes(data, 0)
	if perr != nil {
		return err
	}
	for key := found[1]; key != ""; key = key[:max(strings.LastIndexAny(key, ".["), 0)] { // a key that is missing is told at the one above
		path, perr := yaml.PathString("$." + key)
		if perr != nil {
			return err
		}
		if node, perr := path.FilterFile(file); perr == nil && node != nil && node.GetToken() != nil {
			return errors.New(strings.TrimSpace(yaml.FormatErrorWithToken(err.Error(), node.GetToken(), false, true)))
		}
	}
	return err
}
