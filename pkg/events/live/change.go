package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Change moves a client from any state at or after Prev to Seq.
//
// The client applies it when the sequence it holds is Prev or later; when it
// holds less, something is missing and it sends its [Position]. Prev may equal
// Seq: values also change when time passes a boundary that a rule names.
type Change struct {
	Prev uint64
	Seq  uint64
	Time int64

	// Entries in the order of [Sections], then by name.
	Entries []Entry

	// Layers is the whole map from layer to experiments, in rules mode, when
	// it changed; nil leaves it as it is.
	Layers json.RawMessage

	// IDLists names the id lists that have other members, in rules mode. The
	// members are in files: see /v1/get_id_lists.
	IDLists []string
}

// An Entry is one entity's new form. A nil Value takes the entity away.
type Entry struct {
	Section string
	Name    string
	Value   json.RawMessage
}

// AppendJSON appends the frame's text to dst. Entries are written as they are
// ordered: those of one section must stand together.
func (c Change) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"type":"change","prev":`...)
	dst = strconv.AppendUint(dst, c.Prev, 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, c.Seq, 10)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, c.Time, 10)

	dst = appendSections(dst, `,"set":{`, '{', '}', c.Entries, func(dst []byte, e Entry) ([]byte, bool) {
		if e.Value == nil {
			return dst, false
		}
		dst = append(appendString(dst, e.Name), ':')
		return append(dst, e.Value...), true
	})
	dst = appendSections(dst, `,"delete":{`, '[', ']', c.Entries, func(dst []byte, e Entry) ([]byte, bool) {
		if e.Value != nil {
			return dst, false
		}
		return appendString(dst, e.Name), true
	})
	if c.Layers != nil {
		dst = append(append(dst, `,"layers":`...), c.Layers...)
	}
	for i, name := range c.IDLists {
		open := `,`
		if i == 0 {
			open = `,"idLists":[`
		}
		dst = appendString(append(dst, open...), name)
	}
	if len(c.IDLists) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendSections writes the entries that item accepts, grouped by section, and
// nothing at all when it accepts none.
func appendSections(dst []byte, open string, left, right byte, entries []Entry, item func([]byte, Entry) ([]byte, bool)) []byte {
	section := ""
	for _, e := range entries {
		mark := len(dst)
		switch {
		case section == "":
			dst = append(append(dst, open...), '"')
			dst = append(append(append(dst, e.Section...), `":`...), left)
		case section != e.Section:
			dst = append(append(dst, right), `,"`...)
			dst = append(append(append(dst, e.Section...), `":`...), left)
		default:
			dst = append(dst, ',')
		}
		out, ok := item(dst, e)
		if !ok {
			dst = dst[:mark]
			continue
		}
		dst, section = out, e.Section
	}
	if section != "" {
		dst = append(dst, right, '}')
	}
	return dst
}

// appendString appends s as a JSON string. Names are nearly always plain, and
// those are copied as they are.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// changeBody is the shape of a change on the wire.
type changeBody struct {
	Prev   uint64                                `json:"prev"`
	Seq    uint64                                `json:"seq"`
	Time   int64                                 `json:"time"`
	Set    map[string]map[string]json.RawMessage `json:"set"`
	Delete map[string][]string                   `json:"delete"`
	Layers json.RawMessage                       `json:"layers"`

	IDLists []string `json:"idLists"`
}

// MarshalJSON implements [json.Marshaler].
func (c Change) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// UnmarshalJSON implements [json.Unmarshaler]. Sections that this version does
// not know are ignored; entries come out sorted.
func (c *Change) UnmarshalJSON(text []byte) error {
	var body changeBody
	if err := json.Unmarshal(text, &body); err != nil {
		return err
	}
	*c = Change{Prev: body.Prev, Seq: body.Seq, Time: body.Time, Layers: body.Layers, IDLists: body.IDLists}
	if bytes.Equal(c.Layers, []byte("null")) {
		c.Layers = nil
	}
	for _, section := range Sections {
		first := len(c.Entries)
		for _, name := range slices.Sorted(maps.Keys(body.Set[section])) {
			value := body.Set[section][name]
			if !isObject(value) {
				return fmt.Errorf("set.%s[%q] is not an object", section, name)
			}
			c.Entries = append(c.Entries, Entry{section, name, value})
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(body.Delete[section]))) {
			if _, both := body.Set[section][name]; both {
				return fmt.Errorf("%s %q is both set and deleted", section, name)
			}
			c.Entries = append(c.Entries, Entry{section, name, nil})
		}
		slices.SortStableFunc(c.Entries[first:], func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	return nil
}

func (c Change) check() error {
	if c.Prev > c.Seq {
		return errors.New("prev is above seq")
	}
	return nil
}
