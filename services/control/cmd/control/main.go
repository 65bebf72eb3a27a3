// Command control runs the control service alone, against a NATS that others
// run.
package main

import (
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/services/control"
)

func main() {
	config.Main("control", "The management interface of Sluice: definitions, their history, results.", control.Main)
}
