// Command ingest is the ingest service alone, against a NATS and a ClickHouse
// that run elsewhere.
package main

import (
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/services/ingest"
)

func main() {
	config.Main("ingest", "Accepts exposures and events, and loads each into ClickHouse exactly once.", ingest.Main)
}
