package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asProgram makes the test binary the program itself.
const asProgram = "SLUICE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program runs `sluice` with args.
func program(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, wrong strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "SLUICE_KEY=console-shop-0123", "SLUICE_VERSION=v1.2")
	cmd.Stdout, cmd.Stderr = &out, &wrong
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	} else if ok {
		code = exit.ExitCode()
	}
	return out.String(), wrong.String(), code
}

func TestACommandThatCannotBeMeantEndsWithOneLine(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.csv")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"import-facts", missing, "--experiment", "x", "--group-column", "g"}, "missing.csv: no such file"},
		{[]string{"import-facts", os.Args[0], "--experiment", "x"}, "--group-column"},
		{[]string{"results", "x", "--method", "guess"}, "--method"},
		{[]string{"results", "x", "--url", "nowhere"}, "--url"},
		{[]string{"results", ""}, `"" is no name`},
		{[]string{"eval", "..", "--user", "{}"}, `".." is no name`},
		{[]string{"import-facts", os.Args[0], "--experiment", ".", "--group-column", "g"}, `"." is no name`},
		{[]string{"results", "x", "--key", "console-shop-0123\r\n"}, "--key"},
		{[]string{"nonsense"}, "nonsense"},
	} {
		stdout, stderr, code := program(t, tc.args...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tc.want) {
			t.Errorf("sluice %q printed %q and %q and ended with %d; want one line with %q, and %d", tc.args, stdout, stderr, code, tc.want, exitUsage)
		}
	}
}

func TestTheProgramAloneExplainsItself(t *testing.T) {
	if stdout, stderr, code := program(t); code != 0 || !strings.Contains(stdout, "import-facts") || stderr != "" {
		t.Errorf("sluice printed %q and %q and ended with %d; want help, and 0", stdout, stderr, code)
	}
}
