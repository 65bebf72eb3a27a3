package sdks_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/tests/harness"
)

// servePage builds and serves examples/react as its README says, at a free address.
func servePage(t *testing.T, root string) (url string) {
	t.Helper()
	address := freeport.For(t)
	cmd := exec.Command("npm", "run", "serve", "--workspace", "examples/react")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "LISTEN="+address)
	var printed strings.Builder
	cmd.Stdout, cmd.Stderr = &printed, &printed
	terminal, err := cmd.StdinPipe() // what serves ends with it
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = terminal.Close() // it may have ended by itself
		err := cmd.Wait()
		if t.Failed() {
			t.Logf("npm run serve ended: %v\n%s", err, printed.String())
		}
	})
	harness.Within(t, time.Minute, func() error {
		res, err := http.Get("http://" + address)
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	return "http://" + address
}

// The page in examples/react, opened by a user in a browser: a flip changes what
// it shows, and a click is an event.
func TestTheReactExampleShowsWhatItsGateSays(t *testing.T) {
	t.Parallel()
	root, chromium := harness.NeedNode(t), harness.NeedBrowser(t)
	site := servePage(t, root)

	shop := harness.Shared(t).NewProject("react_example")
	shop.Create("gates", harness.Doc{"name": "new_pricing_ui", "rules": []harness.Doc{}})
	shop.Create("configs", harness.Doc{"name": "pricing_tiers", "rules": []harness.Doc{},
		"defaultValue": harness.Doc{"prices": harness.Doc{"free": 0, "basic": 10, "pro": 50}}})
	shop.Create("experiments", harness.Doc{"name": "button_color_test", "allocation": 100, "groups": []harness.Doc{
		{"name": "control", "share": 50, "control": true, "parameters": harness.Doc{"color": "rgb(0, 0, 200)"}},
		{"name": "green", "share": 50, "parameters": harness.Doc{"color": "rgb(0, 120, 0)"}},
	}})
	shop.Start("button_color_test")

	page := harness.Browser(t, chromium)
	visit := site + "/?" + url.Values{"api": {shop.HTTP}, "key": {shop.Client}, "user": {"ann"}}.Encode()
	shows := func(expression, want string) {
		t.Helper()
		harness.Within(t, 30*time.Second, func() error {
			got, err := chromedp.Run(page, chromedp.Evaluate[string](expression))
			if err == nil && got != want {
				err = fmt.Errorf("%s = %q; want %q", expression, got, want)
			}
			return err
		})
	}
	const which = `document.querySelector('[data-page]')?.dataset.page ?? ''`
	if err := chromedp.Do(page, chromedp.Navigate(visit)); err != nil {
		t.Fatal(err)
	}
	shows(which, "old")

	shop.SetGate("new_pricing_ui", 100)
	if err := chromedp.Do(page, chromedp.Navigate(visit)); err != nil {
		t.Fatal(err)
	}
	shows(which, "new")
	shows(`[...document.querySelectorAll('[data-plan]')].map((li) => li.dataset.plan + ': ' + li.querySelector('p').textContent).sort().join(', ')`,
		"basic: 10 a month, free: free, pro: 50 a month")
	var group struct {
		Name  string `json:"group_name"`
		Value struct {
			Color string `json:"color"`
		} `json:"value"`
	}
	shop.Must(http.StatusOK, &group, shop.Server, "POST", "/v1/get_config", harness.Doc{
		"configName": "button_color_test", "user": harness.Doc{"userID": "ann"}, "statsigMetadata": harness.Doc{"exposureLoggingDisabled": true}})
	shows(`document.querySelector('[data-plan=pro] button').style.background`, group.Value.Color)
	if err := chromedp.Do(page, chromedp.Click(`[data-plan=pro] button`)); err != nil {
		t.Fatal(err)
	}
	// Leaving the page sends what it has not sent yet.
	if err := chromedp.Do(page, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}

	b := &bench{shop: shop, db: shop.Warehouse()}
	b.eventually("events", []string{"ann chose pro for 50"},
		"SELECT concat(unit_id, ' chose ', metadata['plan'], ' for ', toString(value)) FROM events WHERE project = ? AND event = 'plan_chosen'", shop.ID)
	b.eventually("exposures", []string{
		"config pricing_tiers ", "experiment button_color_test " + group.Name, "gate new_pricing_ui false", "gate new_pricing_ui true",
	}, "SELECT DISTINCT concat(kind, ' ', name, ' ', value) FROM exposures WHERE project = ? AND unit_id = 'ann'", shop.ID)
}
