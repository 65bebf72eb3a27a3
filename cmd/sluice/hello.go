package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/sluice-flags/sluice/cmd/sluice/demo"
)

// runHello waits until the platform answers, says where things are and what to do
// with them, and runs the demo if that is wanted.
func (p *platform) runHello(ctx context.Context) error {
	if !p.untilReady(ctx) {
		return nil
	}
	admin, err := p.adminKey()
	if err != nil {
		return err
	}
	at := p.addresses()
	if !p.settings.Demo {
		none, err := noProjects(ctx, at.HTTP, admin)
		if err != nil {
			p.logger.DebugContext(ctx, "projects not listed", slog.Any("error", err))
		}
		at.print(os.Stdout, p.settings.Data)
		if none {
			at.printFirstSteps(os.Stdout, p.adminPath())
		}
		<-ctx.Done()
		return nil
	}
	facts, err := demo.Prepare(ctx, p.settings.Data, admin, demo.Addresses{HTTP: at.HTTP, Live: at.Live, ClickHouse: at.ClickHouse.Addr}, p.settings.DemoSeed)
	if err != nil {
		return err
	}
	p.mux.Handle("/demo", demo.Page(facts))
	p.mux.Handle("/demo/", demo.Page(facts))
	at.print(os.Stdout, p.settings.Data)
	facts.Print(os.Stdout)
	return demo.Run(ctx, facts, p.settings.Data, os.Stdout, p.logger)
}

// noProjects reports whether nobody has made a project yet.
func noProjects(ctx context.Context, url, admin string) (bool, error) {
	platform := remote{URL: url}
	got, err := platform.call(ctx, admin, http.MethodGet, "/api/v1/projects?limit=1", nil)
	if err != nil {
		return false, err
	}
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	err = json.Unmarshal(got.body, &list)
	return err == nil && len(list.Items) == 0, err
}

// printFirstSteps tells a person how a platform without projects comes to a flag.
func (a addresses) printFirstSteps(w io.Writer, adminFile string) {
	fmt.Fprintf(w, `
Make a project and a first flag, in another terminal:

  SLUICE_KEY=$(cat '%[1]s')
  curl %[2]s/api/v1/projects -H "Authorization: Bearer $SLUICE_KEY" \
    -H 'Content-Type: application/json' -d '{"name": "hello"}'
  curl %[2]s/api/v1/projects/hello/gates -H "Authorization: Bearer $SLUICE_KEY" \
    -H 'Content-Type: application/json' -d '{"name": "new_checkout"}'

docs/first-steps.md says what can be done then. --demo makes a project with flags, an experiment and visitors.
`, strings.ReplaceAll(adminFile, "'", `'\''`), a.HTTP)
}
