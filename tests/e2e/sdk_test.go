package e2e

import (
	"fmt"
	"testing"

	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A row is what an SDK answered for one user.
type row struct {
	Gate       any
	Config     any
	Experiment any
	Group      string
}

// travellers are the SDKs of the journey. All of them, and all that they can do,
// are tried by tests/contract/sdks.
func travellers() []sdks.SDK { return append(sdks.Servers(), sdks.Clients()[0]) }

// drive has an SDK check everything for each of n users, whose ids begin with
// its name, and log the event for those that convert.
func drive(t *testing.T, lab *sdks.Lab, sdk sdks.SDK, shop *harness.Project, n int, converts func(int) bool) (users []sdks.User, rows []row) {
	t.Helper()
	key := shop.Server
	if sdk.Client {
		key = shop.Client
	}
	for i := range n {
		users = append(users, sdks.User{"userID": fmt.Sprintf("%s-%d", sdk.Name, i)})
	}
	instance := lab.Start(t, sdk).Open(sdks.Setup{Base: shop.HTTP, Key: key, User: users[0]})
	for i, u := range users {
		got := instance.Check(u, sdks.Question{Gate: gate, Config: config, Experiment: experiment})
		rows = append(rows, row{got["gate"].Value, got["config"].Value, got["experiment"].Value, got["experiment"].Group})
		if converts(i) {
			instance.Log(u, sdks.Event{Name: event, Value: 12.5, Metadata: map[string]string{"sdk": sdk.Name}})
		}
	}
	instance.Flush()
	instance.Close()
	return users, rows
}
