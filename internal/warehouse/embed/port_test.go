package embed

import (
	"errors"
	"log/slog"
	"net"
	"testing"
)

// A port can be taken between choosing it and listening on it.
func TestTakenPortIsToldFromOtherFailures(t *testing.T) {
	library, err := FindLibrary()
	if err != nil {
		t.Skip(err) // whether that is allowed, the tests of Start decide
	}
	o := Options{Dir: t.TempDir(), Library: library, MemoryLimit: DefaultMemoryLimit, Logger: slog.New(slog.DiscardHandler)}
	for name, addr := range map[string]func(*settings) string{"native": (*settings).tcpAddr, "http": (*settings).httpAddr} {
		t.Run(name, func(t *testing.T) {
			lock, err := lockFolder(t.Context(), o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			s, err := newSettings(o)
			if err != nil {
				t.Fatal(err)
			}
			stranger, err := net.Listen("tcp", addr(s))
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			e, err := launch(t.Context(), o, lock, s, confined)
			if !errors.Is(err, errPortTaken) {
				t.Errorf("launch with the %s port taken = %v, %v; want errPortTaken", name, e, err)
			}
			if err == nil {
				e.Stop(t.Context())
			}
		})
	}
}
