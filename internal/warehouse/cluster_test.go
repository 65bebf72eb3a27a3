package warehouse_test

import (
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// The embedded engine has no keeper to replicate with, but it reads the
// statements of a cluster as a server does.
func TestTheEngineReadsEveryStatementOfACluster(t *testing.T) {
	db := warehousetest.OpenEngine(t)
	statements, err := warehouse.ClusterStatements("main")
	must(t, err)
	if len(statements) < 20 {
		t.Fatalf("%d statements; want those of all tables and views", len(statements))
	}
	for _, s := range statements {
		if err := db.Conn().Exec(t.Context(), "EXPLAIN AST "+s); err != nil {
			first, _, _ := strings.Cut(s, "\n")
			t.Errorf("%s: %v", first, err)
		}
	}
}
