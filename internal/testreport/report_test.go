package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reportOn feeds the lines of a go test -json run to a report and returns what it prints and whether the run passed.
func reportOn(t *testing.T, opts options, servers map[server]map[string]bool, lines string) (string, bool) {
	t.Helper()
	var out strings.Builder
	r := newReport(&out, opts)
	events := make(chan event)
	go func() {
		defer close(events)
		read(strings.NewReader(lines), events)
	}()
	collect(r, events)
	passed := r.finish(servers)
	return out.String(), passed
}

const onePasses = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"    a_test.go:3: hello\n"}
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0.01}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.01s\n"}
{"Action":"pass","Package":"m/a","Elapsed":0.02}
`

const oneFails = `{"Action":"start","Package":"m/b"}
{"Action":"run","Package":"m/b","Test":"TestTwo"}
{"Action":"run","Package":"m/b","Test":"TestTwo/deep"}
{"Action":"output","Package":"m/b","Test":"TestTwo/deep","Output":"    b_test.go:7: got 1, want 2\n"}
{"Action":"output","Package":"m/b","Test":"TestTwo/deep","Output":"--- FAIL: TestTwo/deep (0.00s)\n"}
{"Action":"fail","Package":"m/b","Test":"TestTwo/deep"}
{"Action":"fail","Package":"m/b","Test":"TestTwo"}
{"Action":"output","Package":"m/b","Output":"FAIL\n"}
{"Action":"fail","Package":"m/b","Elapsed":0.5}
`

const oneSkips = `{"Action":"run","Package":"m/c","Test":"TestThree"}
{"Action":"output","Package":"m/c","Test":"TestThree","Output":"    c_test.go:9: needs redis-server, which is not installed\n"}
{"Action":"output","Package":"m/c","Test":"TestThree","Output":"--- SKIP: TestThree (0.00s)\n"}
{"Action":"skip","Package":"m/c","Test":"TestThree"}
{"Action":"pass","Package":"m/c"}
`

var realRedis = map[server]map[string]bool{
	{"redis", "real", "7.0.15"}:          {"TestA": true, "TestB": true},
	{"redis", "in-process", "miniredis"}: {"TestC": true},
}

func TestTheLastLineCountsTheResults(t *testing.T) {
	out, passed := reportOn(t, options{}, nil, onePasses+oneFails+oneSkips)
	if want := "\n1 passed, 2 failed, 1 skipped\n"; !strings.HasSuffix(out, want) {
		t.Errorf("the report ends with %q, want %q", out[max(0, len(out)-60):], want)
	}
	if passed {
		t.Error("a run with a failed test passed")
	}
}

func TestAFailureIsPrintedInFullAndNamedAgainAtTheEnd(t *testing.T) {
	out, _ := reportOn(t, options{}, nil, onePasses+oneFails)
	for _, want := range []string{"b_test.go:7: got 1, want 2", "failed: m/b TestTwo/deep\n", "FAIL m/b", "ok   m/a"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "hello") {
		t.Errorf("the report has the output of a test that passed:\n%s", out)
	}
}

func TestASkipIsListedWithItsReason(t *testing.T) {
	out, passed := reportOn(t, options{}, nil, onePasses+oneSkips)
	want := "skipped:\n  needs redis-server, which is not installed (1)\n    m/c TestThree\n"
	if !strings.Contains(out, want) {
		t.Errorf("the report lacks %q:\n%s", want, out)
	}
	if !passed {
		t.Error("a skip failed a run that is not strict")
	}
}

func TestTheServersAreTheLastTable(t *testing.T) {
	out, _ := reportOn(t, options{}, realRedis, onePasses)
	out = regexp.MustCompile(`PASS in \d+s`).ReplaceAllString(out, "PASS in some seconds")
	want := strings.Join([]string{
		"broker   server       version     tests",
		"redis    real         7.0.15      2",
		"redis    in-process   miniredis   1",
		"PASS in some seconds",
		"1 passed, 0 failed, 0 skipped",
		"",
	}, "\n")
	if !strings.HasSuffix(out, want) {
		t.Errorf("the report ends otherwise:\n%s\nwant\n%s", out, want)
	}
}

func TestAStrictRunFailsForWhatIsMissing(t *testing.T) {
	inProcess := map[server]map[string]bool{{"redis", "in-process", "miniredis"}: {"TestC": true}}
	for _, c := range []struct {
		what    string
		opts    options
		servers map[server]map[string]bool
		lines   string
		passes  bool
		says    string
	}{
		{"everything is there", options{strict: true, expect: []string{"redis"}}, realRedis, onePasses, true, "PASS"},
		{"a server is missing, not strict", options{missing: []string{"redis-server: none"}}, inProcess, onePasses, true,
			"NOT TESTED: redis-server: none\nPASS"},
		{"a server is missing", options{strict: true, missing: []string{"redis-server: none"}}, inProcess, onePasses, false,
			"CI has to have everything"},
		{"a test was skipped for want of something", options{strict: true}, realRedis, onePasses + oneSkips, false,
			"1 tests were skipped for want"},
		{"no test met the real server", options{expect: []string{"redis"}}, inProcess, onePasses, false,
			"no test ran against a real redis server"},
		{"no test ran", options{}, realRedis, "", false, "no test ran"},
	} {
		out, passed := reportOn(t, c.opts, c.servers, c.lines)
		if passed != c.passes || !strings.Contains(out, c.says) {
			t.Errorf("%s: passed is %v, want %v with %q in\n%s", c.what, passed, c.passes, c.says, out)
		}
	}
}

func TestAPackageFailsWithoutAFailedTest(t *testing.T) {
	for _, c := range []struct{ what, lines, says, last string }{
		{"it does not compile", `{"ImportPath":"m/d","Action":"build-output","Output":"d.go:1:1: syntax error\n"}
{"Action":"fail","Package":"m/d","FailedBuild":"m/d"}`, "d.go:1:1: syntax error\n", "0 passed, 1 failed, 0 skipped"},
		{"a test ends the process", `{"Action":"run","Package":"m/e","Test":"TestExit"}
{"Action":"output","Package":"m/e","Test":"TestExit","Output":"boom\n"}
{"Action":"output","Package":"m/e","Output":"panic: boom\n"}
{"Action":"fail","Package":"m/e"}`, "did not finish", "0 passed, 2 failed, 0 skipped"},
		{"a race is found after the last test", onePasses[:strings.LastIndex(onePasses, `{"Action":"pass","Package"`)] +
			`{"Action":"output","Package":"m/a","Output":"WARNING: DATA RACE\n"}
{"Action":"fail","Package":"m/a"}`, "WARNING: DATA RACE", "1 passed, 1 failed, 0 skipped"},
	} {
		out, passed := reportOn(t, options{}, nil, c.lines)
		if passed || !strings.Contains(out, c.says) || !strings.HasSuffix(out, c.last+"\n") {
			t.Errorf("%s: passed is %v, want a failure with %q and %q in\n%s", c.what, passed, c.says, c.last, out)
		}
	}
}

func TestALineThatIsNoEventIsPassedOn(t *testing.T) {
	out, _ := reportOn(t, options{}, nil, "no Go files in m/x\n"+onePasses)
	if !strings.HasPrefix(out, "no Go files in m/x\n") {
		t.Errorf("the report lost go test's own line:\n%s", out)
	}
}

func TestASkipReasonIsWhatTheTestSaidLast(t *testing.T) {
	for out, want := range map[string]string{
		"    a_test.go:3: set up\n    a_test.go:4: needs python3: it is not installed\n--- SKIP: TestA\n": "needs python3: it is not installed",
		"=== RUN   TestA\n--- SKIP: TestA (0.00s)\n":                                                      "no reason given",
		"    --- SKIP: TestA/b (0.00s)\n        a_test.go:5: only on Linux\n":                             "only on Linux",
	} {
		if got := skipReason(out); got != want {
			t.Errorf("the reason in %q is %q, want %q", out, got, want)
		}
	}
}

func TestTheRecordCountsTestsOncePerServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	lines := "redis\treal\t7.0.15\tTestA\nredis\treal\t7.0.15\tTestA\nredis\treal\t7.0.15\tTestB\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, err := readRecord(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := servers[server{"redis", "real", "7.0.15"}]; len(servers) != 1 || len(got) != 2 {
		t.Errorf("servers are %v, want one with two tests", servers)
	}
	if err := os.WriteFile(file, []byte("redis real\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(file); err == nil {
		t.Error("a record of another format was accepted")
	}
	if _, err := readRecord(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no record at all is an error: %v", err)
	}
}

func TestOnlyWarningsOfAFailedPackageArePrinted(t *testing.T) {
	got := warnings("FAIL\nexit status 1\nWARNING: DATA RACE\nFAIL\tm/a\t0.1s\n")
	if want := []string{"WARNING: DATA RACE\n"}; !slices.Equal(got, want) {
		t.Errorf("warnings are %q, want %q", got, want)
	}
}
