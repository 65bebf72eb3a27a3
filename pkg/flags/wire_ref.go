package flags

import "github.com/sluice-flags/sluice/pkg/eval"

// WireRef names the spec that an entity of a kind and name lowers to; ok is
// false for kinds that lower to none.
func WireRef(kind Kind, name string) (ref eval.Ref, ok bool) {
	switch kind {
	case KindGate, KindHoldout:
		return eval.Ref{Section: eval.Gates, Name: name}, true
	case KindSegment:
		return eval.Ref{Section: eval.Gates, Name: segmentPrefix + name}, true
	case KindConfig, KindExperiment:
		return eval.Ref{Section: eval.Configs, Name: name}, true
	case KindLayer:
		return eval.Ref{Section: eval.Layers, Name: name}, true
	}
	return eval.Ref{}, false
}
