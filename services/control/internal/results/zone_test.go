package results_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

func TestDaysAreThoseOfTheProjectsZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, first, second, third string }{
		{"the second day has 23 hours", "2026-03-28", "2026-03-29", "2026-03-30"},
		{"the second day has 25 hours", "2026-10-24", "2026-10-25", "2026-10-26"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			local := func(day, clock string) time.Time {
				at, err := time.ParseInLocation("2006-01-02 15:04", day+" "+clock, berlin)
				if err != nil {
					t.Fatal(err)
				}
				return at
			}
			w := newWorld(t, func(e *flags.Experiment) {
				e.Status, e.StartedAt, e.EndedAt = flags.ExperimentDecided, new(local(tc.first, "00:00")), new(local(tc.third, "23:59"))
				e.Metrics = []string{"purchases", "days"}
			})
			w.put(&flags.Metric{ID: "met_days", Name: "days", Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}})
			settings := flags.Project{ID: flags.KindProject.IDPrefix() + w.project, Name: w.project, TimeZone: "Europe/Berlin"}
			w.put(&settings)
			expose := func(unit, day, clock string) {
				w.expose(unit, 0, 0, func(r *warehousetest.ExposureRow) {
					r.Time = local(day, clock)
					r.ReceivedAt = r.Time
				})
			}
			buy := func(unit, day, clock string) {
				w.buy(unit, 0, 10, func(r *warehousetest.EventRow) {
					r.Time = local(day, clock)
					r.ReceivedAt = r.Time
				})
			}
			expose("a", tc.first, "23:30") // active on one of three days
			buy("a", tc.second, "00:30")
			buy("a", tc.second, "23:30")
			expose("b", tc.second, "00:10") // on both of two
			buy("b", tc.second, "12:00")
			buy("b", tc.third, "00:30")
			w.load()

			if got := metric(t, w.report(), "days")[0]; !close(got.Mean, stats.Defined(2./3), 1e-12) || got.N != 2 {
				t.Errorf("active days are %v of %d; want those of one in three days, and of two in two", got.Mean, got.N)
			}
			series, err := w.service.Timeseries(t.Context(), w.state, experiment, results.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, u := range series.Units {
				one := u.Day + fmt.Sprint(" ", u.New[0])
				for _, s := range series.Metrics {
					p := s.Points[i*3]
					one += fmt.Sprintf("  %s %.4g so far %.4g", s.Metric, p.Daily.Mean.Or(-1), p.Cumulative.Mean.Or(-1))
				}
				got = append(got, one)
			}
			want := []string{
				tc.first + " 1  purchases 0 so far 0  days 0 so far 0",
				tc.second + " 1  purchases 1.5 so far 1.5  days 1 so far 0.75",
				tc.third + " 0  purchases 0.5 so far 2  days 0.5 so far 0.6667",
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || series.TimeZone != "Europe/Berlin" {
				t.Errorf("by day, in %s:\n%q; want, in Europe/Berlin,\n%q", series.TimeZone, got, want)
			}
			if health, err := w.service.Health(t.Context(), w.state, experiment, results.Options{}); err != nil {
				t.Error(err)
			} else {
				for _, s := range health.Breakdown {
					if s.Dimension == "day" && s.Value != tc.first && s.Value != tc.second {
						t.Errorf("health has units of %s; want %s and %s", s.Value, tc.first, tc.second)
					}
				}
			}
			analysts := func() (days []string) {
				rows, err := w.db.Conn().Query(t.Context(), fmt.Sprintf(`SELECT toString(day) || ' ' || toString(new_units) FROM experiment_daily(project = '%[1]s', experiment = '%[2]s') WHERE group_index = 0
					UNION ALL SELECT DISTINCT value || ' is a dimension' FROM experiment_dimension(project = '%[1]s', experiment = '%[2]s', dimension = 'day')`, w.project, experiment))
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close()
				for rows.Next() {
					var day string
					if err := rows.Scan(&day); err != nil {
						t.Fatal(err)
					}
					days = append(days, day)
				}
				slices.Sort(days)
				return days
			}
			if got, want := fmt.Sprint(analysts()), fmt.Sprint([]string{tc.first + " 1", tc.first + " is a dimension", tc.second + " 1", tc.second + " is a dimension"}); got != want {
				t.Errorf("the views have %s; want %s", got, want)
			}

			// Another zone makes other days of the same facts, and back.
			settings.TimeZone = ""
			w.put(&settings)
			if got := metric(t, w.report(), "days")[0].Mean; !close(got, stats.Defined(0.5), 1e-12) {
				t.Errorf("active days in UTC are %v; want those of two in three days, and of one in three", got)
			}
			if got, want := fmt.Sprint(analysts()), fmt.Sprint([]string{tc.first + " 2", tc.first + " is a dimension"}); got != want {
				t.Errorf("the views have %s in UTC; want %s", got, want)
			}
			settings.TimeZone = "Europe/Berlin"
			w.put(&settings)
			if got := metric(t, w.report(), "days")[0].Mean; !close(got, stats.Defined(2./3), 1e-12) {
				t.Errorf("active days in Berlin again are %v; want 2/3", got)
			}
		})
	}
}

func TestTheWarehouseKnowsTheZonesThatSettingsMayName(t *testing.T) {
	w := newWorld(t, nil)
	rows, err := w.db.Conn().Query(t.Context(), "SELECT time_zone FROM system.time_zones")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	both := 0
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if (&flags.Project{TimeZone: name}).Zone().String() == name {
			both++
		}
	}
	if both < 500 {
		t.Errorf("settings may name %d of the warehouse's zones; want all but oddities, some 590", both)
	}
}
