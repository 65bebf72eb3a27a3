package bus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
)

func TestAClaimIsOneProcesssUntilItIsGivenBack(t *testing.T) {
	c := server(t)
	if err := bus.EnsureLoaders(t.Context(), c, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	release, err := c.Claim(t.Context(), "the work", time.Hour)
	if err != nil {
		t.Fatalf("Claim() = %v", err)
	}
	if _, err := c.Claim(t.Context(), "the work", time.Hour); !errors.Is(err, bus.ErrClaimed) {
		t.Errorf("Claim() of what somebody has = %v; want ErrClaimed", err)
	}
	if _, err := c.Claim(t.Context(), "other work", time.Hour); err != nil {
		t.Errorf("Claim() of something else = %v", err)
	}
	release(t.Context())
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = c.Claim(t.Context(), "the work", time.Hour); err == nil {
			return
		}
		if !errors.Is(err, bus.ErrClaimed) || time.Now().After(deadline) {
			t.Fatalf("Claim() of what was given back = %v", err)
		}
	}
}
