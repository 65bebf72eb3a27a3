package contract

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/pkg/eval/evaltest"
)

// The recorded answers once more, with the parser of user agents that the edge
// uses and the table of addresses that the Go SDK embeds. SLUICE_VECTORS names a
// folder of more.
func TestRealLookupsGiveTheAnswersOfPublishedSDKs(t *testing.T) {
	options := evaltest.Options{Country: newSDKCountries(), UserAgent: lookup.NewAgents()}
	folders := []string{filepath.Join("..", "..", "pkg", "eval", "testdata", "vectors")}
	if more := os.Getenv("SLUICE_VECTORS"); more != "" {
		folders = append(folders, more)
	}
	for _, folder := range folders {
		t.Logf("%s: %v", folder, evaltest.Check(t, folder, options))
	}
}
