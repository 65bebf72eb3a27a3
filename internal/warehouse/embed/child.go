package embed

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// childMark in the environment makes this binary the engine.
const childMark = "SLUICE_ENGINE_CHILD"

// RunChildIfAsked turns the process into the engine if [Start] started it for
// that, and never returns then. Otherwise it does nothing. It is the first line
// of main, and of TestMain where tests start an engine.
func RunChildIfAsked() {
	if os.Getenv(childMark) == "" {
		return
	}
	os.Unsetenv(childMark)
	if err := runChild(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runChild() error {
	// A Ctrl-C reaches every process of a terminal, and a stopped unit every
	// process in it. The parent hears it too, drains, and then closes the pipe.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	var s settings
	if err := s.receive(os.Stdin); err != nil {
		return fmt.Errorf("reading the settings from the parent: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent closes the pipe, or is gone
		stopChild(&s)
	}()
	runtime.LockOSThread()
	return runLibrary(s.Library, s.arguments())
}

// stopChild ends the engine in order, and if that fails then not in order: an
// engine without its parent has nobody to stop it later.
func stopChild(s *settings) {
	time.AfterFunc(stopTimeout, func() { os.Exit(2) })
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if err := execute(ctx, s.config(), stopStatement); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // not listening yet
	}
}
