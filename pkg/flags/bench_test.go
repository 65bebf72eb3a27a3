package flags_test

import (
	"fmt"
	"testing"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// large is a project of 10,000 gates that ask one segment.
func large(b *testing.B) *project {
	p := newProject(b)
	p.put(flags.KindSegment, `{"id":"seg_s","name":"s","rules":[]}`)
	entities := make([]flags.Entity, 10_000)
	for i := range entities {
		d, err := flags.Decode(flags.KindGate, fmt.Appendf(nil, `{"id":"gate_%d","name":"gate %d","rules":[
			{"id":"a","environments":["production"],"passPercentage":100,"conditions":[{"type":"passes_segment","targetValue":"s"}]},
			{"id":"b","environments":null,"passPercentage":10,"conditions":[{"type":"country","operator":"any","targetValue":["NZ","AU"]}]}]}`, i, i))
		if err != nil {
			b.Fatal(err)
		}
		entities[i] = p.next(d)
	}
	p.state = p.state.With(flags.Position{Seq: 10_004, Time: 1}, entities...)
	return p
}

func BenchmarkPutAmong10000(b *testing.B) {
	p := large(b)
	e, _ := p.state.ByName(flags.KindGate, "gate 5000")
	b.ReportAllocs()
	for b.Loop() {
		p.state.Put(e)
	}
}

func BenchmarkLowerChangeAmong10000(b *testing.B) {
	p := large(b)
	e, _ := p.state.ByName(flags.KindGate, "gate 5000")
	after := p.state.Put(p.next(e.Doc))
	scope := flags.Scope{Kind: flags.KeyServer, Environments: []string{"production"}}
	b.ReportAllocs()
	for b.Loop() {
		flags.LowerChange(p.state, after, []flags.Ref{e.Ref}, scope)
	}
}

func BenchmarkValidateAmong10000(b *testing.B) {
	p := large(b)
	e, _ := p.state.ByName(flags.KindGate, "gate 5000")
	b.ReportAllocs()
	for b.Loop() {
		flags.Validate(p.state, e.Doc)
	}
}

func BenchmarkBoot10000(b *testing.B) {
	p := large(b)
	var entities []flags.Entity
	for e := range p.state.Entities() {
		entities = append(entities, e)
	}
	b.ReportAllocs()
	for b.Loop() {
		flags.NewState("demo").With(p.state.Position(), entities...)
	}
}

func BenchmarkLower10000(b *testing.B) {
	p := large(b)
	b.ReportAllocs()
	for b.Loop() {
		flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer, Environments: []string{"production"}})
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := []byte(everyone("g", 10))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := flags.Decode(flags.KindGate, raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	raw := []byte(everyone("g", 10))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := flags.Load(flags.KindGate, raw); err != nil {
			b.Fatal(err)
		}
	}
}
