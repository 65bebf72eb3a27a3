package harness

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"
)

// Program runs sluice with args to its end, which has to come by itself, and
// returns what it printed and its exit code.
func Program(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.WaitDelay = 10 * time.Second
	var out, failure lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended || ctx.Err() != nil {
		t.Fatalf("sluice %v: %v\n%s%s", args, err, out.String(), failure.String())
	}
	return out.String(), failure.String(), cmd.ProcessState.ExitCode()
}
