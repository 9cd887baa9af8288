package arch

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var moduleRules = []Rule{
	{
		Name:   "go.mod replaces nothing",
		Why:    "a replace line is ignored by those who depend on this module: what they get is not what was tested.",
		Remedy: "require the version that is meant.",
		Check: func(r *Repo) []Finding {
			return grep(r, regexp.MustCompile(`(?m)^\s*replace\b|^[^/\n]*=>`), func(f *File) bool { return f.Path == "go.mod" })
		},
	},
	{
		Name:   "go.mod tells direct dependencies from indirect ones",
		Why:    "the list of direct dependencies is what a reader audits first.",
		Remedy: "run go mod tidy.",
		Check:  checkIndirect,
	},
}

// requirement is a line of go.mod that requires a module.
var requirement = regexp.MustCompile(`(?m)^\s*(?:require\s+)?(\S+)\s+v\S+(\s*// indirect)?$`)

func checkIndirect(r *Repo) []Finding {
	indirect := make(map[string]bool)
	for _, f := range r.Files {
		if f.Path == "go.mod" {
			for _, m := range requirement.FindAllStringSubmatch(string(f.Text), -1) {
				indirect[m[1]] = m[2] != ""
			}
		}
	}
	imported := make(map[string]bool)
	for _, f := range r.GoFiles(func(*File) bool { return true }) {
		for p := range f.imports() {
			if m := moduleOf(p, indirect); m != "" {
				imported[m] = true
			}
		}
	}
	var out []Finding
	for _, m := range slices.Sorted(maps.Keys(indirect)) {
		if indirect[m] == imported[m] {
			text := map[bool]string{true: "imported and marked as indirect", false: "not imported and not marked as indirect"}
			out = append(out, Finding{"go.mod", fmt.Sprintf("%s is %s", m, text[imported[m]])})
		}
	}
	return out
}

// moduleOf returns the required module that has an import path, the longest one where there are several, or "".
func moduleOf(importPath string, modules map[string]bool) string {
	best := ""
	for m := range modules {
		if (importPath == m || strings.HasPrefix(importPath, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}
