package sdks_test

import (
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
