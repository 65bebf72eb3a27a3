package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	statsig "github.com/statsig-io/go-sdk"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A task is what every SDK is asked to do; see tests/contract/js/sdk.mjs, which
// reads the same shape.
type task struct {
	Base       string `json:"base"`
	Key        string `json:"key"`
	Users      []user `json:"users"`
	Gate       string `json:"gate"`
	Config     string `json:"config"`
	Experiment string `json:"experiment"`
	Event      string `json:"event"`
	Converts   []bool `json:"converts"` // by user: logs the event
}

type user struct {
	UserID string `json:"userID"`
}

// A row is what an SDK answered for one user.
type row struct {
	Gate       bool           `json:"gate"`
	Config     map[string]any `json:"config"`
	Experiment map[string]any `json:"experiment"`
	Group      string         `json:"group"`
}

// An sdk is one unmodified SDK under test.
type sdk struct {
	name   string
	client bool // takes a client key
	run    func(t *testing.T, task task) []row
}

var sdks = []sdk{
	{name: "go-sdk", run: runGo},
	{name: "statsig-node", run: node("statsig-node.mjs")},
	{name: "statsig-node-core", run: node("statsig-node-core.mjs")},
	{name: "js-client", client: true, run: node("js-client.mjs")},
}

// runGo drives github.com/statsig-io/go-sdk.
func runGo(t *testing.T, task task) []row {
	client := statsig.NewClientWithOptions(task.Key, &statsig.Options{
		API:                  task.Base + "/v1",
		Environment:          statsig.Environment{Tier: "production"},
		OutputLoggerOptions:  statsig.OutputLoggerOptions{LogCallback: func(string, error) {}},
		StatsigLoggerOptions: statsig.StatsigLoggerOptions{DisableInitDiagnostics: true},
	})
	var rows []row
	for i, u := range task.Users {
		su := statsig.User{UserID: u.UserID}
		experiment := client.GetExperiment(su, task.Experiment)
		rows = append(rows, row{
			Gate:       client.CheckGate(su, task.Gate),
			Config:     client.GetConfig(su, task.Config).Value,
			Experiment: experiment.Value,
			Group:      experiment.GroupName,
		})
		if task.Converts[i] {
			client.LogEvent(statsig.Event{EventName: task.Event, User: su, Value: "12.5", Metadata: map[string]string{"sdk": "go-sdk"}})
		}
	}
	client.Shutdown() // flushes
	return rows
}

// node returns a runner for one of the programs in tests/contract/js.
func node(program string) func(*testing.T, task) []row {
	return func(t *testing.T, task task) []row {
		root := harness.NeedNode(t)
		argument, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "node", filepath.Join(root, "tests", "contract", "js", program), string(argument))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		var rows []row
		if err := json.Unmarshal(lastLine(out), &rows); err != nil {
			t.Fatalf("%s printed %q: %v", program, out, err)
		}
		return rows
	}
}

// lastLine leaves out what an SDK itself prints before the answer.
func lastLine(out []byte) []byte {
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == '\n' {
			return out[i+1:]
		}
	}
	return out
}
