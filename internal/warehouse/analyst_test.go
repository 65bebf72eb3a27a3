package warehouse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// askHTTP asks the engine as the analyst over HTTP.
func askHTTP(t *testing.T, statement string, settings url.Values) (status int, answer string) {
	t.Helper()
	engine := warehousetest.Engine(t)
	query := url.Values{"database": {warehouse.DefaultDatabase}}
	for name, value := range settings {
		query[name] = value
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+engine.HTTPAddr()+"/?"+query.Encode(), bytes.NewBufferString(statement))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(engine.Analyst().User, engine.Analyst().Password)
	request.Close = true // an open connection would hold the engine up when it stops
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestTheAnalystReadsEveryTableAndView(t *testing.T) {
	db := warehousetest.OpenEngine(t)
	analyst, err := warehouse.Open(t.Context(), warehousetest.Engine(t).Analyst())
	if err != nil {
		t.Fatalf("Open as the analyst = %v", err)
	}
	defer analyst.Close()
	rows, err := db.Conn().Query(t.Context(), "SELECT name, create_table_query LIKE '%{project:%' FROM system.tables WHERE database = currentDatabase()")
	must(t, err)
	defer rows.Close()
	asked := 0
	for rows.Next() {
		var name string
		var asksForProject bool
		must(t, rows.Scan(&name, &asksForProject))
		if asksForProject {
			continue // examples/sql asks these
		}
		asked++
		if err := analyst.Conn().Exec(t.Context(), "SELECT * FROM `"+name+"` LIMIT 1"); err != nil {
			t.Errorf("the analyst cannot read %s: %v", name, err)
		}
		if status, answer := askHTTP(t, "SELECT * FROM `"+name+"` LIMIT 1", nil); status != http.StatusOK {
			t.Errorf("the analyst cannot read %s over HTTP: %d %s", name, status, answer)
		}
	}
	must(t, rows.Err())
	if asked < 5 {
		t.Errorf("%d tables were asked; want those of the facts and definitions", asked)
	}
	if status, answer := askHTTP(t, "SELECT getSetting('final')", nil); status != http.StatusOK || strings.TrimSpace(answer) != "true" {
		t.Errorf("final = %d %s; want true, so that a fact that is stored twice is read once", status, answer)
	}
	if status, answer := askHTTP(t, "SELECT name, comment FROM system.tables WHERE database = 'sluice' AND name = 'events'", nil); status != http.StatusOK || !strings.Contains(answer, "one row per event") {
		t.Errorf("the comments of tables = %d %s; want them", status, answer)
	}
}

func TestTheAnalystDoesNothingButRead(t *testing.T) {
	warehousetest.OpenEngine(t)
	engine := warehousetest.Engine(t)
	secret := filepath.Join(warehousetest.Folder(), "users.xml")
	analyst, err := warehouse.Open(t.Context(), engine.Analyst())
	must(t, err)
	defer analyst.Close()
	for _, statement := range []string{
		"INSERT INTO retention VALUES ('p', 1, 1)",
		"INSERT INTO events (project) VALUES ('p')",
		"CREATE TABLE mine (a UInt8) ENGINE = Memory",
		"CREATE TEMPORARY TABLE mine (a UInt8)",
		"CREATE VIEW mine AS SELECT 1",
		"CREATE USER mine",
		"CREATE FUNCTION mine AS x -> x",
		"ALTER TABLE events DELETE WHERE 1",
		"TRUNCATE TABLE events",
		"DROP TABLE events",
		"DROP VIEW experiment_results",
		"GRANT SELECT ON *.* TO analyst",
		"SYSTEM STOP LISTEN TCP",
		"SYSTEM FLUSH LOGS",
		"KILL QUERY WHERE user = 'sluice' SYNC",
		"SET readonly = 0",
		"SET max_memory_usage = 0",
		"SELECT 1 SETTINGS max_execution_time = 0",
		"SELECT 1 SETTINGS max_rows_to_read = 100000000000",
		"SELECT * FROM file('" + secret + "', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM remote('127.0.0.1', system.users)",
		"SELECT * FROM system.users",
		"SELECT * FROM system.grants",
		"SELECT * FROM system.settings_profile_elements",
		"SELECT * FROM system.server_settings",
		"SELECT * FROM system.processes",
		"SELECT number FROM system.numbers LIMIT 1",
	} {
		if err := analyst.Conn().Exec(t.Context(), statement); err == nil {
			t.Errorf("the analyst may %s", statement)
		}
		if status, answer := askHTTP(t, statement, nil); status == http.StatusOK {
			t.Errorf("the analyst may %s over HTTP: %s", statement, answer)
		}
	}
	if embed.Confines() {
		outside := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{outside, "/etc/passwd", fmt.Sprintf("/proc/%d/environ", os.Getpid()), fmt.Sprintf("/proc/%d/cmdline", os.Getpid()), "/proc/1/cmdline"} {
			statement := "SELECT file('" + file + "')"
			if err := analyst.Conn().Exec(t.Context(), statement); err == nil {
				t.Errorf("the analyst may %s", statement)
			}
			if status, answer := askHTTP(t, statement, nil); status == http.StatusOK {
				t.Errorf("the analyst may %s over HTTP: %s", statement, answer)
			}
		}
	} else {
		t.Log("this system confines no engine to its folder: whether the analyst reads files by file() was not asked")
	}
	for name, value := range map[string]string{"readonly": "0", "max_execution_time": "0", "max_memory_usage": "0", "max_result_rows": "0", "allow_ddl": "1"} {
		if status, answer := askHTTP(t, "SELECT 1", url.Values{name: {value}}); status == http.StatusOK {
			t.Errorf("the analyst may set %s to %s over HTTP: %s", name, value, answer)
		}
	}
	many := "SELECT a.name FROM system.columns AS a, system.columns AS b, system.columns AS c LIMIT 1000001"
	if err := analyst.Conn().Exec(t.Context(), many); err == nil {
		t.Error("the analyst gets more than a million rows")
	}
	if _, answer := askHTTP(t, many, nil); !strings.Contains(answer, "TOO_MANY_ROWS_OR_BYTES") {
		t.Errorf("the analyst gets %d bytes over HTTP for more than a million rows", len(answer))
	}
	// Clients may take the words away and write what they get to files of their
	// own; the engine must write none.
	copied := secret + ".copy"
	_ = analyst.Conn().Exec(t.Context(), "SELECT 1 INTO OUTFILE '"+copied+"'")
	askHTTP(t, "SELECT 1 INTO OUTFILE '"+copied+"'", nil)
	if _, err := os.Stat(copied); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the analyst may write files: %v", err)
	}
	if status, answer := askHTTP(t, "SELECT 1", url.Values{"max_execution_time": {"5"}}); status != http.StatusOK {
		t.Errorf("the analyst may not lower a limit: %d %s", status, answer)
	}
}
