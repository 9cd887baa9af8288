package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

var docRules = []Rule{
	{
		Name:   "every package opens with what it is for",
		Why:    "the package comment is the first thing that a newcomer reads, and the page's head on pkg.go.dev.",
		Remedy: "write a comment of more than a line before the package clause of one file (doc.go), opening with \"Package x\".",
		Check:  checkPackageComments,
	},
	{
		Name:   "every exported identifier has a doc comment",
		Why:    "a doc comment is the contract: concurrency, ownership, blocking, errors. Without one, callers guess.",
		Remedy: "write what a caller has to know and cannot see in the signature, or do not export it.",
		Check:  checkExported,
	},
}

// mirrors are interfaces whose methods are those of another type, which documents them.
var mirrors = map[string]string{
	"brokers/brokertest.T": "testing.TB",
}

func checkPackageComments(r *Repo) []Finding {
	var out []Finding
	groups, dirs := byDir(r.GoFiles(func(f *File) bool { return !f.IsTest() }))
	for _, dir := range dirs {
		if fault := packageCommentFault(groups[dir]); fault != "" {
			out = append(out, Finding{dir, fault})
		}
	}
	return out
}

// packageCommentFault says what is wrong with the package comment of files, "" for nothing.
func packageCommentFault(files []*File) string {
	var docs []string
	for _, f := range files {
		if text := f.syntax.Doc.Text(); text != "" {
			docs = append(docs, text)
		}
	}
	name := files[0].syntax.Name.Name
	switch {
	case len(docs) == 0:
		return "package " + name + " has no package comment"
	case len(docs) > 1:
		return "package " + name + " has package comments in several files, which godoc joins in the order of their names"
	case name != "main" && !strings.HasPrefix(docs[0], "Package "+name+" "):
		return "the package comment does not open with \"Package " + name + "\""
	case strings.Count(strings.TrimSpace(docs[0]), "\n") == 0:
		return "the package comment of " + name + " is a single line"
	}
	return ""
}

func checkExported(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles(func(f *File) bool { return f.IsPublic() && !f.IsTest() }) {
		for _, d := range f.syntax.Decls {
			for _, id := range undocumented(f.Dir(), d) {
				out = append(out, Finding{f.place(id), id.Name + " is exported and has no doc comment"})
			}
		}
	}
	return out
}

// undocumented returns the exported identifiers of a declaration that no comment covers.
func undocumented(dir string, d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && receiverExported(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		return undocumentedSpecs(dir, d)
	}
	return nil
}

func undocumentedSpecs(dir string, d *ast.GenDecl) []*ast.Ident {
	var out []*ast.Ident
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) && s.Name.IsExported() {
				out = append(out, s.Name)
			}
			if mirrors[dir+"."+s.Name.Name] == "" {
				out = append(out, undocumentedMethods(s)...)
			}
		case *ast.ValueSpec:
			if s.Doc == nil && s.Comment == nil && d.Doc == nil {
				out = append(out, slices.DeleteFunc(slices.Clone(s.Names), func(id *ast.Ident) bool { return !id.IsExported() })...)
			}
		}
	}
	return out
}

func undocumentedMethods(s *ast.TypeSpec) []*ast.Ident {
	i, ok := s.Type.(*ast.InterfaceType)
	if !ok || !s.Name.IsExported() {
		return nil
	}
	var out []*ast.Ident
	for _, m := range i.Methods.List {
		if len(m.Names) == 1 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil {
			out = append(out, m.Names[0])
		}
	}
	return out
}

// receiverExported reports whether d is a function, or a method of an exported type.
func receiverExported(d *ast.FuncDecl) bool {
	return d.Recv == nil || token.IsExported(typeName(d.Recv.List[0].Type))
}

// typeName returns the name of a receiver's type without pointer and type parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
