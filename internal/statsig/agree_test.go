package statsig_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
)

// A member is one of an object as the standard library reads it: members come in
// order, and as often as they stand there.
type member struct {
	name string
	raw  json.RawMessage
}

// members returns those of an object, or nil if the text is of something else.
func members(raw json.RawMessage) (list []member) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil
		}
		list = append(list, member{name.(string), value})
	}
	return list
}

// said is a value as text, as facts keep it.
func said(raw json.RawMessage) string {
	var text *string
	if json.Unmarshal(raw, &text) != nil {
		return string(raw)
	}
	if text == nil {
		return ""
	}
	return *text
}

func listed(raw json.RawMessage) (ps []events.Pair) {
	for _, m := range members(raw) {
		ps = append(ps, events.Pair{Name: m.name, Value: said(m.raw)})
	}
	events.SortPairs(ps)
	return ps
}

// standard is an event as the standard library reads it.
func standard(raw json.RawMessage) (e statsig.LogEvent) {
	for _, m := range members(raw) {
		switch m.name {
		case "eventName":
			e.Name = said(m.raw)
		case "value":
			e.Value = said(m.raw)
		case "metadata":
			e.Metadata = listed(m.raw)
		case "time":
			at, err := strconv.ParseInt(said(m.raw), 10, 64)
			if err != nil {
				f, _ := strconv.ParseFloat(said(m.raw), 64)
				at = int64(f)
			}
			e.Time = at
		case "user":
			for _, m := range members(m.raw) {
				switch m.name {
				case "userID", "customIDs":
					var u eval.User // decisions and facts know a unit by the same text
					_ = json.Unmarshal([]byte(fmt.Sprintf(`{%q:%s}`, m.name, m.raw)), &u)
					if m.name == "userID" {
						e.User.UserID = u.UserID
						break
					}
					if m.raw[0] != '{' {
						break // there is nothing in it
					}
					e.User.CustomIDs = nil
					for name, id := range u.CustomIDs {
						if id != "" {
							e.User.CustomIDs = append(e.User.CustomIDs, events.Pair{Name: name, Value: id})
						}
					}
					events.SortPairs(e.User.CustomIDs)
				case "statsigEnvironment":
					for _, m := range members(m.raw) {
						if tier := said(m.raw); m.name == "tier" && m.raw[0] == '"' && len(tier) <= 256 {
							e.User.Tier = tier
						}
					}
				}
			}
		}
	}
	return e
}

// agreeWithStandard fails the test unless a body says what the standard library
// says that it does, whatever came before it; what has faults is not compared.
func agreeWithStandard(t *testing.T, body []byte) {
	t.Helper()
	got, err := statsig.DecodeLogBody(body)
	again, errAgain := statsig.DecodeLogBody(body)
	if diff := cmp.Diff(got, again); diff != "" || fmt.Sprint(err) != fmt.Sprint(errAgain) {
		t.Fatalf("DecodeLogBody(%.300q) = %v, and %v the second time (-first +second):\n%s", body, err, errAgain, diff)
	}
	if err != nil {
		ours := false // not JSON's
		for _, limit := range []string{"an object should begin here (at byte 0)", "two lists", "UTF-8", "too large", "deeper", "more than", "should be an array", "has no events"} {
			ours = ours || strings.Contains(err.Error(), limit)
		}
		if !ours && json.Valid(body) && utf8.Valid(body) && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			t.Fatalf("DecodeLogBody(%.300q) = %v, though it is JSON", body, err)
		}
		return
	}
	if !json.Valid(body) {
		t.Fatalf("DecodeLogBody(%.300q) took what is not JSON", body)
	}
	var entries []json.RawMessage
	for _, m := range members(body) {
		switch m.name {
		case "events":
			_ = json.Unmarshal(m.raw, &entries)
		case "user":
			return // it stands in for those that are missing
		}
	}
	if got.SDK.StableID != "" {
		return // it is everybody's
	}
	if len(entries) != len(got.Events) {
		t.Fatalf("DecodeLogBody(%.300q) has %d events; want %d", body, len(got.Events), len(entries))
	}
	for i, e := range got.Events {
		if e.Fault != nil {
			continue
		}
		if diff := cmp.Diff(standard(entries[i]), e); diff != "" {
			t.Errorf("DecodeLogBody(%.300q): event %d differs (-want +got):\n%s", body, i, diff)
		}
	}
}

// alike are bodies whose events are nearly those before, in what may be learned of
// them: their members' order, names and blanks.
var alike = []string{
	`{"eventName":"e","user":{"userID":"u","email":"x","custom":{"a":[1,{"b":"\n"}]},"customIDs":{"a":"1","b":2}},"value":1,"metadata":{"b":1,"a":"x"},"time":1}`,
	`{"eventName":"e","user":{"userID":"u","email":"x","custom":{"a":[1,{"b":"\n"}]},"customIDs":{"a":"1","c":2}},"value":1,"metadata":{"b":1,"c":"x"},"time":1}`,
	`{"user":{"email":"x","userID":"u"},"eventName":"e"}`,
	`{"eventName": "e", "user": {"userID": "u", "email": "x"}, "value": 1}`,
	"{\n\t\"eventName\" : \"e\" ,\r\n \"user\" : { } , \"metadata\" : { } }",
	`{"\u0065ventName":"e","user":{"\u0075serID":"u"}}`,
	`{"eventName":"e","user":{"userID":1000.0,"customIDs":{"a":1e3,"b":-2.50,"c":12345678901234567890,"d":1e-7,"e":1E21,"f":-0}}}`,
	`{"eventName":"statsig::gate_exposure","metadata":{"gate":"g","gateValue":"true","ruleID":"r"},"time":"2"}`,
	`{"metadata":{"gate":"g","ruleID":"r"},"eventName":"statsig::gate_exposure","time":3.5}`,
	`{"eventName":"e","x":{},"y":[],"z":[[],{},[{}]],"secondaryExposures":[{"gate":"a"},{"gate":"b"}]}`,
	`{}`, `null`, `{"user":{}}`, `{"metadata":{}}`,
}

func TestEventsAreReadAlikeWhateverCameBefore(t *testing.T) {
	for _, a := range alike {
		for _, b := range alike {
			agreeWithStandard(t, []byte(`{"events":[`+a+`,`+b+`,`+a+`]}`))
			for _, broken := range []string{`{"events":[` + a + b + `]}`, `{"events":[` + a + `,` + b[:len(b)/2] + `]}`, `{"events":[` + a + `,` + strings.Replace(b, ",", ",,", 1) + `]}`} {
				agreeWithStandard(t, []byte(broken))
			}
		}
	}
}

func TestMoreMembersThanAreRememberedAreReadAlike(t *testing.T) {
	for _, n := range []int{29, 30, 31, 32, 100} {
		one := `{"eventName":"e","user":{` + many(n, `"k%d":{"k":%[1]d}`) + `,"userID":"u"},"metadata":{` + many(min(n, 100), `"m%d":%[1]d`) + `},` + many(n, `"x%d":"\u0061"`) + `,"` + strings.Repeat("long", 100) + `":1,"time":5}`
		agreeWithStandard(t, []byte(`{"events":[`+one+`,`+one+`,`+alike[0]+`,`+one+`]}`))
	}
}
