package statsig_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
)

const (
	batchUUID = "0198c1a4-6e2b-7c3d-8e4f-0123456789ab"
	eventUUID = "0198C1A4-6E2B-7C3D-8E4F-0123456789AC"
)

func TestABatchSaysTheSameAsOneTextAndInLines(t *testing.T) {
	entries := []string{
		`{"event_id":"` + eventUUID + `","eventName":"purchase","user":{"userID":"ada","customIDs":{"companyID":7},"country":"NZ","email":"a@b","custom":{"plan":"pro","country":"AU"},"privateAttributes":{"plan":"secret"}},"value":12.5,"metadata":{"currency":"EUR"},"time":1790000000000}`,
		`{"event_id":"order-17","gate":"new_checkout","value":true,"ruleID":"r:50.00:1","reason":"Network","sequence":41,"time":"2026-09-21T14:13:20.5Z"}`,
		`{"layer":"checkout","experiment":"free_shipping","parameter":"threshold","group":"Test","unheard":{"of":[1]}}`,
	}
	want := statsig.Batch{ID: batchUUID, SDK: statsig.SDK{Type: "shop", Version: "2"}, Events: []statsig.BatchEvent{
		{ID: strings.ToLower(eventUUID), LogEvent: statsig.LogEvent{Name: "purchase", Time: 1790000000000, Value: "12.5",
			User: statsig.LogUser{UserID: "ada", CustomIDs: []events.Pair{{Name: "companyID", Value: "7"}},
				Attributes: []events.Pair{{Name: "country", Value: "NZ"}, {Name: "plan", Value: "pro"}}},
			Metadata: []events.Pair{{Name: "currency", Value: "EUR"}}}},
		{ID: "order-17", Gate: "new_checkout", RuleID: "r:50.00:1", Reason: "Network", Sequence: 41,
			LogEvent: statsig.LogEvent{Value: "true", Time: 1790000000500, User: statsig.LogUser{UserID: "bob"}}},
		{Layer: "checkout", Experiment: "free_shipping", Parameter: "threshold", Group: "Test", LogEvent: statsig.LogEvent{User: statsig.LogUser{UserID: "bob"}}},
	}}
	const about = `"batch_id":"` + batchUUID + `","statsigMetadata":{"sdkType":"shop","sdkVersion":"2"},"user":{"userID":"bob"}`
	for name, decode := range map[string]func() (statsig.Batch, error){
		"one text": func() (statsig.Batch, error) {
			return statsig.DecodeBatch([]byte(`{`+about+`,"events":[`+strings.Join(entries, ",")+`]}`), "country", "plan")
		},
		"lines": func() (statsig.Batch, error) {
			return statsig.DecodeLines([]byte("{"+about+"}\n\n"+strings.Join(entries, "\r\n")), "country", "plan")
		},
	} {
		got, err := decode()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: %v, differs (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestAnEntryThatIsNoneSaysWhy(t *testing.T) {
	for entry, want := range map[string]string{
		`7`: "wrong_type", `null`: "wrong_type", `[]`: "wrong_type", `{}`: "no_name", `{"eventName":""}`: "no_name",
		`{"eventName":"e","gate":"g"}`:                                      "no_name",
		`{"config":"c","experiment":"x"}`:                                   "no_name",
		`{"eventName":"e","eventName":"f"}`:                                 "duplicate_member",
		`{"eventName":"e","EventName":"f"}`:                                 "unknown_member",
		`{"event_name":"e"}`:                                                "unknown_member",
		`{"eventName":"e","eventId":"1"}`:                                   "unknown_member",
		`{"eventName":"e","event_id":7}`:                                    "wrong_type",
		`{"eventName":"e","event_id":"` + strings.Repeat("x", 257) + `"}`:   "too_long",
		`{"eventName":"` + strings.Repeat("x", 257) + `"}`:                  "too_long",
		`{"eventName":"e","value":"` + strings.Repeat("x", 16<<10+1) + `"}`: "too_long",
		`{"eventName":"e","time":"yesterday"}`:                              "bad_time",
		`{"eventName":"e","user":"ada"}`:                                    "wrong_type",
		`{"gate":"g","sequence":-1}`:                                        "wrong_type",
		`{"eventName":"e","metadata":{` + strings.TrimSuffix(strings.Repeat(`"@":1,`, 101), ",") + `}}`: "duplicate_member",
	} {
		entry := entry
		if strings.Contains(entry, `"@"`) { // names that differ
			for i := range 101 {
				entry = strings.Replace(entry, `"@"`, `"m`+strings.Repeat("x", i)+`"`, 1)
			}
			want = "too_many"
		}
		one, err := statsig.DecodeBatch([]byte(`{"events":[{"eventName":"before"},` + entry + `,{"eventName":"after"}]}`))
		lines, lineErr := statsig.DecodeLines([]byte("{\"eventName\":\"before\"}\n" + entry + "\n{\"eventName\":\"after\"}"))
		if err != nil || lineErr != nil {
			t.Errorf("a batch with %.60s = %v, as lines %v; want a fault of the entry", entry, err, lineErr)
			continue
		}
		for form, b := range map[string]statsig.Batch{"one text": one, "lines": lines} {
			if len(b.Events) != 3 || b.Events[0].Fault != nil || b.Events[2].Fault != nil || b.Events[1].Fault == nil || b.Events[1].Fault.Code != want {
				t.Errorf("%s with %.60s = %+v; want fault %s of the middle one", form, entry, b.Events, want)
			}
		}
	}
}

func TestALineThatIsNotJSONIsAFaultOfItsOwn(t *testing.T) {
	for _, line := range []string{
		`{`, `{"batch_id":"` + batchUUID + `"}}`, `{"eventName":"e"`, `{"eventName":"e"} x`, `{"eventName":"e","value":NaN}`, `{"eventName":"e","value":1e400}`,
		"{\"eventName\":\"\xff\"}", "\ufeff" + `{"eventName":"e"}`, `{"eventName":"e","x":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`,
	} {
		b, err := statsig.DecodeLines([]byte("{\"eventName\":\"before\"}\n" + line + "\n{\"eventName\":\"after\"}"))
		if err != nil || len(b.Events) != 3 || b.Events[1].Fault == nil || b.Events[1].Fault.Code != "malformed_json" || b.Events[2].Name != "after" {
			t.Errorf("DecodeLines(… %.40q …) = %+v, %v; want malformed_json of that line alone", line, b.Events, err)
		}
		if _, err := statsig.DecodeLines([]byte(line)); web.StatusOf(err) != http.StatusBadRequest || err == nil {
			t.Errorf("DecodeLines(%.40q) alone = %v, want 400", line, err)
		}
		if _, err := statsig.DecodeBatch([]byte(`{"events":[{"eventName":"a"},` + line + `]}`)); web.StatusOf(err) != http.StatusBadRequest || err == nil {
			t.Errorf("DecodeBatch(… %.40q …) = %v, want 400", line, err)
		}
	}
}

func TestABatchThatIsNoneIsRefused(t *testing.T) {
	for body, want := range map[string]int{
		``: 400, `[]`: 400, `{}`: 400, `{"events":7}`: 400, `{"Events":[]}`: 400, `{"events":[],"events":[]}`: 400,
		`{"batch_id":"7","events":[]}`: 400, `{"batch_id":null,"events":[]}`: 400, `{"batchId":"` + batchUUID + `","events":[]}`: 400,
		`{"events":[]}x`: 400, "\ufeff" + `{"events":[]}`: 400,
		`{"events":[` + strings.Repeat(`{},`, 10_000) + `{}]}`: 413,
	} {
		if b, err := statsig.DecodeBatch([]byte(body)); err == nil || web.StatusOf(err) != want {
			t.Errorf("DecodeBatch(%.40q) = %d entries, %v; want %d", body, len(b.Events), err, want)
		}
	}
	for body, want := range map[string]int{
		`{"batch_id":"7"}`: 400, `{"eventName":"e"}` + "\n" + `{"batch_id":"7"}`: 400, strings.Repeat("{}\n", 10_001): 413,
	} {
		if b, err := statsig.DecodeLines([]byte(body)); err == nil || web.StatusOf(err) != want {
			t.Errorf("DecodeLines(%.40q) = %d entries, %v; want %d", body, len(b.Events), err, want)
		}
	}
	if b, err := statsig.DecodeLines(nil); err != nil || len(b.Events) != 0 {
		t.Errorf("DecodeLines of nothing = %+v, %v; want nothing", b, err)
	}
}

func TestAUUIDOfVersion7TellsItsTime(t *testing.T) {
	for text, want := range map[string]int64{
		batchUUID: 0x0198c1a46e2b, eventUUID: 0x0198c1a46e2b, "0198c1a4-6e2b-4c3d-8e4f-0123456789ab": 0, "": 0, "order-17": 0, strings.Replace(batchUUID, "-", "0", 1): 0,
	} {
		if got := statsig.TimeOfUUID(text); got != want {
			t.Errorf("TimeOfUUID(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestMembersAreRemovedAtAnyDepth(t *testing.T) {
	drop := func(name string) bool { return name == "email" || name == "ip" }
	for text, want := range map[string]string{
		`{"email":"a@b","x":1}`:                          `{"x":1}`,
		`{"x":{"ip":[1,{"email":2}],"y":[{"email":3}]}}`: `{"x":{"y":[{}]}}`,
		`[{"email":1},2,"email"]`:                        `[{},2,"email"]`,
		`{"e\u006dail":1}`:                               `{}`,
		`{"a": 1}`:                                       `{"a": 1}`, // nothing to remove: as it was
		`{"email":`:                                      `{"email":`,
		`email`:                                          `email`,
	} {
		if got := statsig.WithoutMembers(text, drop); got != want {
			t.Errorf("WithoutMembers(%s) = %s, want %s", text, got, want)
		}
	}
}

// FuzzDecodeBatch holds that no body panics, that what is refused is the sender's,
// that every entry can be told, and that what is removed is gone.
func FuzzDecodeBatch(f *testing.F) {
	for _, s := range []string{
		`{"batch_id":"` + batchUUID + `","events":[{"event_id":"a","eventName":"e","user":{"userID":"u","custom":{"plan":"p"}},"value":1,"metadata":{"a":{"plan":2}},"time":"2026-01-02T03:04:05Z"}]}`,
		"{\"batch_id\":\"" + batchUUID + "\"}\n{\"gate\":\"g\",\"value\":true}\n{",
		`{"layer":"l","experiment":"x","parameter":"p","sequence":18446744073709551615}`, `{"events":[[],{},null]}`, "\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for form, decode := range map[string]func([]byte, ...string) (statsig.Batch, error){"one text": statsig.DecodeBatch, "lines": statsig.DecodeLines} {
			b, err := decode(body, "plan")
			if err != nil {
				if status := web.StatusOf(err); status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge {
					t.Errorf("%s %q = %v, status %d; want 400 or 413", form, body, err, status)
				}
				continue
			}
			for i, e := range b.Events {
				named := e.Name != "" || e.Gate != "" || e.Config != "" || e.Layer != "" || e.Experiment != ""
				if e.Fault == nil && !named {
					t.Errorf("%s %q: entry %d has neither a name nor a fault: %+v", form, body, i, e)
				}
				for _, p := range e.Metadata {
					rest := statsig.WithoutMembers(p.Value, func(name string) bool { return name == "plan" })
					if json.Valid([]byte(p.Value)) != json.Valid([]byte(rest)) {
						t.Errorf("WithoutMembers(%q) = %q", p.Value, rest)
					}
				}
			}
		}
	})
}
