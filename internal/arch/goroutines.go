package arch

import (
	"go/ast"
	"path"
)

// calmGoroutines are functions of drivers that start a goroutine without brokers.Contain, each for the reason given.
var calmGoroutines = map[string]string{
	"brokers/kafka/publish.go round":          "what it calls contains its panics",
	"brokers/kafka/subscribe.go Subscribe":    "what it calls contains its panics",
	"brokers/nats/jet_settle.go whenLate":     "it waits, and cancels a context",
	"brokers/rabbitmq/leave.go untilLate":     "it waits, and cancels a context",
	"brokers/rabbitmq/member.go Subscribe":    "it waits for the feeds",
	"brokers/rabbitmq/pipe.go openPipe":       "what it calls contains its panics",
	"brokers/rabbitmq/publish.go publish":     "what it calls contains its panics",
	"brokers/rabbitmq/session.go openSession": "it waits, and notes what the client says of its connection",
	"brokers/redis/stream_leave.go moment":    "it waits, and cancels a context",
	"brokers/redis/stream_trim.go start":      "what it calls contains its panics",
}

var goroutineRules = []Rule{{
	Name: "a driver's goroutine contains its panics",
	Why:  "a panic on a goroutine that nobody contains ends the process, with the brokers and subscriptions that are well.",
	Remedy: "call what it does by brokers.Contain, and let who waits for it have the error; where it does nothing that can panic, " +
		"list the function and the reason in calmGoroutines in internal/arch/goroutines.go.",
	Check: checkGoroutines,
}}

func checkGoroutines(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.GoFiles((*File).IsLibrary) {
		if path.Dir(f.Dir()) != "brokers" || f.Dir() == "brokers/brokertest" {
			continue
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || calmGoroutines[f.Path+" "+fn.Name.Name] != "" {
				continue
			}
			for _, start := range starts(fn) {
				if !uses(start, "Contain") {
					out = append(out, Finding{f.place(start), fn.Name.Name + " starts one without brokers.Contain"})
				}
			}
		}
	}
	return out
}

// starts returns what starts a goroutine in a function: go statements, and calls of a WaitGroup's Go.
func starts(fn *ast.FuncDecl) []ast.Node {
	var out []ast.Node
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, n)
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
				out = append(out, n)
			}
		}
		return true
	})
	return out
}

// uses reports whether a node has a selector of that name.
func uses(n ast.Node, name string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		found = found || ok && sel.Sel.Name == name
		return !found
	})
	return found
}
