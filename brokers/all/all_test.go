package all

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

// A new driver is a folder beside this one: this is where it is noticed that it was not added here.
func TestEveryDriverIsLinked(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "all.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var linked []string
	for _, spec := range file.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		linked = append(linked, path.Base(importPath))
	}
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !f.IsDir() || slices.Contains([]string{"all", "brokertest"}, f.Name()) {
			continue
		}
		if !slices.Contains(linked, f.Name()) {
			t.Errorf("brokers/%s is not imported: import it in all.go", f.Name())
		}
	}
}

func TestTheSchemesOfTheDocumentationAreRegistered(t *testing.T) {
	text, err := os.ReadFile("all.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range brokers.Drivers() {
		if !strings.Contains(string(text), d.Scheme+"://") {
			t.Errorf("all.go does not say that %s:// is among them", d.Scheme)
		}
	}
	if len(brokers.Drivers()) < 3 {
		t.Errorf("%d schemes are registered, want memory, redis and rediss at least", len(brokers.Drivers()))
	}
}
