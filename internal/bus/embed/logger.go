package embed

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// logger hands the server's log on, and keeps what the server would have ended
// the process for.
type logger struct {
	slog    *slog.Logger
	fatal   atomic.Pointer[string]
	serving atomic.Bool // before, Start returns what fails
}

var _ server.Logger = (*logger)(nil)

func newLogger(lg *slog.Logger) *logger {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	return &logger{slog: lg.With(slog.String("component", "nats-server"))}
}

// failure is why the server gave up, or nil.
func (l *logger) failure() error {
	if text := l.fatal.Load(); text != nil {
		return errors.New(*text)
	}
	return nil
}

func (l *logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	if l.serving.Load() {
		l.slog.Error("server failed", slog.String("detail", text))
	}
}

func (l *logger) Errorf(format string, v ...any) {
	l.slog.Error("server error", slog.String("detail", fmt.Sprintf(format, v...)))
}

func (l *logger) Warnf(format string, v ...any) {
	l.slog.Warn("server warning", slog.String("detail", fmt.Sprintf(format, v...)))
}

func (l *logger) Noticef(format string, v ...any) {
	l.slog.Debug("server notice", slog.String("detail", fmt.Sprintf(format, v...)))
}

func (l *logger) Debugf(string, ...any) {}
func (l *logger) Tracef(string, ...any) {}
