package eval

import (
	"encoding/json"
	"iter"
	"strconv"
	"time"
)

func ParseSpecs(body []byte) (s Specs, err error)                          { err = json.Unmarshal(body, &s); return }
func Compile(s Specs, o Options) *Ruleset                                  { return &Ruleset{time: s.Time, sequence: o.Sequence} }
func (r *Ruleset) Apply(c Change) *Ruleset                                 { return r }
func (r *Ruleset) Time() int64                                             { return r.time }
func (r *Ruleset) Sequence() uint64                                        { return r.sequence }
func (r *Ruleset) Quarantined() []Quarantine                               { return nil }
func (r *Ruleset) Names(s Section) iter.Seq[string]                        { return func(func(string) bool) {} }
func (r *Ruleset) Dependents(refs ...Ref) []Ref                            { return refs }
func (r *Ruleset) NextBoundary(after time.Time) (at time.Time, refs []Ref) { return }
func (r *Ruleset) Gate(u *User, name string) Result                        { return Result{Name: name} }
func (r *Ruleset) Config(u *User, name string) Result {
	return Result{Name: name, Value: json.RawMessage("{}")}
}
func (r *Ruleset) Layer(u *User, name string) Result {
	return Result{Name: name, Value: json.RawMessage("{}")}
}
func (r *Ruleset) AppendClient(dst []byte, u *User, o ClientOptions) []byte { return dst }
func (r *Ruleset) AppendClientEntry(dst []byte, u *User, ref Ref, o ClientOptions) (out []byte, hashedName string, ok bool) {
	return dst, "", false
}
func formatNumber(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
