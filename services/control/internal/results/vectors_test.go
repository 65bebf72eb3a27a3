package results

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// An attributionCase is a worked example of who and what is counted.
type attributionCase struct {
	ID, Description string
	Input           struct {
		Exposures []struct {
			Unit     string
			Variant  string
			TS       int64
			Override bool
		}
		Events []map[string]any
		Metric struct {
			Type                   flags.MetricType
			Event                  string
			Numerator, Denominator string
			Property               string
			Steps                  []string
			Day                    int
			WindowDays             int    `json:"window_days"`
			WindowSeconds          int    `json:"window_seconds"`
			CupedDays              int    `json:"cuped_days"`
			UnitType               string `json:"unit_type"`
		}
	}
	Params struct {
		Start, End, Now int64
		Contamination   string
		Timezone        string
	}
	Expected map[string]any
}

func (c *attributionCase) metric() *flags.Metric {
	in := c.Input.Metric
	m := &flags.Metric{ID: "met_1", Name: "metric", Type: in.Type, Measure: flags.Measure{Event: in.Event}, LookbackDays: -1, WindowHours: 24 * in.WindowDays}
	if in.CupedDays > 0 {
		m.LookbackDays = in.CupedDays
	}
	if in.Property != "" {
		m.ValueFrom = "metadata." + in.Property
	}
	switch in.Type {
	case flags.MetricRatio:
		m.Measure = flags.Measure{}
		m.Numerator = &flags.MetricPart{Type: flags.MetricEventCount, Measure: flags.Measure{Event: in.Numerator}}
		m.Denominator = &flags.MetricPart{Type: flags.MetricEventCount, Measure: flags.Measure{Event: in.Denominator}}
	case flags.MetricFunnel:
		m.Funnel = &flags.Funnel{CompletionSeconds: in.WindowSeconds}
		for _, step := range in.Steps {
			m.Funnel.Steps = append(m.Funnel.Steps, flags.FunnelStep{Event: step})
		}
	case flags.MetricRetention:
		m.WindowHours, m.Retention = 0, &flags.Retention{Day: in.Day, Days: in.WindowDays}
	}
	return m
}

func TestTheWarehouseAttributesAsTheWorkedExamples(t *testing.T) {
	packed, err := os.Open("../../../../pkg/stats/testdata/vectors/attribution.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	raw, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []attributionCase }
	if err := json.NewDecoder(raw).Decode(&file); err != nil {
		t.Fatal(err)
	}
	db := warehousetest.Open(t)
	epoch := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(ts int64) time.Time { return epoch.Add(time.Duration(ts) * time.Second) }
	service := New(func() *warehouse.DB { return db })
	for _, c := range file.Cases {
		t.Run(c.Description, func(t *testing.T) {
			project, metric, unitType := warehousetest.Project(), c.metric(), flags.DefaultUnitType
			if c.Input.Metric.UnitType != "" {
				unitType = c.Input.Metric.UnitType
			}
			doc := &flags.Experiment{
				ID: "exp_1", Name: "example", Status: flags.ExperimentDecided, StartedAt: new(at(c.Params.Start)), EndedAt: new(at(c.Params.End)),
				UnitType: unitType, Allocation: 100, Metrics: []string{metric.ID}, Crossovers: flags.CrossoverPolicy(strings.TrimPrefix(c.Params.Contamination, "exclude")),
				Groups: []flags.Group{{ID: "a", Name: "control", Share: 50, Control: true}, {ID: "b", Name: "test", Share: 50}},
			}
			state := flags.NewState(project)
			for i, d := range []flags.Document{
				&flags.Project{ID: flags.KindProject.IDPrefix() + project, Name: project, TimeZone: c.Params.Timezone}, metric, doc,
			} {
				position := flags.Position{LogID: project, Seq: uint64(i + 1), Time: epoch.UnixMilli() + int64(i)}
				state = state.With(position, flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Version: 1, Seq: position.Seq, Time: position.Time})
			}
			if err := errors.Join(service.Mirror(t.Context(), state),
				warehousetest.InsertExposures(t.Context(), db, project, c.exposures(project, unitType, at)),
				warehousetest.InsertEvents(t.Context(), db, project, c.events(project, unitType, at))); err != nil {
				t.Fatal(err)
			}
			entity, _ := state.Find(flags.KindExperiment, doc.ID)
			got, err := measure(t.Context(), db, nil, newPlan(state, entity, doc, at(c.Params.Now)))
			if err != nil {
				t.Fatal(err)
			}
			c.check(t, got)
		})
	}
	if len(file.Cases) < 25 {
		t.Errorf("%d examples; want at least 25", len(file.Cases))
	}
}

func (c *attributionCase) exposures(project, unitType string, at func(int64) time.Time) (rows []warehousetest.ExposureRow) {
	groups := map[string]uint8{"control": 0, "test": 1, "": warehouse.NoGroup}
	for i, x := range c.Input.Exposures {
		rows = append(rows, warehousetest.ExposureRow{
			Project: project, Kind: warehouse.KindExperiment, Name: "example", GroupIndex: groups[x.Variant], UnitType: unitType, UnitID: x.Unit,
			Time: at(x.TS), ReceivedAt: at(x.TS), EventID: [16]byte{1, byte(i)}, Override: x.Override,
		})
	}
	return rows
}

func (c *attributionCase) events(project, unitType string, at func(int64) time.Time) (rows []warehousetest.EventRow) {
	for i, e := range c.Input.Events {
		seconds, _ := e["ts"].(float64)
		row := warehousetest.EventRow{
			Project: project, Event: fmt.Sprint(e["event"]), Time: at(int64(seconds)), ReceivedAt: at(int64(seconds)),
			EventID: [16]byte{2, byte(i)}, Metadata: map[string]string{},
		}
		if unit, _ := e["unit"].(string); unit != "" {
			row.UnitType, row.UnitID, row.UnitIDs = unitType, unit, map[string]string{unitType: unit}
		}
		if id, ok := e["id"].(string); ok {
			hash := sha256.Sum256([]byte(id))
			copy(row.EventID[:], hash[:])
		}
		for name, v := range e {
			switch v := v.(type) {
			case string:
				row.Metadata[name] = v
			case float64:
				if name == "value" {
					row.Value = &v
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// check holds what the warehouse found to what the example expects.
func (c *attributionCase) check(t *testing.T, got facts) {
	t.Helper()
	excluded := map[string]any{}
	add := func(why string, n uint64) {
		if n > 0 {
			had, _ := excluded[why].(float64)
			excluded[why] = had + float64(n)
		}
	}
	for _, u := range got.units {
		if u.excluded != reasonKept {
			add(u.excluded, u.units)
		}
	}
	said := map[string]map[string]any{}
	for _, m := range got.moments {
		add("immature", m.immature)
		v := &m.values
		n := float64(v.N)
		sum := func(k int) float64 { return n * v.Mean[k] }
		product := func(j, k int) float64 { return v.C[j][k] + n*v.Mean[j]*v.Mean[k] }
		const y, d, x = stats.Numerator, stats.Denominator, stats.PreNumerator
		answer := map[string]any{
			"n": n, "n_exposed": float64(m.analysed), "n_with_covariate": float64(v.WithCovariate),
			"sum": sum(y), "sum_squares": product(y, y), "main_sum": sum(y), "main_sum_squares": product(y, y),
			"denominator_sum": sum(d), "denominator_sum_squares": product(d, d), "main_denominator_sum_product": product(y, d),
			"covariate_sum": sum(x), "covariate_sum_squares": product(x, x), "main_covariate_sum_product": product(y, x),
		}
		if len(m.steps) > 0 {
			steps := []any{}
			for _, n := range m.steps {
				steps = append(steps, float64(n))
			}
			answer["overall"] = maps.Clone(answer)
			answer["n"], answer["steps"] = float64(m.analysed), steps
		}
		said[[]string{"control", "test"}[m.group]] = answer
	}
	for name, want := range c.Expected {
		switch want, _ := want.(map[string]any); name {
		case "excluded":
			sameNumbers(t, name, excluded, want)
			if len(excluded) != len(want) {
				t.Errorf("excluded = %v; want %v", excluded, want)
			}
		default:
			sameNumbers(t, name, said[name], want)
		}
	}
}

func sameNumbers(t *testing.T, at string, got, want map[string]any) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch w := want[name].(type) {
		case float64:
			if g, ok := got[name].(float64); !ok || math.Abs(g-w) > 1e-9*max(1, math.Abs(w)) {
				t.Errorf("%s %s = %v; want %v", at, name, got[name], w)
			}
		case map[string]any:
			inner, _ := got[name].(map[string]any)
			sameNumbers(t, at+" "+name, inner, w)
		default:
			if fmt.Sprint(got[name]) != fmt.Sprint(w) {
				t.Errorf("%s %s = %v; want %v", at, name, got[name], w)
			}
		}
	}
}
