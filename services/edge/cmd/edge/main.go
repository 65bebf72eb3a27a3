// Command edge is the edge alone, against a NATS that runs elsewhere.
package main

import (
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/services/edge"
)

func main() {
	config.Main("edge", "Answers what flags are, and pushes what changes.", edge.Main)
}
