package arch

import (
	"fmt"
	"slices"
	"strings"
)

// A layer says what of this module a folder's packages may import. Folders are relative to the root; "x/..." is x and
// everything below it.
type layer struct {
	folder string
	// imports is what its packages may import, and tests what its tests may import besides.
	imports, tests []string
}

// helpers of tests, which any test may use.
var testHelpers = []string{"internal/testbroker", "internal/drivertest"}

// driverMay is what a driver imports: the contract, and what drivers share.
var driverMay = []string{
	"brokers", "internal/pattern", "internal/handover", "internal/lifetime", "internal/overflow", "internal/relink",
	"internal/tlsfile",
}

// public is what a program outside of the repository could import.
var public = []string{"schema/...", "router/...", "brokers/...", "store/...", "bus/...", "bustest", "watermill", "observe/...", "health"}

// layers is the import direction, from what imports nothing upwards. The first one that has the folder counts.
var layers = []layer{
	{folder: "internal/pattern"},
	{folder: "internal/yamlfile"},
	{folder: "internal/lifetime"},
	{folder: "internal/probe"},
	{folder: "internal/tlsfile"},
	{folder: "internal/opener"},
	{folder: "schema", imports: []string{"internal/pattern"}},
	{folder: "schema/...", imports: []string{"schema"}, tests: []string{"router"}},
	{folder: "brokers", imports: []string{"internal/pattern"}, tests: []string{"brokers/..."}},
	{folder: "store/dedup", imports: []string{"internal/opener"}, tests: []string{"store/..."}},
	{folder: "store/deadletter", imports: []string{"brokers", "internal/opener"}, tests: []string{"store/..."}},
	{folder: "store/...", imports: []string{"brokers", "store/deadletter", "store/dedup"}, tests: []string{"store/..."}},
	{folder: "brokers/brokertest", imports: []string{"brokers", "internal/pattern"}, tests: []string{"brokers/memory"}},
	{folder: "brokers/all", imports: []string{"brokers/..."}},
	{
		folder: "brokers/redis/watermill", imports: []string{"brokers", "brokers/redis"},
		tests: []string{"brokers/brokertest"},
	},
	{ // it keeps dead letters on the server that it reaches anyway
		folder: "brokers/redis", tests: []string{"brokers/brokertest"},
		imports: slices.Concat(driverMay, []string{"store/deadletter", "store/dedup", "store/redis"}),
	},
	{folder: "internal/handover", imports: []string{"brokers"}},
	{folder: "internal/relink", imports: []string{"brokers"}},
	{folder: "internal/overflow", imports: []string{"brokers"}},
	{folder: "brokers/...", imports: driverMay, tests: []string{"brokers/brokertest"}},
	{folder: "router", imports: []string{"schema", "internal/pattern", "internal/yamlfile"}, tests: []string{"schema/..."}},
	{folder: "router/middleware", imports: []string{"schema", "router", "store/dedup"}},
	{
		folder: "bus/...",
		imports: []string{
			"schema", "router/...", "brokers", "store/deadletter", "store/dedup", "internal/pattern", "internal/yamlfile",
		},
		tests: public,
	},
	{
		folder:  "watermill",
		imports: []string{"schema", "router/...", "brokers", "bus", "internal/lifetime"}, tests: public,
	},
	{folder: "observe", imports: []string{"bus", "brokers", "schema", "store/deadletter", "internal/probe"}, tests: public},
	{folder: "observe/...", imports: []string{"observe", "bus", "brokers", "router/...", "schema"}, tests: public},
	{folder: "health", imports: []string{"bus", "internal/probe"}, tests: public},
	{folder: "internal/metrics", imports: []string{"observe"}, tests: public},
	{
		folder:  "bustest",
		imports: []string{"schema", "router", "brokers", "brokers/memory", "bus"}, tests: public,
	},
	{folder: "internal/arch"},
	{folder: "internal/testreport"},
	{folder: "internal/delivery", imports: []string{"brokers/..."}},
	{folder: "internal/testbroker"},
	{folder: "internal/drivertest", imports: []string{"brokers", "brokers/brokertest"}},
	{folder: "internal/bench", imports: slices.Concat(public, testHelpers)},
	{folder: "internal/faults", tests: public},
	{folder: "internal/behaviour", tests: public},
	{folder: "examples/...", imports: slices.Concat(public, []string{"examples/..."})},
	{folder: "cmd/...", imports: slices.Concat(public, []string{"cmd/..."})},
}

var importRules = []Rule{
	{
		Name: "imports point in one direction",
		Why: "schema and brokers stand alone, so that a service can use one without the other's weight; a driver that imports " +
			"another driver links two client libraries; bus knows brokers by their URL only; and examples show what any " +
			"user can do.",
		Remedy: "move what is needed to a layer that both may import, or declare the interface where it is used; the table is " +
			"in internal/arch/layers.go.",
		Check: checkImports,
	},
}

func checkImports(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles(func(*File) bool { return true }) {
		l, ok := layerOf(f.Dir())
		if !ok {
			out = append(out, Finding{f.Path, "its folder " + f.Dir() + " has no layer: add it to the table"})
			continue
		}
		for imported, place := range f.imports() {
			target, ours := strings.CutPrefix(imported, Module+"/")
			if ours && !l.allows(f, target) {
				out = append(out, Finding{place, fmt.Sprintf("%s imports %s", f.Dir(), target)})
			}
		}
	}
	return out
}

func layerOf(dir string) (layer, bool) {
	i := slices.IndexFunc(layers, func(l layer) bool { return covers(l.folder, dir) })
	if i < 0 {
		return layer{}, false
	}
	return layers[i], true
}

// allows reports whether a file of the layer may import the package in the folder target. An external test package
// imports its own.
func (l layer) allows(f *File, target string) bool {
	may := l.imports
	if f.IsTest() {
		may = slices.Concat(may, l.tests, testHelpers, []string{f.Dir()})
	}
	return slices.ContainsFunc(may, func(pattern string) bool { return covers(pattern, target) })
}

// covers reports whether a folder is the one that the pattern names, or below it where the pattern ends in "/...".
func covers(pattern, dir string) bool {
	root, tree := strings.CutSuffix(pattern, "/...")
	return dir == root || tree && strings.HasPrefix(dir, root+"/")
}
