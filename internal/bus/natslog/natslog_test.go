package natslog_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

func TestLog(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	heads := t.TempDir()
	var n atomic.Int64
	logtest.Run(t, func(t *testing.T) events.Log {
		project := fmt.Sprintf("p%d", n.Add(1))
		ensure(t, conn, project)
		return open(t, conn, project, natslog.Options{HeadDir: heads})
	})
}

func startServer(t *testing.T, o embed.Options) *embed.Server {
	t.Helper()
	s, err := embed.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func connect(t *testing.T, s *embed.Server) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), bus.Config{InProcess: s, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func ensure(t *testing.T, c *bus.Conn, project string) {
	t.Helper()
	if _, err := bus.EnsureProject(t.Context(), c, project, bus.Limits{FlagsBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, c *bus.Conn, project string, o natslog.Options) *natslog.Log {
	t.Helper()
	l, err := natslog.Open(t.Context(), c, project, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
