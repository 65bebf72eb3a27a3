package stats

// A Stratum holds both groups' units of one stratum: a segment fixed before
// exposure, such as a country.
type Stratum struct {
	Control   Moments `json:"control"`
	Treatment Moments `json:"treatment"`
}

func (s Stratum) size() float64 { return float64(s.Control.N) + float64(s.Treatment.N) }

// comparable reports whether a stratum can stand by itself.
func (s Stratum) comparable() bool {
	return s.Control.N >= 2 && s.Treatment.N >= 2 && s.Control.M2 > 0 && s.Treatment.M2 > 0
}

// PostStratify compares means within strata and averages the differences by the
// strata's sizes, which removes the variance between strata. The sizes count as
// multinomial, not as fixed. The lift is relative to the average of control's
// means, weighted alike. The variances of the groups are those of all their units
// together.
//
// A stratum with fewer than two units or without variance in a group is merged
// into the largest one.
//
// Source: Miratrix, Sekhon and Yu, "Adjusting treatment effect estimates by
// post-stratification in randomized experiments" (2013).
func PostStratify(strata []Stratum, o Options) (r Comparison) {
	strata, pooled := mergeStrata(strata)
	control, treatment := pooled.Control.Estimate(), pooled.Treatment.Estimate()
	r = compareEstimates(&control, &treatment, o)
	if r.Code != OK {
		return r
	}

	n := pooled.size()
	var delta, mean, fixed, control2, denominator float64 // fixed: variance given the sizes
	var deltaSquares, meanSquares, products float64
	for _, s := range strata {
		w := s.size() / n
		mc, d := s.Control.Mean, (s.Treatment.Mean-s.Control.Mean)+(s.Treatment.MeanLow-s.Control.MeanLow)
		wc, wt := termOf(s.Control, w), termOf(s.Treatment, w)
		delta += w * d
		mean += w * mc
		fixed += wc.variance + wt.variance
		control2 += wc.variance
		denominator += wc.satterthwaite() + wt.satterthwaite()
		deltaSquares += w * d * d
		meanSquares += w * mc * mc
		products += w * d * mc
	}
	v := fixed + max(0, deltaSquares-delta*delta)/n
	base := baseline{
		mean:       mean,
		variance:   control2 + max(0, meanSquares-mean*mean)/n,
		covariance: -control2 + (products-delta*mean)/n,
	}
	r.Control.Value, r.Treatment.Value = Defined(mean), Defined(mean+delta)
	r.Delta, r.Lift = Defined(delta), liftOf(delta, mean)
	if !(v > 0) {
		return r
	}
	r.infer(delta, v, fixed*fixed/denominator, base, o)
	return r
}

// mergeStrata returns the strata that can stand by themselves, and all of them as
// one.
func mergeStrata(all []Stratum) (kept []Stratum, pooled Stratum) {
	var rest Stratum
	for _, s := range all {
		pooled.Control = pooled.Control.Merge(s.Control)
		pooled.Treatment = pooled.Treatment.Merge(s.Treatment)
		if s.comparable() {
			kept = append(kept, s)
			continue
		}
		rest.Control = rest.Control.Merge(s.Control)
		rest.Treatment = rest.Treatment.Merge(s.Treatment)
	}
	if len(kept) == 0 {
		return []Stratum{pooled}, pooled
	}
	largest := 0
	for i, s := range kept {
		if s.size() > kept[largest].size() {
			largest = i
		}
	}
	kept[largest].Control = kept[largest].Control.Merge(rest.Control)
	kept[largest].Treatment = kept[largest].Treatment.Merge(rest.Treatment)
	return kept, pooled
}

// A term is one independent mean of a linear combination.
type term struct {
	variance float64 // of coefficient times mean
	df       float64
}

func termOf(m Moments, coefficient float64) term {
	n := float64(m.N)
	return term{variance: coefficient * coefficient * m.M2 / (n - 1) / n, df: n - 1}
}

func (t term) satterthwaite() float64 { return t.variance * t.variance / t.df }
