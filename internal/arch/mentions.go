package arch

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

var mentionRules = []Rule{
	{
		Name:   "documents name what exists",
		Why:    "a document that names a folder, a file or a make target which is gone sends its reader astray.",
		Remedy: "name what there is; plans belong in an issue.",
		Check:  checkMentions,
	},
}

// What a Markdown file says of the repository: paths in code, links to files, and make targets.
var (
	codePath   = regexp.MustCompile("`(?:\\./)?((?:bus|schema|router|brokers|internal|docs|scripts|examples|cmd|\\.ci)(?:/[\\w.-]+)+)/?`")
	fileLink   = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	makeTarget = regexp.MustCompile("(?:`|\\n {4,}|\\n *\\$ |```\\w*\\n)make\\s+([a-z][a-z-]*)")
	targetLine = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

func checkMentions(r *Repo) []Finding {
	targets := makeTargets(r)
	var out []Finding
	for _, f := range r.Files {
		if path.Ext(f.Path) != ".md" {
			continue
		}
		text := string(f.Text)
		for _, m := range codePath.FindAllStringSubmatch(text, -1) {
			if !r.has(m[1]) {
				out = append(out, Finding{f.Path, "it names " + m[1] + ", which is not there"})
			}
		}
		for _, m := range fileLink.FindAllStringSubmatch(text, -1) {
			if !r.has(path.Join(f.Dir(), m[1])) {
				out = append(out, Finding{f.Path, "it links to " + m[1] + ", which is not there"})
			}
		}
		for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				out = append(out, Finding{f.Path, fmt.Sprintf("it says make %s, which is no target", m[1])})
			}
		}
	}
	return out
}

func makeTargets(r *Repo) map[string]bool {
	targets := make(map[string]bool)
	for _, f := range r.Files {
		if f.Path == "Makefile" {
			for _, m := range targetLine.FindAllStringSubmatch(string(f.Text), -1) {
				targets[m[1]] = true
			}
		}
	}
	return targets
}

// has reports whether there is a file of that path, or a folder with files in it.
func (r *Repo) has(p string) bool {
	for _, f := range r.Files {
		if f.Path == p || strings.HasPrefix(f.Path, p+"/") {
			return true
		}
	}
	return false
}
