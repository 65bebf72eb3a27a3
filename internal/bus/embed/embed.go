// Package embed runs a NATS server inside the process, so that one binary and
// one folder are a whole installation.
//
// What it acknowledges is on the disk: every write is synced before it is
// answered. It opens no port unless asked to; the process itself connects
// through memory. Two processes never share a folder.
package embed

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluice-flags/sluice/internal/web"
)

// Options say how a server runs. Dir is required.
type Options struct {
	// Dir is the folder that holds the streams. It is made if need be.
	Dir string
	// Listen is the address on which others may connect, such as
	// "127.0.0.1:4222"; port 0 chooses one. Empty: nobody can.
	Listen string
	// MaxStore is how many bytes all streams together may reserve. Zero takes
	// four fifths of what the disk has free and the folder has already.
	MaxStore int64
	// MaxMemory is how many bytes streams in memory may reserve together. Zero takes
	// three quarters of the machine's.
	MaxMemory int64
	// Logger receives the server's own log. Nil discards it.
	Logger *slog.Logger
}

// An AddressError says why nobody can be let in at [Options.Listen].
type AddressError struct{ Err error }

func (e *AddressError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *AddressError) Unwrap() error { return e.Err }

// A Server is a running NATS server. It implements the provider of in-process
// connections that the NATS client asks for.
type Server struct {
	nats *server.Server
	lock *os.File
}

const readyWithin = 30 * time.Second // a store that was not closed cleanly is checked first

// Start runs a server and returns when it takes connections. Its errors are one
// line that says what to do; one about the address is an [AddressError].
func Start(o Options) (*Server, error) {
	dir, err := filepath.Abs(o.Dir)
	if o.Dir == "" || err != nil {
		return nil, fmt.Errorf("the embedded NATS server needs a data folder, got %q", o.Dir)
	}
	lock, err := takeFolder(dir)
	if err != nil {
		return nil, err
	}
	s, err := start(dir, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Server{nats: s, lock: lock}, nil
}

func start(dir string, o Options) (*server.Server, error) {
	maxStore := o.MaxStore
	if maxStore == 0 {
		var err error
		if maxStore, err = room(dir); err != nil {
			return nil, fmt.Errorf("cannot tell the free space of %s: %w", dir, err)
		}
	}
	opts := &server.Options{
		ServerName:             "sluice",
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      maxStore,
		JetStreamMaxMemory:     o.MaxMemory,
		SyncAlways:             true,            // an answered write is on the disk
		SyncInterval:           2 * time.Minute, // required beside it; never what an ack waits for
		DisableJetStreamBanner: true,
		NoSigs:                 true,
		DontListen:             o.Listen == "",
	}
	if o.Listen != "" {
		var err error
		if opts.Host, opts.Port, err = listenAddress(o.Listen); err != nil {
			return nil, err
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("cannot start the embedded NATS server: %w", err)
	}
	lg := newLogger(o.Logger)
	s.SetLoggerV2(lg, false, false, false)
	s.Start()
	for deadline := time.Now().Add(readyWithin); !s.ReadyForConnections(20 * time.Millisecond); {
		err := lg.failure()
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("not ready after %v", readyWithin)
		}
		if err != nil {
			s.Shutdown()
			s.WaitForShutdown()
			return nil, explain(err, dir, o.Listen)
		}
	}
	lg.serving.Store(true)
	return s, nil
}

// explain turns what the server says into what a person can act on.
func explain(err error, dir, listen string) error {
	if listen != "" {
		l, listenErr := web.Open(listen)
		if listenErr != nil {
			return &AddressError{listenErr}
		}
		_ = l.Close()
	}
	return fmt.Errorf("cannot start the embedded NATS server in %s: %w", dir, err)
}

func listenAddress(listen string) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(portText)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, &AddressError{fmt.Errorf("the address %q is not host:port", listen)}
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// takeFolder makes sure that dir is there, can be written, and is nobody else's.
// The lock goes with the process, however it ends.
func takeFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data folder %s: %w", dir, cause(err))
	}
	name := filepath.Join(dir, "lock")
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write to the data folder %s: %w", dir, cause(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data folder %s is in use by another process: stop it or choose another folder", dir)
		}
		return nil, fmt.Errorf("cannot lock the data folder %s: %w", dir, err)
	}
	return lock, nil
}

// cause strips the path from a file error whose message names the folder.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// room is the space that the streams may have: four fifths of what is free or
// theirs already. The rest is for what the disk holds besides.
func room(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // the types differ between systems
	var used int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			used += info.Size()
		}
		return err
	})
	return (free + used) / 5 * 4, err
}

// InProcessConn connects the process to its own server.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// URL is where others connect; empty if the server does not listen.
func (s *Server) URL() string {
	if s.nats.Addr() == nil {
		return ""
	}
	return s.nats.ClientURL()
}

// Close stops the server and gives the folder back. What was acknowledged is on
// the disk; closing only makes the next start quick.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return s.lock.Close()
}
