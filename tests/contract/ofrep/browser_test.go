package ofrep

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// bundle is ofrep-web-page.mjs as one script.
func bundle(t *testing.T) []byte {
	t.Helper()
	root := harness.NeedNode(t)
	cmd := exec.Command(filepath.Join(root, "node_modules", ".bin", "esbuild"), //nolint:gosec // what npm installed
		"--bundle", "--format=iife", "--log-level=warning", filepath.Join(root, "tests", "contract", "js", "ofrep-web-page.mjs"))
	cmd.Stderr = t.Output()
	script, err := cmd.Output()
	if err != nil {
		t.Fatalf("bundling the page: %v", err)
	}
	return script
}

// inChromium opens pages of a browser, of another origin than the platform's as
// an application's are.
func inChromium(t *testing.T) opener {
	t.Helper()
	path, script := harness.NeedBrowser(t), bundle(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script) // the page has gone: nobody is left to tell
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><meta charset="utf-8"><title>OFREP</title><script src="/page.js" defer></script>`)
	}))
	t.Cleanup(site.Close)
	chrome := harness.Browser(t, path)
	if err := chromedp.Do(chrome, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return func(t *testing.T, base, key string) *page {
		t.Helper()
		p := &page{t: t, lines: make(chan line, 100)}
		tab, cancel := chromedp.NewContext(chrome, chromedp.WithListener(func(event any) {
			said, ok := event.(*runtime.EventConsoleAPICalled)
			if !ok || said.Type != "log" || len(said.Args) != 1 {
				return
			}
			var text string
			if err := json.Unmarshal(said.Args[0].Value, &text); err == nil {
				p.lines <- read(text)
			}
		}))
		t.Cleanup(cancel)
		if err := chromedp.Do(tab, chromedp.Navigate(site.URL)); err != nil {
			t.Fatalf("opening the page: %v", err)
		}
		harness.Within(t, 30*time.Second, func() error {
			loaded, err := chromedp.Run(tab, chromedp.Evaluate[bool]("typeof window.begin === 'function'"))
			if err == nil && !loaded {
				err = errors.New("the page's program has not run")
			}
			return err
		})
		call := func(function string, argument doc) error {
			text, err := json.Marshal(argument)
			if err != nil {
				return err
			}
			// What it says comes by the console; the call itself waits for nothing.
			_, err = chromedp.Run(tab, chromedp.Evaluate[bool]("(window."+function+"("+string(text)+"), true)"))
			return err
		}
		p.set = func(members doc) error { return call("context", members) }
		if err := call("begin", doc{"base": base, "key": key}); err != nil {
			t.Fatalf("beginning: %v", err)
		}
		return p
	}
}
