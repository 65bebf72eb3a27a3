// Command engine is ClickHouse in a container for machines that have a Docker
// engine, and not ClickHouse's own image: the engine of package embed, at the
// ports of that image, for the user that CLICKHOUSE_USER and CLICKHOUSE_PASSWORD
// name.
//
// It expects the engine's library and the data in the root of the container. It
// ends with the engine, and on SIGTERM.
package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
)

const (
	library = "/libchdb.so"
	data    = "/data"
)

func main() {
	embed.RunChildIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until ctx is done or the engine dies.
func run(ctx context.Context) error {
	if err := addUser(os.Getenv("CLICKHOUSE_USER"), os.Getenv("CLICKHOUSE_PASSWORD")); err != nil {
		return err
	}
	engine, err := embed.Start(ctx, embed.Options{Dir: data, Library: library})
	if err != nil {
		return err
	}
	defer engine.Stop(context.WithoutCancel(ctx))
	parts, ctx := errgroup.WithContext(ctx)
	for port, to := range map[string]string{":9000": engine.Config().Addr, ":8123": engine.HTTPAddr()} {
		parts.Go(func() error { return forward(ctx, port, to) })
	}
	parts.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-engine.Done():
			return err
		}
	})
	return parts.Wait()
}

// addUser writes a user who may do everything. The engine reads the folder
// beside its own users, as every ClickHouse does; those stay what they are.
func addUser(name, password string) error {
	if name == "" || password == "" || name == "default" || name == "sluice" {
		return errors.New("CLICKHOUSE_USER and CLICKHOUSE_PASSWORD have to name a user other than default and sluice")
	}
	type user struct {
		XMLName  xml.Name
		Password string `xml:"password"`
		Network  string `xml:"networks>ip"`
		Profile  string `xml:"profile"`
		Quota    string `xml:"quota"`
	}
	text, err := xml.Marshal(struct {
		XMLName xml.Name            `xml:"clickhouse"`
		Users   struct{ User user } `xml:"users"`
	}{Users: struct{ User user }{user{xml.Name{Local: name}, password, "::/0", "default", "default"}}})
	if err != nil {
		return fmt.Errorf("writing user %q: %w", name, err)
	}
	dir := filepath.Join(data, "users.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "user.xml"), text, 0o600)
}

// forward passes connections on to the engine, and takes leave of it in order
// whatever the client did: a connection that is reset would be its end.
func forward(ctx context.Context, port, to string) error {
	listener, err := net.Listen("tcp", port)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		client, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go func() { // ends when both sides have
			defer client.Close()
			server, err := new(net.Dialer).DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(client, server)
			_, _ = io.Copy(io.Discard, server) // to its end, whoever has gone
		}()
	}
}
