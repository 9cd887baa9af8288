package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const casesOfTwo = `promise	nats+js	real	2.15.2	Durable	
promise	nats+js	real	2.15.2	Order key	
pass	nats+js	real	2.15.2		an empty batch is no error
pass	nats+js	real	2.15.2	Durable,Order key	what is stored is stored
pass	kafka	in-process	kfake		an empty batch is no error
`

func casesFrom(t *testing.T, text string) map[target]*conformance {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cases")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := readCases(file)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheMatrixSaysWhatRanAgainstWhat(t *testing.T) {
	var out strings.Builder
	newReport(&out, options{}).printMatrix(casesFrom(t, casesOfTwo+
		"promise\tnats\treal\t2.15.2\tPatterns\t\nfail\tnats\treal\t2.15.2\tPatterns\twildcards\n"))
	want := strings.Join([]string{
		"",
		"broker       server       version   promises held          cases passed",
		"kafka://     in-process   kfake     0 of 0                 1 of 1",
		"nats://      real         2.15.2    0 of 1, not Patterns   0 of 1",
		"nats+js://   real         2.15.2    2 of 2                 2 of 2",
		"",
	}, "\n")
	if out.String() != want {
		t.Errorf("the matrix is\n%s\nwant\n%s", out.String(), want)
	}
}

func TestAPromiseWithoutACaseOnARealServerIsAProblem(t *testing.T) {
	for _, c := range []struct {
		what, cases string
		urls        []string
		want        []string
	}{
		{"everything is held", casesOfTwo, []string{"nats+js"}, nil},
		{"only a fake", casesOfTwo, []string{"kafka"}, []string{"the conformance suite did not run on a real server of kafka://"}},
		{"nothing ran", "", []string{"amqp"}, []string{"the conformance suite did not run on a real server of amqp://"}},
		{"a promise without a case", casesOfTwo + "promise\tnats+js\treal\t2.15.2\tDelay\t\n", []string{"nats+js"},
			[]string{"nats+js:// promises Delay, and no case of it passed on the real server 2.15.2"}},
		{"a promise that is broken once", casesOfTwo + "fail\tnats+js\treal\t2.15.2\tDurable\tx\n", []string{"nats+js"},
			[]string{"nats+js:// promises Durable, and no case of it passed on the real server 2.15.2"}},
		{"nobody asks", casesOfTwo, nil, nil},
	} {
		if got := unproven(casesFrom(t, c.cases), c.urls); !slices.Equal(got, c.want) {
			t.Errorf("%s: the problems are %q, want %q", c.what, got, c.want)
		}
	}
}

func TestARecordOfCasesInAnotherFormatIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cases")
	if all, err := readCases(file); err != nil || len(all) > 0 {
		t.Errorf("no record at all: %v, %v", all, err)
	}
	if err := os.WriteFile(file, []byte("pass\tnats\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readCases(file); err == nil {
		t.Error("a record of another format was accepted")
	}
}
