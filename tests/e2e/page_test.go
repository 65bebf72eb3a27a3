package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A browser that has the demo page open sees changes as they are made, with the
// delay, says when it is disconnected, and recovers by itself.
func TestTheDemoPageShowsChangesAsTheyAreMade(t *testing.T) {
	t.Parallel()
	chromium := harness.NeedBrowser(t)
	p := harness.Start(t, harness.Options{Args: []string{"--demo"}})
	demo := demoFacts(t, p)
	page := harness.Browser(t, chromium)

	if err := chromedp.Do(page, chromedp.Navigate(demo.Addresses.Page)); err != nil {
		t.Fatal(err)
	}
	const (
		connection = `document.getElementById('connection').dataset.state`
		gateValue  = `document.getElementById('gate-value').dataset.value`
		configText = `document.getElementById('config-value').textContent`
		lastDelay  = `document.querySelector('#changes tr[data-delay]').dataset.delay`
	)
	eventually(t, page, connection, "live")

	setGate(demo, p, 0)
	eventually(t, page, gateValue, "false")
	setGate(demo, p, 100)
	eventually(t, page, gateValue, "true")
	p.Must(http.StatusOK, nil, demo.Keys.Console, "PATCH", demo.path("configs", demo.Config),
		harness.Doc{"defaultValue": harness.Doc{"text": "only today", "colour": nil}}, "If-Match", "*")
	eventually(t, page, configText, "{\n  \"text\": \"only today\"\n}")

	delay := evaluate(t, page, lastDelay)
	if ms, err := strconv.Atoi(delay); err != nil || ms < 0 {
		t.Errorf("the page shows a delay of %q ms; want a number that is not negative", delay)
	}
	t.Logf("from the log to the page: %s ms", delay)

	p.Kill()
	eventually(t, page, connection, "lost")
	p.Restart()
	setGate(demo, p, 0)
	eventually(t, page, connection, "live")
	eventually(t, page, gateValue, "false")

	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		picture, err := chromedp.Run(page, chromedp.FullScreenshot(100))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "demo.png"), picture, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// facts is what scripts find in demo.json.
type facts struct {
	Project string `json:"project"`
	Gate    string `json:"gate"`
	Config  string `json:"config"`
	Keys    struct {
		Console string `json:"console"`
		Server  string `json:"server"`
		Client  string `json:"client"`
	} `json:"keys"`
	Addresses struct {
		Page string `json:"page"`
	} `json:"addresses"`
}

func (f facts) path(collection, name string) string {
	return "/api/v1/projects/" + f.Project + "/" + collection + "/" + name
}

// demoFacts waits for the demo to be prepared and returns what it says of itself.
func demoFacts(t *testing.T, p *harness.Platform) facts {
	t.Helper()
	var f facts
	harness.Within(t, time.Minute, func() error {
		raw, err := os.ReadFile(filepath.Join(p.Data, "demo.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &f)
	})
	return f
}

func setGate(f facts, p *harness.Platform, percentage float64) {
	p.T.Helper()
	rules := []harness.Doc{{"id": "all", "name": "Everyone", "passPercentage": percentage, "conditions": harness.Everyone}}
	p.Must(http.StatusOK, nil, f.Keys.Console, "PATCH", f.path("gates", f.Gate), harness.Doc{"rules": rules}, "If-Match", "*")
}

// evaluate returns the text that a JavaScript expression yields on the page.
func evaluate(t *testing.T, page context.Context, expression string) string {
	t.Helper()
	got, err := chromedp.Run(page, chromedp.Evaluate[string](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// eventually waits until an expression yields want on the page.
func eventually(t *testing.T, page context.Context, expression, want string) {
	t.Helper()
	harness.Within(t, 45*time.Second, func() error {
		if got := evaluate(t, page, expression); got != want {
			return fmt.Errorf("%s = %q; want %q", expression, got, want)
		}
		return nil
	})
}
