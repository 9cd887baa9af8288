package arch

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the import path of the repository.
const Module = "github.com/eventbus-go/eventbus"

// A Repo is what the rules look at.
type Repo struct {
	// Files are all files that are in the repository or about to be, sorted by path.
	Files []*File
	// Packages are the packages with what they link; see Linked.
	Packages []Package
}

// A File is one file of the repository.
type File struct {
	// Path is relative to the root, with slashes.
	Path string
	Text []byte

	syntax *ast.File // of Go files
	pos    *token.FileSet
}

// NewFile returns a file; it fails for a Go file that cannot be parsed.
func NewFile(name string, text []byte) (*File, error) {
	f := &File{Path: name, Text: text}
	if !f.IsGo() {
		return f, nil
	}
	f.pos = token.NewFileSet()
	var err error
	f.syntax, err = parser.ParseFile(f.pos, name, text, parser.ParseComments)
	return f, err
}

// Dir is the folder of the file, "." for the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

// IsGo reports whether it is a Go file of a package: what is in a testdata folder is not.
func (f *File) IsGo() bool {
	return strings.HasSuffix(f.Path, ".go") && !slices.Contains(strings.Split(f.Path, "/"), "testdata")
}

// IsTest reports whether only tests see it.
func (f *File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// IsLibrary reports whether the file is linked into the programs of the library's users.
func (f *File) IsLibrary() bool {
	if !f.IsGo() || f.IsTest() {
		return false
	}
	return !underAny(f.Dir(), "examples", "cmd", "internal/arch", "internal/bench", "internal/testbroker", "internal/testreport")
}

// IsPublic reports whether the file's package may be imported from outside.
func (f *File) IsPublic() bool {
	return f.IsGo() && !slices.Contains(strings.Split(f.Path, "/"), "internal") && f.syntax.Name.Name != "main"
}

// place names a node of the file.
func (f *File) place(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Path, f.pos.Position(n.Pos()).Line)
}

// imports returns the paths that the file imports, with their places.
func (f *File) imports() map[string]string {
	out := make(map[string]string, len(f.syntax.Imports))
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[p] = f.place(spec)
		}
	}
	return out
}

// nameOf returns the name by which the file calls an imported package, or "" if it does not import it.
func (f *File) nameOf(importPath string) string {
	for _, spec := range f.syntax.Imports {
		if spec.Path.Value != strconv.Quote(importPath) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// GoFiles returns the Go files for which ok holds.
func (r *Repo) GoFiles(ok func(*File) bool) []*File {
	var out []*File
	for _, f := range r.Files {
		if f.IsGo() && ok(f) {
			out = append(out, f)
		}
	}
	return out
}

// byDir groups files by their folder, and returns the folders sorted.
func byDir(files []*File) (map[string][]*File, []string) {
	groups := make(map[string][]*File)
	for _, f := range files {
		groups[f.Dir()] = append(groups[f.Dir()], f)
	}
	dirs := make([]string, 0, len(groups))
	for dir := range groups {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return groups, dirs
}

func underAny(dir string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") })
}

// Load reads the repository that is at root.
func Load(root string) (*Repo, error) {
	paths, err := list(root)
	if err != nil {
		return nil, err
	}
	r := &Repo{}
	for _, p := range paths {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p)))
		if errors.Is(err, fs.ErrNotExist) { // removed, and not committed yet
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := NewFile(p, text)
		if err != nil {
			return nil, err
		}
		r.Files = append(r.Files, f)
	}
	if r.Packages, err = Linked(root); err != nil {
		return nil, err
	}
	return r, nil
}

// list returns the files of the repository: those that git knows and those that it would not ignore, or, where there is
// no git, as in a downloaded archive, all but what the scripts download.
func list(root string) ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		var paths []string
		for p := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
			paths = append(paths, string(p))
		}
		slices.Sort(paths)
		return slices.Compact(paths), nil
	}
	return walk(root)
}

func walk(root string) ([]string, error) {
	var paths []string
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".cache", "node_modules", "__pycache__"}, d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular():
			paths = append(paths, p)
		}
		return nil
	})
	return paths, err
}
