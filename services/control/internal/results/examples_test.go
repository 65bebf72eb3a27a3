package results_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// TestExamplesRunOverBothProtocols runs every question in examples/sql as
// analysts do: over the native protocol, and over HTTP.
func TestExamplesRunOverBothProtocols(t *testing.T) {
	w := newWorld(t, nil)
	w.expose("a1", 0, 10)
	w.expose("b1", 1, 10)
	w.buy("a1", 20, 10)
	w.buy("b1", 20, 20)
	w.load()
	w.report()

	folder := filepath.Join("..", "..", "..", "..", "examples", "sql")
	files, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples in %s: %v", folder, err)
	}
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	engine := warehousetest.Engine(t)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(readme), "`"+name+"`") {
				t.Errorf("the README does not name %s", name)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parameters := clickhouse.Parameters{"project": w.project, "experiment": experiment}
			rows, err := w.db.Conn().Query(clickhouse.Context(t.Context(), clickhouse.WithParameters(parameters)), string(text))
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			native := 0
			for rows.Next() {
				native++
			}
			if err := rows.Err(); err != nil || native == 0 {
				t.Errorf("native: %d rows, %v; want some", native, err)
			}

			query := url.Values{"database": {"sluice"}, "param_project": {w.project}, "param_experiment": {experiment}}
			request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+engine.HTTPAddr()+"/?"+query.Encode(), strings.NewReader(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			request.SetBasicAuth(engine.Config().User, engine.Config().Password)
			request.Close = true // an open connection would hold the engine up when it stops
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("HTTP: %s, %v: %s", response.Status, err, body)
			}
			if got := strings.Count(string(body), "\n"); got != native {
				t.Errorf("HTTP: %d rows; native %d", got, native)
			}
		})
	}
}
