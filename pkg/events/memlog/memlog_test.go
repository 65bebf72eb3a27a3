package memlog_test

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
	"github.com/sluice-flags/sluice/pkg/events/memlog"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) events.Log { return memlog.New(t.Name()) })
}
