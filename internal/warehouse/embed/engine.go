// Package embed runs a ClickHouse engine as a child process, so that a laptop
// needs no installation and no container.
//
// The child is this same binary, started again: it loads the engine's shared
// library and listens on two loopback ports. It never outlives its parent, not
// even one that was killed; it keeps nobody from starting again; and what it
// has acknowledged is on the disk whichever of the two dies. A main function
// that calls [Start] has [RunChildIfAsked] as its first line.
//
// To the rest of the program the engine is an address, a user and a password
// ([Engine.Config]), as any other ClickHouse is.
package embed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// How long the engine may take, over what was measured on a busy machine by a
// wide margin.
const (
	startTimeout = time.Minute      // to the first answer; a tenth of a second when idle
	stopTimeout  = 10 * time.Second // to end in order; five seconds with a query running
	startTries   = 3                // new ports each time
)

// DefaultMemoryLimit bounds the engine's memory where [Options] does not.
const DefaultMemoryLimit = 4 << 30

// Options say where the engine keeps its data. Only Dir is required.
type Options struct {
	Dir         string       // data, configuration and log of the engine; made if missing
	Library     string       // path of libchdb.so; [FindLibrary] if empty
	MemoryLimit int64        // bytes the engine may use, DefaultMemoryLimit if 0; never over half of the machine
	Logger      *slog.Logger // slog.Default if nil

	Password        string // of [Engine.Config]'s user; a new one with each start if empty
	AnalystPassword string // of the read-only user; a new one with each start if empty
}

// An Engine is a running child process.
//
// Nothing that it acknowledged is lost when it dies, so the caller starts it
// again then. It does die more easily than a server: made for the command line,
// it takes a connection that fails before its first query (a wrong password, a
// database that does not exist, a client that leaves in the middle of the
// greeting) for a reason to abort. So its addresses are for programs that hold
// the password, and on Linux they are not where strangers look.
type Engine struct {
	config   warehouse.Config
	analyst  warehouse.Config
	httpAddr string
	cmd      *exec.Cmd
	lifeline *os.File // the child ends when this closes; kept here so that it is not collected
	done     chan error
	exited   chan struct{}
	stop     sync.Once
	stopping chan struct{} // closed by Stop: from then on an end is no death
	logger   *slog.Logger
}

// Confines reports whether engines on this system can read no files but their own
// and those of the system: on Linux, from 5.19 on. Elsewhere whoever may ask them
// anything, an analyst too, reads every file that this process can.
func Confines() bool { return canConfine() }

// ErrInUse is returned by [Start] for a folder that another process's engine works in.
var ErrInUse = errors.New("the folder is in use by another process")

// Start starts an engine and returns when it answers queries.
func Start(ctx context.Context, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = DefaultMemoryLimit
	}
	e, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting the ClickHouse engine in %s: %w", o.Dir, err)
	}
	return e, nil
}

func start(ctx context.Context, o Options) (*Engine, error) {
	if o.Dir == "" {
		return nil, errors.New("no folder given")
	}
	if o.Library == "" {
		var err error
		if o.Library, err = FindLibrary(); err != nil {
			return nil, err
		}
	}
	// The child works in its own folder, and the engine would lose its tables if
	// its data path meant another one after a restart.
	for _, path := range []*string{&o.Dir, &o.Library} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = absolute
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFolder(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // the child has inherited it by then, or there is none

	// A free port can be taken by someone else between choosing and listening.
	// The child fails then, and so does logging in with a password that was made
	// for this start, so a stranger is never taken for the engine.
	mark := confined
	if !canConfine() {
		mark = asItIs
		o.Logger.WarnContext(ctx, notConfined, slog.String("reason", "that takes Linux 5.19 or later"))
	}
	var why error // no engine could be confined
	for try := 1; ; try++ {
		s, err := newSettings(o)
		if err != nil {
			return nil, err
		}
		e, err := launch(ctx, o, lock, s, mark)
		// Where libraries are in folders of their own, a confined child may not read
		// them. An engine that is not confined is better than none.
		if _, ok := errors.AsType[notLoaded](err); ok && mark == confined {
			mark, why = asItIs, err
			continue
		}
		if err == nil && why != nil {
			o.Logger.WarnContext(ctx, notConfined, slog.Any("reason", why))
		}
		if !errors.Is(err, errPortTaken) || try == startTries || ctx.Err() != nil {
			return e, err
		}
	}
}

const notConfined = "the ClickHouse engine is not confined to its folder: whoever has the password of its analyst can read files of this user's"

// launch runs one child as mark says and waits until it answers.
func launch(ctx context.Context, o Options, lock *os.File, s *settings, mark string) (*Engine, error) {
	if err := s.write(); err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	output, err := os.OpenFile(s.outputFile(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()

	cmd := &exec.Cmd{
		Path:        executable,
		Args:        []string{filepath.Base(executable) + ": clickhouse engine"},
		Env:         childEnvironment(os.Environ(), mark, s.Library),
		Dir:         o.Dir,
		Stdin:       stdin,
		Stdout:      output,
		Stderr:      output,
		ExtraFiles:  []*os.File{lock}, // so that the folder stays locked for as long as the child lives
		SysProcAttr: childAttributes(),
	}
	e := &Engine{
		config:   s.config(),
		analyst:  s.forAnalysts(),
		httpAddr: s.httpAddr(),
		cmd:      cmd,
		lifeline: lifeline,
		done:     make(chan error, 1),
		exited:   make(chan struct{}),
		stopping: make(chan struct{}),
		logger:   o.Logger,
	}
	if err := e.run(); err != nil {
		lifeline.Close()
		return nil, err
	}
	if err := s.send(lifeline); err != nil {
		e.kill()
		return nil, fmt.Errorf("%w: %w", err, s.failure(cmd.ProcessState))
	}
	if err := e.awaitAnswer(ctx, s); err != nil {
		e.kill()
		return nil, err
	}
	o.Logger.InfoContext(ctx, "clickhouse engine started", slog.Int("pid", e.PID()), slog.String("addr", e.config.Addr))
	return e, nil
}

// run starts the child and watches it to its end, both on one thread of the
// system that it keeps: Linux takes the end of the thread that started a child
// for the end of the parent.
func (e *Engine) run() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := e.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = e.cmd.Wait() // says what ProcessState says
		close(e.exited)
		e.lifeline.Close()
		select {
		case <-e.stopping:
			e.done <- nil
		default:
			e.done <- fmt.Errorf("the ClickHouse engine died: %v", e.cmd.ProcessState)
		}
		close(e.done)
	}()
	return <-started
}

// awaitAnswer polls the engine until it answers, dies, or takes too long. The
// question makes our database, since a client that named one that is not there
// would be the engine's end (see [Engine]).
func (e *Engine) awaitAnswer(ctx context.Context, s *settings) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no answer within %v", startTimeout))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := execute(ctx, e.config, "CREATE DATABASE IF NOT EXISTS "+e.config.Database)
		if err == nil {
			return nil
		}
		select {
		case <-e.exited:
			return s.failure(e.cmd.ProcessState)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Config is how to connect to the engine. The address is new with each start, and
// so is the password unless [Options] have one.
func (e *Engine) Config() warehouse.Config { return e.config }

// Analyst is how people connect who only ask: they may read the facts, the
// definitions and the views, within limits of memory, time and rows, and nothing
// else.
func (e *Engine) Analyst() warehouse.Config { return e.analyst }

// HTTPAddr is the host:port of ClickHouse's HTTP interface, with the same users and passwords.
func (e *Engine) HTTPAddr() string { return e.httpAddr }

// PID is the process id of the child.
func (e *Engine) PID() int { return e.cmd.Process.Pid }

// Done yields one value when the engine has ended: nil after [Engine.Stop],
// else what happened to it. The caller decides whether to start another.
func (e *Engine) Done() <-chan error { return e.done }

// Stop ends the engine in order: queries end, parts are on the disk. An engine
// that does not end within ten seconds, or before ctx does, is killed; it has
// lost nothing that it acknowledged then, either.
//
// Close pools of connections first: the engine waits five seconds for open ones.
func (e *Engine) Stop(ctx context.Context) {
	e.stop.Do(func() { close(e.stopping) })
	e.lifeline.Close()
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-e.exited:
	case <-ctx.Done():
		e.logger.Warn("clickhouse engine killed: it did not end in time", slog.Int("pid", e.PID()))
		e.kill()
	}
}

// kill ends the child at once and waits until it is gone.
func (e *Engine) kill() {
	_ = e.cmd.Process.Kill() // it may be gone already
	<-e.exited
}

// lastLine returns the last line of a file, for an error message.
func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}
