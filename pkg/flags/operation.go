package flags

import (
	"encoding/json"
	"slices"
	"strings"
)

// An Operation is one typed change of a document, with what was there before, so
// that it can be shown, taken back and merged without the documents around it.
type Operation struct {
	// Op is what was done, in the words of the kind: "gate.create",
	// "gate.rename", "rule.setPassPercentage", "override.set".
	Op string `json:"op"`
	// Path is the JSON pointer of what changed. Rules are named by their ids
	// instead of their places: "/rules/rule_7/passPercentage".
	Path string `json:"path,omitempty"`
	// Index is the place of a rule that came or went.
	Index  *int            `json:"index,omitempty"`
	Before json.RawMessage `json:"before,omitempty"` // absent: there was nothing
	After  json.RawMessage `json:"after,omitempty"`  // absent: there is nothing
}

// Diff returns the operations that lead from one version of a document to the
// next, in the order of the document's members. A nil before is a creation, a nil
// after a deletion; equal documents give none.
func Diff(before, after Document) []Operation {
	switch {
	case before == nil && after == nil:
		return nil
	case before == nil:
		return []Operation{{Op: string(after.Ref().Kind) + ".create", After: mustEncode(after)}}
	case after == nil:
		return []Operation{{Op: string(before.Ref().Kind) + ".delete", Before: mustEncode(before)}}
	}
	kind := string(after.Ref().Kind)
	was, is := membersOf(mustEncode(before)), membersOf(mustEncode(after))
	var out []Operation
	for _, name := range unionOf(was, is) {
		b, a := was.get(name), is.get(name)
		switch {
		case string(b) == string(a):
		case name == "rules" || name == "targetingRules":
			out = append(out, diffRules(at("", name), b, a)...)
		case name == "overrides":
			out = append(out, diffMembers("override.set", "/overrides", b, a)...)
		default:
			out = append(out, Operation{Op: kind + "." + verb(kind, name, a), Path: at("", name), Before: b, After: a})
		}
	}
	return out
}

// verb names the change of a member.
func verb(kind, member string, after json.RawMessage) string {
	switch member {
	case "name":
		return "rename"
	case "salt":
		return "resalt"
	case "revoked":
		return "revoke"
	case "status":
		var status string
		_ = json.Unmarshal(after, &status) // a status is a text
		switch {
		case status == string(StatusArchived):
			return "archive"
		case kind != string(KindExperiment):
			return "setStatus"
		}
		return map[string]string{
			string(ExperimentDraft): "reset", string(ExperimentRunning): "start",
			string(ExperimentDecided): "decide", string(ExperimentAbandoned): "abandon",
		}[status]
	}
	return "set" + strings.ToUpper(member[:1]) + member[1:]
}

// diffRules compares lists of rules by their ids.
func diffRules(path string, before, after json.RawMessage) []Operation {
	was, is := rulesByID(before), rulesByID(after)
	var out []Operation
	for i, r := range was {
		if is.find(r.name) < 0 {
			out = append(out, Operation{Op: "rule.remove", Path: at(path, r.name), Index: new(i), Before: r.raw})
		}
	}
	for i, r := range is {
		j := was.find(r.name)
		if j < 0 {
			out = append(out, Operation{Op: "rule.add", Path: at(path, r.name), Index: new(i), After: r.raw})
			continue
		}
		out = append(out, diffRule(at(path, r.name), was[j].raw, r.raw)...)
	}
	stayed, stay := was.names(is), is.names(was)
	if !slices.Equal(stayed, stay) {
		out = append(out, Operation{Op: "rule.move", Path: path, Before: encode(stayed), After: encode(stay)})
	}
	return out
}

func diffRule(path string, before, after json.RawMessage) []Operation {
	was, is := membersOf(before), membersOf(after)
	var out []Operation
	for _, name := range unionOf(was, is) {
		b, a := was.get(name), is.get(name)
		if string(b) == string(a) || name == "step" { // the step follows from the percentage
			continue
		}
		op := "rule.update"
		switch name {
		case "passPercentage":
			op = "rule.setPassPercentage"
		case "conditions":
			op = "rule.setConditions"
		case "environments":
			op = "rule.setEnvironments"
		case "disabled":
			op = "rule.enable"
			if string(a) == "true" {
				op = "rule.disable"
			}
		}
		out = append(out, Operation{Op: op, Path: at(path, name), Before: b, After: a})
	}
	return out
}

// diffMembers compares two objects member by member.
func diffMembers(op, path string, before, after json.RawMessage) []Operation {
	was, is := membersOf(before), membersOf(after)
	var out []Operation
	for _, name := range unionOf(was, is) {
		if b, a := was.get(name), is.get(name); string(b) != string(a) {
			out = append(out, Operation{Op: op, Path: at(path, name), Before: b, After: a})
		}
	}
	return out
}

// A part is a named piece of a document: a member, or a rule by its id.
type part struct {
	name string
	raw  json.RawMessage
}

type parts []part

func (p parts) find(name string) int {
	return slices.IndexFunc(p, func(q part) bool { return q.name == name })
}

func (p parts) get(name string) json.RawMessage {
	if i := p.find(name); i >= 0 {
		return p[i].raw
	}
	return nil
}

// names lists the names that are in other too, in the order of p.
func (p parts) names(other parts) []string {
	var out []string
	for _, q := range p {
		if other.find(q.name) >= 0 {
			out = append(out, q.name)
		}
	}
	return out
}

// unionOf lists the names of both, in the order of the second.
func unionOf(was, is parts) []string {
	var out []string
	for _, p := range was {
		if is.find(p.name) < 0 {
			out = append(out, p.name)
		}
	}
	for _, p := range is {
		out = append(out, p.name)
	}
	return out
}

// membersOf takes a canonical object apart.
func membersOf(raw json.RawMessage) parts {
	if len(raw) == 0 {
		return nil
	}
	root, _ := parse(raw) // canonical bytes are in order
	var out parts
	for _, m := range root.members {
		out = append(out, part{m.name, json.RawMessage(m.value.raw)})
	}
	return out
}

func rulesByID(raw json.RawMessage) parts {
	if len(raw) == 0 {
		return nil
	}
	root, _ := parse(raw)
	var out parts
	for _, item := range root.items {
		for _, m := range item.members {
			if m.name == "id" {
				out = append(out, part{m.value.text, json.RawMessage(item.raw)})
			}
		}
	}
	return out
}

func mustEncode(d Document) json.RawMessage {
	raw, err := Encode(d)
	if err != nil {
		panic(err) // as in Clone: plain data has JSON
	}
	return raw
}
