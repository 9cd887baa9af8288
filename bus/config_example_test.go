package bus

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/internal/yamlfile"
)

const exampleFile = "../eventbus.yaml"

func TestTheExampleFileIsAConfiguration(t *testing.T) {
	t.Setenv("AUDIT_URL", "kafka://localhost:9092")
	cfg, err := LoadConfig(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Brokers["audit"].URL != "kafka://localhost:9092" || cfg.Brokers["metrics"].Publish.Lanes != 1 ||
		cfg.Rules[0].Fallback != "main" || cfg.Subscriptions["billing"].Concurrency != 8 {
		t.Errorf("read %+v", cfg)
	}
}

func TestTheExampleFileHasEveryKeyAndExplainsIt(t *testing.T) {
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	f, err := yamlfile.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]any
	if err := f.Decode(&written); err != nil {
		t.Fatal(err)
	}
	for _, key := range unwritten(reflect.TypeFor[configFile](), []any{written}, "") {
		t.Errorf("%s has no key %s", exampleFile, key)
	}
	if got := unwritten(reflect.TypeFor[brokerFile](), []any{map[string]any{"url": "x"}}, "x"); !slices.Equal(got, []string{"x.publish"}) {
		t.Errorf("the comparison finds %v", got)
	}
	known := unwritten(reflect.TypeFor[configFile](), nil, "")
	key, above, seen := regexp.MustCompile(`^[ -]*([a-z_]+):`), "", make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if m := key.FindStringSubmatch(line); m != nil && !seen[m[1]] && slices.Contains(known, m[1]) {
			seen[m[1]] = true
			if !strings.Contains(line, " # ") && !strings.HasPrefix(above, "#") {
				t.Errorf("nothing explains the first %s", m[1])
			}
		}
		above = strings.TrimSpace(line)
	}
	if len(seen) < 30 {
		t.Errorf("only %d keys were looked at: %v", len(seen), seen)
	}
}

// unwritten returns the keys of a type that none of the values has, which were written for it; without values the names of all
// its keys, at any depth.
func unwritten(t reflect.Type, values []any, path string) (keys []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		return unwrittenFields(t, values, path)
	case reflect.Map, reflect.Slice:
		var elements []any
		for _, v := range values {
			switch v := v.(type) {
			case map[string]any:
				for _, e := range v {
					elements = append(elements, e)
				}
			case []any:
				elements = append(elements, v...)
			}
		}
		return unwritten(t.Elem(), elements, path)
	}
	return nil
}

func unwrittenFields(t reflect.Type, values []any, path string) (keys []string) {
	full := slices.ContainsFunc(values, func(v any) bool { _, ok := v.(map[string]any); return ok })
	if values != nil && !full {
		return nil // it is written as a text
	}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if options == "inline" {
			keys = append(keys, unwrittenFields(t.Field(i).Type, values, path)...)
		}
		if name == "" || name == "-" {
			continue
		}
		var below []any
		for _, v := range values {
			if m, ok := v.(map[string]any); ok {
				if value, has := m[name]; has {
					below = append(below, value)
				}
			}
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		if values == nil {
			keys = append(append(keys, name), unwritten(t.Field(i).Type, nil, "")...)
			continue
		}
		if len(below) == 0 {
			keys = append(keys, at)
			continue
		}
		keys = append(keys, unwritten(t.Field(i).Type, below, at)...)
	}
	return keys
}
