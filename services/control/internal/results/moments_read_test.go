package results

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// sample are rows as a rollup has them, of two groups.
func sample(values ...[2]float64) string {
	var rows []string
	for _, v := range values {
		for group := range 2 {
			rows = append(rows, fmt.Sprintf("(%d, %s)", group, float(v[group])))
		}
	}
	return "\nFROM (SELECT toUInt8(r.1) AS group_index, '' AS excluded, now64(3) AS first_exposure, arrayWithConstant(40, r.2) AS values, toUInt16(0) AS slice FROM (SELECT arrayJoin([" + strings.Join(rows, ", ") + "]) AS r))"
}

func TestMomentsAreRightHoweverFarFromZeroTheValuesAre(t *testing.T) {
	db, p := few(t)
	p.metrics = p.metrics[:1]
	r := &rollup{caps: [][]float64{uncapped()}}
	ask := func(text string, scan func(scan func(...any) error) error) error {
		return eachRow(p.context(t.Context(), newStatement(p.project), readSettings), db, text, scan)
	}
	for name, tc := range map[string]struct {
		from     string
		mean, m2 [2]float64 // by group
	}{
		"a whole one beyond 32 bits beside a fraction": {sample([2]float64{5e9, 0.5}), [2]float64{5e9, 0.5}, [2]float64{}},
		"one beyond 64 bits beside a negative one":     {sample([2]float64{1e30, -0.25}), [2]float64{1e30, -0.25}, [2]float64{}},
		"equal values that are no binary fractions":    {sample(slices.Repeat([][2]float64{{0.1, 0.3}}, 1000)...), [2]float64{0.1, 0.3}, [2]float64{}},
		"values far from zero":                         {sample([2]float64{1e9 + 1, 1}, [2]float64{1e9 + 3, 3}), [2]float64{1e9 + 2, 2}, [2]float64{2, 2}},
	} {
		groups := 0
		err := p.momentsOf(ask, r, wholeSQL, tc.from, func(c cell, all []moments) {
			groups++
			v := &all[0].values
			if got, want := v.Mean[0], tc.mean[c.group]; got < want-1e-12*max(want, -want) || got > want+1e-12*max(want, -want) {
				t.Errorf("%s: mean of group %d = %v; want %v", name, c.group, got, want)
			}
			if got := v.C[0][0]; got != tc.m2[c.group] {
				t.Errorf("%s: sum of squares about the mean of group %d = %v; want %v", name, c.group, got, tc.m2[c.group])
			}
		})
		if err != nil || groups != 2 {
			t.Errorf("%s: momentsOf() of %d groups, %v; want 2", name, groups, err)
		}
	}
}

func TestMeansOfManyLargeValuesKeepTheirDigits(t *testing.T) {
	db, p := few(t)
	p.metrics = p.metrics[:1]
	r := &rollup{caps: [][]float64{uncapped()}}
	ask := func(text string, scan func(scan func(...any) error) error) error {
		return eachRow(p.context(t.Context(), newStatement(p.project), readSettings), db, text, scan)
	}
	const extra = "cityHash64(number) % 1000" // in thousandths
	const from = "\nFROM (SELECT toUInt8(number % 2) AS group_index, '' AS excluded, now64(3) AS first_exposure, arrayWithConstant(40, 1e9 + " + extra + " / 1000) AS values FROM numbers(1000000))"
	var exact []float64 // by group, what the mean is beyond a billion
	err := ask("SELECT sum("+extra+") / count() / 1000 FROM numbers(1000000) GROUP BY number % 2 ORDER BY number % 2", func(scan func(...any) error) error {
		exact = append(exact, 0)
		return scan(&exact[len(exact)-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	groups := 0
	err = p.momentsOf(ask, r, wholeSQL, from, func(c cell, all []moments) {
		groups++
		if got, want := all[0].values.Mean[0]-1e9, exact[c.group]; math.Abs(got-want) > 1e-6 {
			t.Errorf("mean of group %d = a billion and %.9f; want a billion and %.9f", c.group, got, want)
		}
	})
	if err != nil || groups != 2 {
		t.Errorf("momentsOf() of %d groups, %v; want 2", groups, err)
	}
}
