package sdks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// pages are the programs of tests/contract/js that run in browsers, bundled once
// per test process.
var pages = sync.OnceValues(func() (map[string][]byte, error) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sluice-pages-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args := []string{"--bundle", "--format=iife", "--external:node:*", `--define:process.env.NODE_ENV="production"`, "--log-level=warning", "--outdir=" + dir}
	for _, sdk := range []string{"js-client", "statsig-js", "react-bindings", "statsig-react"} {
		args = append(args, filepath.Join(root, "tests", "contract", "js", sdk+".mjs"))
	}
	cmd := exec.Command(filepath.Join(root, "node_modules", ".bin", "esbuild"), args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bundling the pages: %w\n%s", err, out)
	}
	bundles := map[string][]byte{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if bundles[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			return nil, err
		}
	}
	return bundles, nil
})

// inBrowser returns a starter for one of the bundles, on a page of its own.
func inBrowser(bundle string) starter {
	return func(t testing.TB, lab *Lab) caller {
		t.Helper()
		harness.NeedNode(t)
		chromium := harness.NeedBrowser(t)
		bundles, err := pages()
		if err != nil {
			t.Fatal(err)
		}
		// Another origin than the platform's, as an application's pages are, and
		// than that of other SDKs, which would share what is stored.
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/"+bundle {
				w.Header().Set("Content-Type", "text/javascript")
				_, _ = w.Write(bundles[bundle]) // the page has gone: nobody is left to tell
				return
			}
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!doctype html><meta charset="utf-8"><title>%[1]s</title><script src="/%[1]s" defer></script>`, bundle)
		}))
		lab.t.Cleanup(site.Close)
		chrome, err := lab.chromium(chromium)
		if err != nil {
			t.Fatal(err)
		}
		page, cancel := chromedp.NewContext(chrome)
		lab.t.Cleanup(cancel)
		b := &browser{page: page, url: site.URL}
		if err := b.load(page); err != nil {
			t.Fatalf("loading the page: %v", err)
		}
		return b.call
	}
}

// browser is a page that runs an SDK.
type browser struct {
	page context.Context
	url  string

	mu sync.Mutex // held by the command that runs
}

// call brings a command to the page.
func (b *browser) call(ctx context.Context, c command) (json.RawMessage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	page, cancel := context.WithCancel(b.page)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if c.Setup != nil && !c.Beside {
		if err := b.load(page); err != nil {
			return nil, fmt.Errorf("loading the page: %w", err)
		}
	}
	if c.Do == "leave" {
		return nil, chromedp.Do(page, chromedp.Navigate("about:blank"))
	}
	line, err := json.Marshal(c)
	if err == nil {
		line, err = json.Marshal(string(line)) // as a JavaScript text
	}
	if err != nil {
		return nil, err
	}
	wait := func(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }
	answer, err := chromedp.Run(page, chromedp.Evaluate[string]("window.drive("+string(line)+")", wait))
	if err != nil {
		return nil, err
	}
	var r response
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		return nil, err
	}
	return r.result()
}

func (b *browser) load(page context.Context) error {
	if err := chromedp.Do(page, chromedp.Navigate(b.url)); err != nil {
		return err
	}
	return harness.Await(30*time.Second, func() error {
		loaded, err := chromedp.Run(page, chromedp.Evaluate[bool]("typeof window.drive === 'function'"))
		if err == nil && !loaded {
			err = fmt.Errorf("the page's program has not run")
		}
		return err
	})
}
