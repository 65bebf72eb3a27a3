package flags_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// Every type of metric says what it needs, and refuses what it would ignore.
func TestAMetricHasWhatItsTypeNeeds(t *testing.T) {
	p := newProject(t)
	for _, test := range []struct {
		document string
		want     []string
	}{
		{`"type":"event_dau","event":"visit"`, nil},
		{`"type":"count_distinct","event":"view","valueFrom":"metadata.sku"`, nil},
		{`"type":"latest","event":"level","missingAsZero":true,"lookbackDays":-1`, nil},
		{`"type":"sum","event":"pay","cap":{"perDay":1000}`, nil},
		{`"type":"mean","event":"pay","filters":[{"operator":"gt","values":["-1.5e3"]}]`, nil},
		{`"type":"ratio","numerator":{"type":"sum","event":"pay"},"denominator":{"type":"event_dau","event":"visit"}`, nil},
		{`"type":"funnel","funnel":{"steps":[{"event":"a"},{"event":"b"}],"sessionKey":"session","completionSeconds":3600}`, nil},
		{`"type":"retention","event":"visit","retention":{"day":0}`, nil},
		{`"type":"percentile","event":"page","percentile":{"level":0.5}`, nil},

		{`"type":"ratio","event":"x","numerator":{"type":"mean","event":""}`,
			[]string{"/denominator required", "/event unknown", "/numerator/event required", "/numerator/type invalid"}},
		{`"type":"funnel"`, []string{"/funnel required"}},
		{`"type":"funnel","funnel":{"steps":[{"event":"a"}]}`, []string{"/funnel/steps invalid"}},
		{`"type":"funnel","funnel":{"steps":[{"event":"a"},{"event":""}],"sessionKey":"s","fromExposure":true,"completionSeconds":-1}`,
			[]string{"/funnel/completionSeconds invalid", "/funnel/fromExposure invalid", "/funnel/steps/1/event required"}},
		{`"type":"sum","event":"e","funnel":{"steps":[]},"missingAsZero":true`, []string{"/funnel unknown", "/missingAsZero unknown"}},
		{`"type":"retention","event":"e","windowHours":3`, []string{"/retention required"}},
		{`"type":"retention","event":"e","windowHours":3,"retention":{"day":-1}`, []string{"/retention invalid", "/windowHours unknown"}},
		{`"type":"percentile","event":"e","percentile":{"level":1,"of":"group"}`, []string{"/percentile/level invalid", "/percentile/of invalid"}},
		{`"type":"event_user","event":"e","cap":{"percentile":0.9}`, []string{"/cap unknown"}},
		{`"type":"mean","event":"e","cap":{"perDay":3,"percentile":2,"ignoreZeros":false}`,
			[]string{"/cap invalid", "/cap/perDay unknown", "/cap/percentile invalid"}},
		{`"type":"sum","event":"e","cap":{"perDay":3,"ignoreZeros":true}`, []string{"/cap/ignoreZeros unknown"}},
		{`"type":"sum","event":"e","lookbackDays":400`, []string{"/lookbackDays invalid"}},
		{`"type":"sum","event":"e","filters":[{"operator":"gt","values":["1","2"]},{"operator":"lt","values":["NaN"]},{"operator":"is_null","values":["x"]},{"operator":"str_contains_any","values":[""]},{"operator":"any"}]`,
			[]string{"/filters/0/values invalid", "/filters/1/values invalid", "/filters/2/values unknown", "/filters/3/values/0 required", "/filters/4/values required"}},
	} {
		_, problems := p.try(flags.KindMetric, `{"name":"m",`+test.document+`}`)
		if diff := cmp.Diff(test.want, marks(problems)); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", test.document, problems, diff)
		}
	}
}

func TestTheLookbackOfAMetricIsAWeekUnlessItSaysOtherwise(t *testing.T) {
	for given, want := range map[int]int{0: 7, 7: 7, -1: 0, 30: 30} {
		if got := (&flags.Metric{LookbackDays: given}).Lookback(); got != want {
			t.Errorf("Lookback() with lookbackDays %d = %d; want %d", given, got, want)
		}
	}
}
