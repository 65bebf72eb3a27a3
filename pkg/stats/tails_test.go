package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// The incomplete beta function of gonum is good for few degrees of freedom, and
// an independent implementation there.
func TestStudentTailMeetsGonumWhereGonumIsGood(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 20_000 {
		df, x := math.Exp(6.5*r.Float64()), math.Exp(6*r.Float64()-3)
		want := 0.5 * mathext.RegIncBeta(df/2, 0.5, df/(df+x*x))
		if got := stats.StudentTail(x, df); math.Abs(got-want) > 3e-11*want {
			t.Fatalf("StudentTail(%v, %v) = %v, want %v", x, df, got, want)
		}
	}
}

func TestBetaTailsMeetGonumWhereGonumIsGood(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 20_000 {
		a, b, x := math.Exp(6*r.Float64()-1), math.Exp(6*r.Float64()-1), r.Float64()
		lower, upper := stats.BetaTails(x, a, b)
		wantLower, wantUpper := mathext.RegIncBeta(a, b, x), mathext.RegIncBeta(b, a, 1-x)
		if math.Abs(lower-wantLower) > 1e-11 || math.Abs(upper-wantUpper) > 1e-11 {
			t.Fatalf("BetaTails(%v, %v, %v) = %v, %v; want %v, %v", x, a, b, lower, upper, wantLower, wantUpper)
		}
	}
}

// Closed forms: Cauchy for one degree of freedom, algebraic for two, normal in
// the limit.
func TestStudentTailEqualsItsClosedForms(t *testing.T) {
	for x := 1e-3; x < 1e12; x *= 1.37 {
		if got, want := stats.StudentTail(x, 1), math.Atan2(1, x)/math.Pi; math.Abs(got-want) > 1e-13*want {
			t.Errorf("StudentTail(%v, 1) = %v, want %v", x, got, want)
		}
		root := math.Sqrt(2 + x*x)
		if got, want := stats.StudentTail(x, 2), 1/(root*(root+x)); math.Abs(got-want) > 1e-13*want {
			t.Errorf("StudentTail(%v, 2) = %v, want %v", x, got, want)
		}
	}
	for x := 1e-3; x < 37; x *= 1.37 {
		if got, want := stats.StudentTail(x, 1e19), stats.NormalTail(x); math.Abs(got-want) > 1e-12*want {
			t.Errorf("StudentTail(%v, 1e19) = %v, want the normal %v", x, got, want)
		}
	}
}

func TestTailsBehaveAtTheEndsOfTheirRange(t *testing.T) {
	for _, tc := range []struct {
		name      string
		got, want float64
	}{
		{"StudentTail(0, 5)", stats.StudentTail(0, 5), 0.5},
		{"StudentTail(+Inf, 5)", stats.StudentTail(math.Inf(1), 5), 0},
		{"StudentTail(-Inf, 5)", stats.StudentTail(math.Inf(-1), 5), 1},
		{"StudentTail(1e200, 1)", stats.StudentTail(1e200, 1), 1 / (math.Pi * 1e200)},
		{"StudentUpperQuantile(0.5, 5)", stats.StudentUpperQuantile(0.5, 5), 0},
		{"StudentUpperQuantile(0.975, 1e7)", stats.StudentUpperQuantile(0.975, 1e7), -stats.StudentUpperQuantile(0.025, 1e7)},
		{"ChiSquaredTail(0, 3)", stats.ChiSquaredTail(0, 3), 1},
	} {
		if !(math.Abs(tc.got-tc.want) <= 1e-12*math.Abs(tc.want)) {
			t.Errorf("%s = %v, want %v", tc.name, tc.got, tc.want)
		}
	}
	if got := stats.StudentUpperQuantile(0, 5); !math.IsNaN(got) {
		t.Errorf("StudentUpperQuantile(0, 5) = %v, want NaN", got)
	}
}
