package arch

import (
	"crypto/sha256"
	"encoding/hex"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// golden has the SHA-256 of the envelope's golden files, by name: the contract with subscribers in every language.
var golden = map[string]string{
	"mfa.enabled.json":     "7674e73854fc6fb92655f408993e380bbad20b9156642e75c5ceb22696240723",
	"role.assigned.json":   "a70e42310b0f84033784402e20ff5c4404200a0fef5b65077fac6ab7f935aa0a",
	"user.registered.json": "4e1d5e16d2e7b39ed7fdfa2678202daafe28727289663f5e6485e6df35518b58",
}

var testRules = []Rule{
	{
		Name: "a skipped test says why",
		Why: "skips are listed at the end of a run by their reasons, and CI fails for those that open with \"needs \": a skip " +
			"without a reason is a test that nobody misses.",
		Remedy: "skip with a literal reason that opens with \"needs \", for what can be had, or \"only \", for what cannot, such " +
			"as \"only on Linux\"; for servers call internal/testbroker, which does.",
		Check: checkSkips,
	},
	{
		Name:   "the golden files are those of the contract",
		Why:    "subscribers in other languages read these bytes: a test that is made to pass by changing them breaks them all.",
		Remedy: "restore the file; where the contract itself has changed, change its hash in internal/arch/tests.go.",
		Check:  checkGolden,
	},
}

// checkSkips looks at every call of a method named Skip, Skipf or SkipNow: only tests have such.
func checkSkips(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles(func(*File) bool { return true }) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isSkip(call) && !reasoned(call) {
				out = append(out, Finding{f.place(call), `it skips without a literal reason that opens with "needs " or "only "`})
			}
			return true
		})
	}
	return out
}

func isSkip(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name)
}

func reasoned(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return false
	}
	reason, err := strconv.Unquote(lit.Value)
	return err == nil && (strings.HasPrefix(reason, "needs ") || strings.HasPrefix(reason, "only "))
}

func checkGolden(r *Repo) []Finding {
	var out []Finding
	missing := maps.Clone(golden)
	for _, f := range r.Files {
		name := path.Base(f.Path)
		want, is := golden[name]
		if !is || path.Base(f.Dir()) != "golden" {
			continue
		}
		delete(missing, name)
		if sum := sha256.Sum256(f.Text); hex.EncodeToString(sum[:]) != want {
			out = append(out, Finding{f.Path, "its bytes are not those of the contract"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		out = append(out, Finding{"testdata/golden/" + name, "it is in no folder named golden"})
	}
	return out
}
