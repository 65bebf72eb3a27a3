package flags

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Merge does to theirs what leads from base to mine, all versions of one document
// that went different ways. What both changed, and not alike, is a conflict, named
// as in [Operation]; merged is nil then.
//
// Members are what is compared, and those of rules, which are told by their ids:
// two who change different rules, or different members of one, do not conflict.
// Neither do two who add rules; the one who changed the order of rules decides it.
// Merge validates nothing.
func Merge(base, mine, theirs Document) (merged Document, conflicts []string) {
	var m merger
	raw := m.document(mustEncode(base), mustEncode(mine), mustEncode(theirs))
	if len(m.conflicts) > 0 {
		return nil, m.conflicts
	}
	merged, err := Decode(theirs.Ref().Kind, raw)
	if err != nil {
		return nil, []string{""} // what each allows does not go together
	}
	return merged, nil
}

// A merger merges versions of a value, of which absent ones are nil.
type merger struct {
	conflicts []string
}

// merging makes one value of three versions that all differ.
type merging func(path string, base, mine, theirs json.RawMessage) json.RawMessage

// value takes the version that was changed if only one was. What both changed it
// leaves to both; without that it is a conflict.
func (m *merger) value(path string, base, mine, theirs json.RawMessage, both merging) json.RawMessage {
	switch {
	case bytes.Equal(mine, base), bytes.Equal(mine, theirs):
		return theirs
	case bytes.Equal(theirs, base):
		return mine
	case both == nil:
		return m.conflict(path, base, mine, theirs)
	}
	return both(path, base, mine, theirs)
}

func (m *merger) conflict(path string, _, _, theirs json.RawMessage) json.RawMessage {
	m.conflicts = append(m.conflicts, path)
	return theirs
}

// counted is for members that are made anew of others when they are written.
func counted(_ string, _, _, theirs json.RawMessage) json.RawMessage { return theirs }

// object merges objects member by member, and members by both.
func (m *merger) object(path string, base, mine, theirs json.RawMessage, both map[string]merging) json.RawMessage {
	was, my, their := membersOf(base), membersOf(mine), membersOf(theirs)
	var out [][]byte
	for _, name := range unionOf(my, their) {
		if merged := m.value(at(path, name), was.get(name), my.get(name), their.get(name), both[name]); merged != nil {
			out = append(out, append(append(encode(name), ':'), merged...))
		}
	}
	return list('{', out, '}')
}

// list writes items as they are: a document's free parts keep their text.
func list(opens byte, items [][]byte, closes byte) json.RawMessage {
	return append(append([]byte{opens}, bytes.Join(items, []byte{','})...), closes)
}

func (m *merger) document(base, mine, theirs json.RawMessage) json.RawMessage {
	return m.object("", base, mine, theirs, map[string]merging{
		"rules": m.rules, "targetingRules": m.rules, "overrides": m.overrides, "buckets": counted,
	})
}

func (m *merger) overrides(path string, base, mine, theirs json.RawMessage) json.RawMessage {
	return m.object(path, base, mine, theirs, nil)
}

// rule merges a rule that both keep.
func (m *merger) rule(path string, base, mine, theirs json.RawMessage) json.RawMessage {
	if base == nil || mine == nil || theirs == nil {
		return m.conflict(path, base, mine, theirs)
	}
	return m.object(path, base, mine, theirs, map[string]merging{"step": counted})
}

// rules merges lists of rules by their ids.
func (m *merger) rules(path string, base, mine, theirs json.RawMessage) json.RawMessage {
	was, my, their := rulesByID(base), rulesByID(mine), rulesByID(theirs)
	order := their
	switch {
	case slices.Equal(was.names(my), my.names(was)): // mine kept the order
	case slices.Equal(was.names(their), their.names(was)):
		order = my
	default:
		m.conflicts = append(m.conflicts, path)
	}
	var out [][]byte
	for _, id := range interleave(order, my, their) {
		if merged := m.value(at(path, id), was.get(id), my.get(id), their.get(id), m.rule); merged != nil {
			out = append(out, merged)
		}
	}
	return list('[', out, ']')
}

// interleave lists the names of all lists in the order of the first; the others of
// the next behind what they stand behind there.
func interleave(lists ...parts) (names []string) {
	for _, list := range lists {
		place := 0
		for _, p := range list {
			if i := slices.Index(names, p.name); i >= 0 {
				place = i + 1
				continue
			}
			names = slices.Insert(names, place, p.name)
			place++
		}
	}
	return names
}
