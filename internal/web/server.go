package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// A Server serves one handler on one address. Its fields are set before
// [Server.Listen] and left alone after.
type Server struct {
	Addr       string        // host:port; port 0 takes any free one
	Handler    http.Handler  // what to serve, usually wrapped by [Middleware]
	Drain      time.Duration // how long requests may take to end on stop; 10 s if 0
	OnShutdown func()        // called when draining begins: say goodbye to long-lived connections here
	Logger     *slog.Logger

	mu       sync.Mutex
	listener net.Listener
}

// Listen opens the address, so that a port in use is known before anything else
// starts. Run does it when nobody has.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := Open(s.Addr)
	if err != nil {
		return err
	}
	s.listener = l
	return nil
}

// Open listens on an address, and says what to do about one that cannot be had.
func Open(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is in use by another program: stop it or choose another address", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the address %s may not be opened by this user: choose a port above 1023", addr)
	case err != nil:
		return nil, fmt.Errorf("listening on %s: %w", addr, err)
	}
	return l, nil
}

// Listen opens the addresses of a program, those of --listen and --ops, and names
// the setting of one that cannot be had. A server without an address is left out.
func Listen(front, ops *Server) error {
	for _, s := range []struct {
		*Server
		setting string
	}{{front, "--listen (SLUICE_LISTEN)"}, {ops, "--ops (SLUICE_OPS)"}} {
		if s.Addr == "" {
			continue
		}
		if err := s.Listen(); err != nil {
			return fmt.Errorf("%s: %w", s.setting, err)
		}
	}
	return nil
}

// Address returns the address that is really listened on, "" before Listen.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Run serves until ctx is done, then lets the requests that have begun end. A
// server without an address serves nobody.
func (s *Server) Run(ctx context.Context) error {
	if s.Addr == "" {
		<-ctx.Done()
		return nil
	}
	if err := s.Listen(); err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // event streams extend theirs as they write
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(cmp.Or(s.Logger, slog.Default()).Handler(), slog.LevelDebug),
	}
	if s.OnShutdown != nil {
		srv.RegisterOnShutdown(s.OnShutdown)
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(s.listener) }() // ends with Shutdown or Close below

	select {
	case err := <-failed:
		return fmt.Errorf("serving on %s: %w", s.Addr, err)
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(s.Drain, 10*time.Second))
	defer cancel()
	err := srv.Shutdown(draining)
	if err != nil {
		err = errors.Join(fmt.Errorf("draining %s: %w", s.Addr, err), srv.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
