// Package e2e walks whole journeys through the real platform: the sluice binary
// with its embedded broker and engine, unmodified SDKs from the registries, a
// browser, and nothing in between.
package e2e

import (
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	embed.RunChildIfAsked()
	harness.Main(m)
}
