package warehouse_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// The embedded engine cannot be a replica, but it reads the statements of a
// cluster as a server does.
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

func TestFactsOfAClusterAreCountedOnceWhereverTheyAreSentAndAsked(t *testing.T) {
	c := startCluster(t)
	const size = 1000
	project := warehousetest.Project()
	dead := warehouse.NewBlock()
	for n := range size {
		dead.AddDead(warehouse.DeadLetter{Project: project, Reason: "no_unit", Received: time.Now().UnixMilli(), ID: id(n), Body: "{}"})
	}
	for _, at := range []int{0, 1, 2, 0} { // as a loader that lost an answer sends it to another server
		must(t, warehousetest.InsertExposures(t.Context(), c.nodes[at], project, many(project, 0, size, exposure)))
		must(t, warehousetest.InsertEvents(t.Context(), c.nodes[at], project, many(project, 0, size, event)))
		must(t, c.nodes[at].InsertDeadLetters(t.Context(), project, dead))
	}
	for _, table := range []string{"exposures", "events", "first_exposures", "dead_letters"} {
		if got := c.each(t, "SELECT count() FROM "+table+" WHERE project = ?", project); !slices.Equal(got, []uint64{size, size, size}) {
			t.Errorf("rows of %s, asked at each engine: %v; want %d at each", table, got, size)
		}
		parts := c.each(t, "SELECT count() FROM "+table+"_local WHERE project = ?", project)
		if parts[0]+parts[1] != size || parts[0] < size/4 || parts[1] < size/4 || parts[2] != 0 {
			t.Errorf("rows of %s on the engines: %v; want about half of %d on each of the first two", table, parts, size)
		}
	}
	wrong := "SELECT count() FROM (SELECT unit_key, min(first) AS first FROM first_exposures WHERE project = ? GROUP BY unit_key) AS f " +
		"FULL JOIN (SELECT unit_key, toUInt64(toUnixTimestamp64Milli(ts)) * 512 + 256 + group_index AS first FROM exposures WHERE project = ?) AS e USING (unit_key, first) " +
		"WHERE f.first = 0 OR e.first = 0"
	if got := c.each(t, wrong, project, project); !slices.Equal(got, []uint64{0, 0, 0}) {
		t.Errorf("%v first exposures that are not those of the exposures; want none", got)
	}

	t.Run("units are those of all shards", func(t *testing.T) {
		must(t, c.nodes[0].PutExperiments(t.Context(), project, []warehouse.ExperimentRow{{
			Project: project, Name: "checkout", ExperimentID: "exp_1", Status: "running", Environment: warehouse.DefaultEnvironment, UnitType: "userID", StartedAt: noon,
			Groups: []warehouse.GroupRow{{Name: "a", Share: 0.5, Control: true}, {Name: "b", Share: 0.5}}, Version: 1,
		}}))
		units := "SELECT countIf(excluded = '') FROM experiment_units(project = '" + project + "', experiment = 'checkout') WHERE group_index = ?"
		if a, b := number(t, c.nodes[0], units, 0), number(t, c.nodes[0], units, 1); a != size/2 || b != size/2 {
			t.Errorf("%d and %d units in the groups; want %d in each", a, b, size/2)
		}
		both := "SELECT count() FROM exposures AS e INNER JOIN events AS v ON e.unit_key = v.unit_key WHERE e.project = ? AND v.project = ?"
		if got := c.each(t, both, project, project); !slices.Equal(got, []uint64{size, size, size}) {
			t.Errorf("%v units did something after they were exposed; want %d, asked at each engine", got, size)
		}
		analyst, err := warehouse.Open(t.Context(), c.analyst[0])
		must(t, err)
		defer analyst.Close()
		const there = " SETTINGS load_balancing = 'in_order', use_hedged_requests = 0" // where the rows are, in this cluster
		if joined, a := number(t, analyst, both+there, project, project), number(t, analyst, units+there, 0); joined != size || a != size/2 {
			t.Errorf("an analyst is told of %d units that did something, and of %d in a group; want %d and %d", joined, a, size, size/2)
		}
	})

	t.Run("a rollup is there when its statement has ended, and gone when it is dropped", func(t *testing.T) {
		must(t, c.nodes[0].Conn().Exec(t.Context(), "SYSTEM STOP DISTRIBUTED SENDS unit_values")) // what is queued stays there
		const revision = 4
		must(t, c.nodes[0].Conn().Exec(t.Context(), fmt.Sprintf("INSERT INTO unit_values (revision, project, experiment, unit_key) "+
			"SELECT %d, project, name, unit_key FROM exposures WHERE project = ?", revision), project))
		count := fmt.Sprintf("SELECT count() FROM unit_values WHERE revision = %d", revision)
		if got := c.each(t, count); !slices.Equal(got, []uint64{size, size, size}) {
			t.Errorf("rows of the rollup, asked at each engine: %v; want %d", got, size)
		}
		must(t, c.nodes[0].DropRollup(t.Context(), revision))
		if got := c.each(t, count); !slices.Equal(got, []uint64{0, 0, 0}) {
			t.Errorf("rows of the rollup that was dropped: %v; want none", got)
		}
	})

	t.Run("a unit is erased on all shards", func(t *testing.T) {
		beside := event(project, size) // of somebody else, and names the unit
		beside.UnitIDs["companyID"] = "acme"
		must(t, warehousetest.InsertEvents(t.Context(), c.nodes[0], project+" beside", []warehousetest.EventRow{beside}))
		gone := map[string]uint64{"events": 1}
		erase := func(unitType, unitID string) {
			t.Helper()
			must(t, c.nodes[0].Erase(t.Context(), warehouse.Erasure{
				Project: project, UnitType: unitType, UnitKey: warehouse.UnitKey(unitType, unitID), Before: time.Now(),
			}, func(int, int, string) {}))
		}
		erase("companyID", "acme")
		for n := range 4 { // some on either shard
			erase("userID", fmt.Sprint("user ", n))
			gone["exposures"], gone["events"], gone["first_exposures"] = gone["exposures"]+1, gone["events"]+1, gone["first_exposures"]+1
		}
		left := map[string]uint64{"events": size + 1, "exposures": size, "first_exposures": size}
		for table, n := range gone {
			want := left[table] - n
			if got := c.each(t, "SELECT count() FROM "+table+" WHERE project = ?", project); !slices.Equal(got, []uint64{want, want, want}) {
				t.Errorf("rows of %s that are left, asked at each engine: %v; want %d", table, got, want)
			}
		}
	})

	t.Run("facts of all shards are kept as long as their project says", func(t *testing.T) {
		must(t, c.nodes[0].SetRetention(t.Context(), project, 30000, time.Now()))
		for _, table := range []string{"exposures", "events"} {
			rewritten := "SELECT toUInt64(countIf(retention_days = 30000) = count()) FROM " + table + "_local WHERE project = ?"
			for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				got := c.each(t, rewritten, project)
				if slices.Equal(got, []uint64{1, 1, 1}) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("engines that say so of all rows of %s: %v; want each", table, got)
				}
			}
		}
	})

	t.Run("migrating again changes nothing", func(t *testing.T) {
		const tables = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'goose%'"
		before := c.each(t, tables)
		must(t, warehouse.Migrate(t.Context(), c.nodes[1])) // which does not know that it was done
		if diff := cmp.Diff(before, c.each(t, tables)); diff != "" || before[0] != before[2] {
			t.Errorf("tables at each engine: %v (-before +after):\n%s", before, diff)
		}
	})

	// Control reads what it has written, and a replica is a little behind the one it
	// copies: which of them is asked is not for chance to say.
	t.Run("what was written is read from the replica that has it, and from the other when that is gone", func(t *testing.T) {
		const held = "SELECT count() FROM unit_values_local WHERE revision = 6"
		write := func(from, to int) {
			t.Helper()
			for n := from; n < to; n++ {
				must(t, c.nodes[0].Conn().Exec(t.Context(), "INSERT INTO unit_values (revision, project, unit_key) VALUES (6, ?, ?)", project, n))
				if got := number(t, c.nodes[0], "SELECT count() FROM unit_values WHERE revision = 6 AND unit_key = ?", n); got != 1 {
					t.Errorf("row %d is %d rows when it has been written; want 1", n, got)
				}
			}
		}
		write(0, 20)
		if got := c.each(t, held); !slices.Equal(got, []uint64{10, 10, 0}) {
			t.Errorf("rows on the engines: %v; want them on the first two", got)
		}
		c.doors[1].shut()
		write(20, 40)
		if got := c.each(t, held); !slices.Equal(got, []uint64{20, 10, 10}) {
			t.Errorf("rows on the engines, one of which is away: %v; want the new ones on the other two", got)
		}
	})
}
