package flags

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// NewID returns an id that nothing else has: the prefix, then the time and
// chance, so that ids sort by when they were made. It is the one function of this
// package that asks the outside.
func NewID(prefix string) string {
	var b [15]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(b[6:])
	return prefix + idText.EncodeToString(b[:])
}

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Advance completes a document that is about to follow the version of it that s
// has, or to be its first: with everything that the author of a document may
// leave to us, and everything that only we count.
//
//   - The document, its rules and groups get ids where they have none. A rule
//     without an id takes the one of its predecessor with the same name or the
//     same conditions; a group, of that with the same name.
//   - Salts that were left out stay as they were.
//   - A rule's step goes up when its percentage changes.
//   - An experiment gets its start and end when it starts and ends, and buckets
//     of its layer while it runs. Groups may be given by name where ids belong.
//   - A metric that is new, or measures something else, is not verified.
//
// newID makes ids from a prefix; nil means [NewID]. Call Validate afterwards.
func Advance(s *State, d Document, now time.Time, newID func(prefix string) string) {
	if newID == nil {
		newID = NewID
	}
	if h := d.header(); *h.id == "" {
		*h.id = newID(d.Ref().Kind.IDPrefix())
	}
	var before Document
	if e, ok := s.Get(d.Ref()); ok {
		before = e.Doc
	}
	switch d := d.(type) {
	case *Gate:
		b, _ := before.(*Gate)
		if b == nil {
			b = new(Gate)
		}
		keepSalt(&d.Salt, b.Salt)
		advanceRules(b.Rules, d.Rules, newID)
	case *Config:
		b, _ := before.(*Config)
		if b == nil {
			b = new(Config)
		}
		keepSalt(&d.Salt, b.Salt)
		advanceRules(b.Rules, d.Rules, newID)
	case *Segment:
		b, _ := before.(*Segment)
		if b == nil {
			b = new(Segment)
		}
		keepSalt(&d.Salt, b.Salt)
		advanceRules(b.Rules, d.Rules, newID)
	case *Holdout:
		if b, ok := before.(*Holdout); ok {
			keepSalt(&d.Salt, b.Salt)
		}
	case *Layer:
		if b, ok := before.(*Layer); ok {
			keepSalt(&d.Salt, b.Salt)
		}
	case *Metric:
		b, ok := before.(*Metric)
		d.Verified = d.Verified && ok && d.sameDefinition(b)
	case *Experiment:
		b, _ := before.(*Experiment)
		if b == nil {
			b = new(Experiment)
		}
		advanceExperiment(s, b, d, now, newID)
	}
}

func keepSalt(salt *string, before string) {
	if *salt == "" {
		*salt = before
	}
}

func advanceRules(before, after []Rule, newID func(string) string) {
	claimed := map[string]bool{}
	for _, r := range after {
		claimed[r.ID] = true
	}
	for i := range after {
		r := &after[i]
		if r.ID == "" {
			r.ID = predecessor(before, r, claimed)
		}
		if r.ID == "" {
			r.ID = newID("rule_")
		}
		claimed[r.ID] = true

		r.Step = 1
		for _, b := range before {
			if b.ID != r.ID {
				continue
			}
			keepSalt(&r.Salt, b.Salt)
			r.Step = max(b.Step, 1)
			if b.PassPercentage != r.PassPercentage {
				r.Step++
			}
		}
	}
}

// predecessor is the id of the rule that r seems to be a version of.
func predecessor(before []Rule, r *Rule, claimed map[string]bool) string {
	for _, same := range []func(*Rule) bool{
		func(b *Rule) bool { return r.Name != "" && b.Name == r.Name },
		func(b *Rule) bool {
			return b.Name == r.Name && slices.Equal(b.Environments, r.Environments) && slices.EqualFunc(b.Conditions, r.Conditions, sameCondition)
		},
	} {
		for i := range before {
			if !claimed[before[i].ID] && same(&before[i]) {
				return before[i].ID
			}
		}
	}
	return ""
}

func sameCondition(a, b Condition) bool {
	return a.Type == b.Type && a.Operator == b.Operator && a.Field == b.Field && a.CustomID == b.CustomID &&
		string(a.TargetValue) == string(b.TargetValue)
}

func advanceExperiment(s *State, before, after *Experiment, now time.Time, newID func(string) string) {
	keepSalt(&after.Salt, before.Salt)
	advanceRules(before.TargetingRules, after.TargetingRules, newID)

	idOf := map[string]string{} // by name
	for i := range after.Groups {
		g := &after.Groups[i]
		if g.ID == "" {
			for _, b := range before.Groups {
				if strings.EqualFold(b.Name, g.Name) {
					g.ID = b.ID
				}
			}
		}
		if g.ID == "" {
			g.ID = newID("group_")
		}
		idOf[fold(g.Name)] = g.ID
	}
	groupID := func(idOrName string) string {
		if slices.ContainsFunc(after.Groups, func(g Group) bool { return g.ID == idOrName }) {
			return idOrName
		}
		if id, ok := idOf[fold(idOrName)]; ok {
			return id
		}
		return idOrName
	}
	for _, groups := range after.Overrides {
		for name, ids := range groups {
			if id := groupID(name); id != name {
				delete(groups, name)
				groups[id] = append(groups[id], ids...)
			}
		}
	}
	if after.Decision != nil {
		after.Decision.Group = groupID(after.Decision.Group)
	}
	advanceLife(before, after, now.UTC().Truncate(time.Millisecond))
	advanceBuckets(s, before, after)
}

func advanceLife(before, after *Experiment, now time.Time) {
	switch after.Status {
	case ExperimentDraft:
		after.StartedAt, after.EndedAt = nil, nil
		return
	case ExperimentRunning:
		after.EndedAt = nil
	}
	if after.StartedAt == nil {
		after.StartedAt = before.StartedAt
	}
	if after.EndedAt == nil {
		after.EndedAt = before.EndedAt
	}
	if after.Status == ExperimentRunning && after.StartedAt == nil {
		after.StartedAt = &now
	}
	if (after.Status == ExperimentDecided || after.Status == ExperimentAbandoned) && after.EndedAt == nil {
		after.EndedAt = &now
	}
}

func advanceBuckets(s *State, before, after *Experiment) {
	layer, ok := s.Find(KindLayer, after.Layer)
	switch {
	case !ok || after.Status == ExperimentDraft:
		after.Buckets = nil
	case after.Status == ExperimentRunning:
		var have bucketSet
		if before.Status == ExperimentRunning {
			have = before.owned()
		}
		own := allocate(tenths(after.Allocation), have, s.freeBuckets(layer.Ref, after.Ref()))
		after.Buckets = own.ranges()
	default:
		after.Buckets = before.Buckets // for the record
	}
}
