package sdks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A shopfront is examples/fastapi, run as its README says.
type shopfront struct {
	t    *testing.T
	base string
	stop func() // as Ctrl-C does; may be called twice
}

func startShopfront(t *testing.T, url, key string) *shopfront {
	t.Helper()
	root, python := harness.NeedPython(t)
	address := freeport.For(t)
	host, port, _ := strings.Cut(address, ":")
	cmd := exec.Command(python, "-m", "uvicorn", "app:app", "--host", host, "--port", port, "--log-level", "warning")
	cmd.Dir = filepath.Join(root, "examples", "fastapi")
	cmd.Env = append(os.Environ(), "SLUICE_URL="+url, "SLUICE_SDK_KEY="+key,
		"NO_PROXY=127.0.0.1", "HTTPS_PROXY="+sdks.NewLab(t).Vendor().URL())
	var printed strings.Builder
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shopfront{t: t, base: "http://" + address}
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		err := cmd.Wait()
		if t.Failed() {
			t.Logf("the service ended: %v\n%s", err, printed.String())
		}
	})
	t.Cleanup(s.stop)
	harness.Within(t, 30*time.Second, func() error {
		res, err := http.Get(s.base + "/openapi.json")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	return s
}

// ask sends a request for a user and returns the status and what was said.
func (s *shopfront) ask(method, path, user, email, body string) (int, map[string]any) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-User", user)
	if email != "" {
		r.Header.Set("X-Email", email)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var said map[string]any
	if err := json.Unmarshal(raw, &said); err != nil {
		s.t.Fatalf("%s %s answered %d %s", method, path, res.StatusCode, raw)
	}
	return res.StatusCode, said
}

const order = `{"plan":"pro"}`

func TestTheFastAPIExampleFollowsItsFlags(t *testing.T) {
	t.Parallel()
	harness.NeedPython(t)
	p := harness.Shared(t)
	shop := p.NewProject("fastapi")
	shop.Create("gates", harness.Doc{"name": "new_pricing", "rules": []harness.Doc{{
		"id": "staff", "name": "Staff", "passPercentage": 100,
		"conditions": []harness.Doc{{"type": "email", "operator": "str_ends_with_any", "targetValue": []string{"@company.com"}}},
	}}})
	shop.Create("gates", harness.Doc{"name": "payments", "rules": []harness.Doc{}})
	shop.Create("configs", harness.Doc{"name": "price_list", "defaultValue": harness.Doc{"pro": 40}, "rules": []harness.Doc{}})
	front := startShopfront(t, p.HTTP, shop.Server)

	old := map[string]any{"list": "old", "prices": map[string]any{"free": 0.0, "basic": 10.0, "pro": 50.0}}
	fresh := map[string]any{"list": "new", "prices": map[string]any{"free": 0.0, "basic": 10.0, "pro": 40.0}}
	for _, c := range []struct {
		email string
		want  map[string]any
	}{{"", old}, {"ada@elsewhere.com", old}, {"ada@company.com", fresh}} {
		if _, got := front.ask("GET", "/pricing", "ada", c.email, ""); !cmp.Equal(c.want, got) {
			t.Errorf("prices for %q: %s", c.email, cmp.Diff(c.want, got))
		}
	}

	// The kill switch, both ways.
	if status, said := front.ask("POST", "/orders", "ada", "", order); status != 503 {
		t.Errorf("an order while payments are off: %d %v; want 503", status, said)
	}
	shop.SetGate("payments", 100)
	harness.Within(t, 15*time.Second, func() error {
		status, said := front.ask("POST", "/orders", "ada", "ada@company.com", order)
		if want := map[string]any{"plan": "pro", "price": 40.0}; status != 201 || !cmp.Equal(want, said) {
			return fmt.Errorf("an order: %d %v; want 201 %v", status, said, want)
		}
		return nil
	})
	shop.SetGate("payments", 0)
	harness.Within(t, 15*time.Second, func() error {
		if status, said := front.ask("POST", "/orders", "bob", "", `{"plan":"none"}`); status != 503 {
			return fmt.Errorf("an order after the switch: %d %v; want 503", status, said)
		}
		return nil
	})

	// What happened is stored, and the address that decided is not.
	front.stop()
	b := &bench{shop: forTest(t, shop), db: shop.Warehouse()}
	b.eventually("events", []string{"ada order 40 pro"},
		"SELECT concat(unit_id, ' ', event, ' ', toString(value), ' ', metadata['plan']) FROM events WHERE project = ? AND unit_type = 'userID'", shop.ID)
	for _, table := range []string{"events", "exposures"} {
		query := "SELECT text FROM (SELECT formatRowNoNewline('JSONEachRow', *) AS text FROM " + table + " WHERE project = ?) WHERE position(text, '@company.com') > 0"
		if found := b.lines(query, shop.ID); len(found) > 0 {
			t.Errorf("table %s holds an address that was private: %s", table, found)
		}
	}
}

func TestTheFastAPIExampleWithoutAServerDoesWhatItsCodeSays(t *testing.T) {
	t.Parallel()
	front := startShopfront(t, "http://"+freeport.For(t), "secret-fastapi-0000")
	if status, said := front.ask("GET", "/pricing", "ada", "ada@company.com", ""); status != 200 || said["list"] != "old" {
		t.Errorf("prices: %d %v; want the old list", status, said)
	}
	if status, said := front.ask("POST", "/orders", "ada", "", order); status != 503 {
		t.Errorf("an order: %d %v; want 503", status, said)
	}
}
