package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// childMark in the environment makes this binary the engine: as it is, or after it
// has given up the files that are none of the engine's.
const (
	childMark = "SLUICE_ENGINE_CHILD"
	asItIs    = "1"
	confined  = "confine"
)

// childEnvironment is what the child gets of the environment: nothing that could
// be a secret, since who asks the engine can read its own.
func childEnvironment(all []string, mark, library string) []string {
	env := []string{childMark + "=" + mark, LibraryVariable + "=" + library}
	for _, entry := range all {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains([]string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR"}, name) || strings.HasPrefix(name, "LC_") {
			env = append(env, entry)
		}
	}
	return env
}

// RunChildIfAsked turns the process into the engine if [Start] started it for
// that, and never returns then. Otherwise it does nothing. It is the first line
// of main, and of TestMain where tests start an engine.
func RunChildIfAsked() {
	mark := os.Getenv(childMark)
	if mark == "" {
		return
	}
	os.Unsetenv(childMark)
	run := runChild
	if mark == confined {
		run = confineChild
	}
	err := run()
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, err)
	if _, ok := errors.AsType[notLoaded](err); ok {
		os.Exit(exitNotLoaded)
	}
	os.Exit(1)
}

// What a child ends with in which there was no engine: because it could not be
// confined or not load the library, or, as the system's loader says it, because a
// library of its own was not to be found.
const (
	exitNotLoaded = 126
	exitNoLibrary = 127
)

// notLoaded is the error of a child in which there was no engine.
type notLoaded struct{ error }

func confineChild() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	library := os.Getenv(LibraryVariable)
	if err := confine(dir, library, childEnvironment(os.Environ(), asItIs, library)); err != nil {
		return notLoaded{fmt.Errorf("giving up the files that are not the engine's: %w", err)}
	}
	return nil
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
