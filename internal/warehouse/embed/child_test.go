package embed

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever asks the engine can read its environment.
func TestTheChildHasNoSecretInItsEnvironment(t *testing.T) {
	got := childEnvironment([]string{"SLUICE_ADMIN_KEY=secret", "PATH=/bin", "AWS_SECRET_ACCESS_KEY=secret", "LC_ALL=C", "TZ=UTC", "SLUICE_ENGINE_LIB=/old"}, confined, "/lib/engine.so")
	want := []string{"SLUICE_ENGINE_CHILD=confine", "SLUICE_ENGINE_LIB=/lib/engine.so", "PATH=/bin", "LC_ALL=C", "TZ=UTC"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}
