package arch

import (
	"os"
	"path/filepath"
	"testing"
)

// root finds the repository: the folder above this one that has go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("there is no go.mod above this folder")
		}
		dir = parent
	}
}

func TestTheRepositoryKeepsItsRules(t *testing.T) {
	repo, err := Load(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			if report := rule.Report(rule.Check(repo)); report != "" {
				t.Error(report)
			}
		})
	}
}
