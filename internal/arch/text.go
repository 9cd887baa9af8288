package arch

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
)

// Where a machine or a service of somebody's own would show. The parts are joined, so that this file does not break the
// rule.
var (
	todoText = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)
	pathText = regexp.MustCompile(`(?m)(^|[^\w.~$}-])/(wo` + `rk|fa` + `rm|ho` + `me|Us` + `ers|ro` + `ot)/`)
	hostText = regexp.MustCompile(`\b(proxy\.gol` + `ang\.org|sum\.gol` + `ang\.org|registry\.n` + `pmjs\.org|registry\.ya` +
		`rnpkg\.com|pypi\.or` + `g|files\.pythonho` + `sted\.org|registry-1\.do` + `cker\.io)\b`)
)

var textRules = []Rule{
	{
		Name:   "nothing is left to be done in a comment",
		Why:    "a note in a comment is found by nobody who could do it, and tells every reader that the code is unfinished.",
		Remedy: "do it, or open an issue and say in the comment how things are.",
		Check:  checkTodo,
	},
	{
		Name:   "no path or registry of somebody's machine is in the repository",
		Why:    "it works on that machine only, and tells of it.",
		Remedy: "use a path relative to the repository, a temporary folder, or the client's own configuration.",
		Check: func(r *Repo) []Finding {
			text := func(f *File) bool { return !bytes.Contains(f.Text, []byte{0}) }
			return slices.Concat(grep(r, pathText, text), grep(r, hostText, text))
		},
	},
}

func checkTodo(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles(func(*File) bool { return true }) {
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				if m := todoText.FindString(c.Text); m != "" {
					out = append(out, Finding{f.place(c), "it says " + m})
				}
			}
		}
	}
	return out
}

// grep finds the lines of files that match.
func grep(r *Repo, re *regexp.Regexp, ok func(*File) bool) []Finding {
	var out []Finding
	for _, f := range r.Files {
		if !ok(f) || !re.Match(f.Text) {
			continue
		}
		for i, line := range bytes.Split(f.Text, []byte("\n")) {
			if m := re.Find(line); m != nil {
				out = append(out, Finding{fmt.Sprintf("%s:%d", f.Path, i+1), fmt.Sprintf("it says %q", bytes.TrimSpace(m))})
			}
		}
	}
	return out
}
