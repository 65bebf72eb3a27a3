package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/services/ingest"
)

// Roles of the processes that this binary becomes.
const (
	roleBroker  = "broker"  // argument: its folder
	roleService = "service" // arguments: the broker, and the engine's address and password if it is to load
)

// roleVariable says which.
const roleVariable = "SLUICE_BENCH_INGEST"

// roleIfAsked makes this process one of those, and then does not return.
func roleIfAsked() {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends when the parent closes it, or is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var err error
	switch role {
	case roleBroker:
		err = runBroker(ctx, os.Args[1])
	case roleService:
		err = runService(ctx, os.Args[1], os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runBroker(ctx context.Context, dir string) error {
	s, err := embed.Start(embed.Options{Dir: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	<-ctx.Done()
	return s.Close()
}

// runService is the service as it is shipped.
func runService(ctx context.Context, nats, engine, password string) error {
	address, err := freeport.Loopback()
	if err != nil {
		return err
	}
	var secret config.Secret
	if err := secret.UnmarshalText([]byte(password)); err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil { // until it listens
			if c, err := net.Dial("tcp4", address); err == nil {
				_ = c.Close()
				fmt.Println(address)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return ingest.Main(ctx, &ingest.Settings{
		Common:     config.Common{LogLevel: slog.LevelError, Drain: time.Second},
		Listen:     address,
		NATS:       bus.Settings{URL: nats},
		ClickHouse: warehouse.Settings{Addr: engine, User: "sluice", Password: secret, Database: warehouse.DefaultDatabase},
		Partitions: 1, LoadLinger: 250 * time.Millisecond, Replicas: 1, AcceptOnly: engine == "",
	})
}

// A child is one of the processes.
type child struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	address string // where it answers
}

// startRole starts this binary in a role and waits for its address.
func startRole(role string, arguments ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, arguments...)} //nolint:gosec // this binary
	c.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	said, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(said, &c.address); err != nil {
		c.stop()
		return nil, fmt.Errorf("the %s did not start: %w", role, err)
	}
	return c, nil
}

// patience is how long a child may take to end in order.
const patience = 10 * time.Second

// stop asks the child to end and, if it does not, makes it.
func (c *child) stop() {
	_ = c.stdin.Close()
	end := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer end.Stop()
	var exit *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "waiting for a child:", err)
	}
}
