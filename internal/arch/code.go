package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"slices"
)

// maxLines is the length of a file at which it probably holds two concepts.
const maxLines = 450

// unsafeFiles may import unsafe, each for the reason given.
var unsafeFiles = map[string]string{
	"brokers/memory/publish.go":    "asks whether two bodies are the same memory, and reads none of it",
	"brokers/redis/session.go":     "a body that go-redis returns as a string of its own becomes bytes without a copy",
	"schema/reading.go":            "the strings of an event are parts of its body, which nobody modifies",
	"internal/bench/pace_linux.go": "calls the kernel's timer, which the standard library has no function for",
}

var codeRules = []Rule{
	{
		Name:   "library code does not sleep",
		Why:    "a sleep does not listen to its context: shutdown waits for it, and a test in virtual time cannot.",
		Remedy: "wait in a select on a timer and on what may end the wait.",
		Check:  func(r *Repo) []Finding { return calls(r, "time", "Sleep") },
	},
	{
		Name: "library code owns no context",
		Why: "work on a fresh context belongs to nobody: no deadline, no cancellation and no values reach it, and nobody can " +
			"stop it.",
		Remedy: "take a context from the caller; context.WithoutCancel keeps its values where its end must not reach the work.",
		Check:  func(r *Repo) []Finding { return calls(r, "context", "Background", "TODO") },
	},
	{
		Name:   "a file holds one concept",
		Why:    "a reader finds things by the names of files; a long one hides what else is in it.",
		Remedy: "split it by concept; the limit is maxLines in internal/arch/code.go.",
		Check:  checkLength,
	},
	{
		Name:   "unsafe is used in files that are listed, with the reason",
		Why:    "what unsafe breaks, the compiler and the race detector do not see.",
		Remedy: "do without it, or list the file and the reason in unsafeFiles in internal/arch/code.go.",
		Check:  checkUnsafe,
	},
}

// calls finds uses of functions of a package in library code.
func calls(r *Repo, pkg string, names ...string) []Finding {
	var out []Finding
	for _, f := range r.GoFiles((*File).IsLibrary) {
		local := f.nameOf(pkg)
		if local == "" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && slices.Contains(names, sel.Sel.Name) {
				out = append(out, Finding{f.place(sel), "it uses " + pkg + "." + sel.Sel.Name})
			}
			return true
		})
	}
	return out
}

func checkLength(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles(func(f *File) bool { return !f.IsTest() }) {
		if n := bytes.Count(f.Text, []byte("\n")); n > maxLines {
			out = append(out, Finding{f.Path, fmt.Sprintf("it has %d lines, the limit is %d", n, maxLines)})
		}
	}
	return out
}

func checkUnsafe(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles(func(f *File) bool { return !f.IsTest() }) {
		if place, imported := f.imports()["unsafe"]; imported && unsafeFiles[f.Path] == "" {
			out = append(out, Finding{place, "it imports unsafe"})
		}
	}
	return out
}
