package exposure

import (
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

func TestTheEnvironmentsOfAKeyAreThoseOfTheStateThatIsAsked(t *testing.T) {
	p, key, places := edgetest.New(t, "shop"), &flags.Key{}, new(places)
	before := len(places.of(p.State(), key).environments)
	p.Put(t, &flags.Environment{Name: "staging"})
	for range 2 { // looked up, then remembered
		if got := places.of(p.State(), key).environments; len(got) != before+1 || !slices.Contains(got, "staging") {
			t.Errorf("of() = %q; want staging and the %d from before", got, before)
		}
	}
}

func TestARememberedKeyKeepsNoState(t *testing.T) {
	p, key, places := edgetest.New(t, "shop"), &flags.Key{}, new(places)
	places.of(p.State(), key)
	gone := weak.Make(p.State())
	p.Put(t, &flags.Environment{Name: "staging"})
	for deadline := time.Now().Add(20 * time.Second); gone.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("a state that was asked is still there though the project has moved on")
		}
	}
	runtime.KeepAlive(places)
}
