package warehouse

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/schemas"
)

func rendered(t *testing.T, v variant) (all []string) {
	t.Helper()
	files, err := fs.Glob(schemas.ClickHouse, "*.sql")
	if err != nil || len(files) < 4 {
		t.Fatalf("the schema has files %q, %v; want migrations and views", files, err)
	}
	for _, name := range files {
		statements, err := v.render(name)
		if err != nil {
			t.Fatalf("render(%s) = %v", name, err)
		}
		all = append(all, statements...)
	}
	return all
}

func TestOneServerNeedsNoCluster(t *testing.T) {
	for _, s := range rendered(t, variant{}) {
		for _, word := range []string{"{{", "CLUSTER", "Replicated", "Distributed", "_local"} {
			if strings.Contains(s, word) {
				t.Errorf("a statement for one server has %s:\n%s", word, s)
			}
		}
	}
}

func TestAClusterIsToldEverythingAndKeepsItsCopies(t *testing.T) {
	tables, spread := 0, make(map[string]bool)
	engine := regexp.MustCompile(`(?m)^ENGINE = (\w+)(.*)`)
	for _, s := range rendered(t, variant{cluster: "main"}) {
		first, _, _ := strings.Cut(s, "\n")
		if !strings.Contains(first, " ON CLUSTER `main`") {
			t.Errorf("a statement is for one server only: %s", first)
		}
		if !strings.HasPrefix(s, "CREATE TABLE") {
			continue
		}
		name := strings.Fields(s)[5]
		switch m := engine.FindStringSubmatch(s); {
		case m == nil:
			t.Errorf("%s has no engine", name)
		case m[1] == "Distributed":
			spread[name] = true
			if !strings.Contains(m[2], name+"_local") {
				t.Errorf("%s is spread over %s; want %s_local", name, m[2], name)
			}
		case !strings.HasPrefix(m[1], "Replicated"):
			t.Errorf("%s has engine %s; want a replicated one", name, m[1])
		default:
			tables++
			if !strings.Contains(s, " replicated_deduplication_window = 10000") || strings.Contains(s, "non_replicated") {
				t.Errorf("%s forgets tokens", name)
			}
			if !strings.HasSuffix(name, "_local") && !strings.Contains(m[2], "/all'") {
				t.Errorf("%s is neither a part of a spread table nor the same everywhere: %s", name, m[2])
			}
		}
	}
	for _, name := range []string{"exposures", "events", "first_exposures", "dead_letters"} {
		if !spread[name] {
			t.Errorf("%s is not spread over the shards", name)
		}
	}
	if tables < 8 {
		t.Errorf("%d tables; want at least 8", tables)
	}
}
