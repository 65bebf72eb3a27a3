package statsig_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
)

func pairs(namesAndValues ...string) (ps []events.Pair) {
	for i := 0; i < len(namesAndValues); i += 2 {
		ps = append(ps, events.Pair{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return ps
}

func TestLogBodiesOfEverySDKFamily(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want statsig.LogBody
	}{
		"go: empty text as value, null event metadata": {
			body: `{"events":[{"eventName":"statsig::gate_exposure","user":{"userID":"ada","email":"a@b.c","privateAttributes":{"ssn":"1"},"custom":{"plan":"pro"},"statsigEnvironment":{"tier":"staging"},"customIDs":null},
				"value":"","metadata":{"gate":"g","gateValue":"true","ruleID":"r"},"secondaryExposures":[{"gate":"x","gateValue":"true","ruleID":"y"}],"time":1790000000000,"statsigMetadata":{}}],
				"statsigMetadata":{"sdkType":"go-sdk","sdkVersion":"v1.35.1","languageVersion":"go1.26","sessionID":""}}`,
			want: statsig.LogBody{SDK: statsig.SDK{Type: "go-sdk", Version: "v1.35.1"}, Events: []statsig.LogEvent{{
				Name: statsig.GateExposure, Time: 1790000000000, User: statsig.LogUser{UserID: "ada", Tier: "staging"},
				Metadata: pairs("gate", "g", "gateValue", "true", "ruleID", "r"),
			}}},
		},
		"node: numeric value, metadata of any type": {
			body: `{"events":[{"eventName":"purchase","user":{"userID":42,"customIDs":{"companyID":7,"b":"x"}},"value":12.5,
				"metadata":{"ok":true,"items":[1, 2],"none":null,"n":1e3,"o":{"a":"b"}},"time":1790000000000.7}],"statsigMetadata":{"sdkType":"statsig-node","sessionID":"s1"}}`,
			want: statsig.LogBody{SDK: statsig.SDK{Type: "statsig-node", SessionID: "s1"}, Events: []statsig.LogEvent{{
				Name: "purchase", Time: 1790000000000, User: statsig.LogUser{UserID: "42", CustomIDs: pairs("b", "x", "companyID", "7")},
				Value: "12.5", Metadata: pairs("items", "[1, 2]", "n", "1e3", "none", "", "o", `{"a":"b"}`, "ok", "true"),
			}}},
		},
		"core: diagnostics without a user, markers as text": {
			body: `{"statsigMetadata":{"sdkType":"statsig-server-core-node"},"events":[{"eventName":"statsig::diagnostics","user":null,"value":null,"metadata":{"context":"initialize","markers":"[{\"key\":1}]"},"time":1790000000000}]}`,
			want: statsig.LogBody{SDK: statsig.SDK{Type: "statsig-server-core-node"}, Events: []statsig.LogEvent{{
				Name: "statsig::diagnostics", Time: 1790000000000, Metadata: pairs("context", "initialize", "markers", `[{"key":1}]`),
			}}},
		},
		"js: the stable id only in the body's metadata": {
			body: `{"events":[{"eventName":"click","user":{"customIDs":{"a":"1"}},"value":null,"time":1790000000000},{"eventName":"look","user":{"customIDs":{"stableID":"own"}}}],"statsigMetadata":{"sdkType":"javascript-client","stableID":"st"}}`,
			want: statsig.LogBody{SDK: statsig.SDK{Type: "javascript-client", StableID: "st"}, Events: []statsig.LogEvent{
				{Name: "click", Time: 1790000000000, User: statsig.LogUser{CustomIDs: pairs("a", "1", "stableID", "st")}},
				{Name: "look", User: statsig.LogUser{CustomIDs: pairs("stableID", "own")}},
			}},
		},
		"HTTP API from Python: ids that are floats, by which decisions know units as whole": {
			body: `{"events":[{"eventName":"a","user":{"userID":1000.0,"customIDs":{"a":1e3,"b":2.50,"c":12345678901234567890}}}]}`,
			want: statsig.LogBody{Events: []statsig.LogEvent{{Name: "a", User: statsig.LogUser{UserID: "1000", CustomIDs: pairs("a", "1000", "b", "2.5", "c", "12345678901234567890")}}}},
		},
		"php: lists where objects have no members": {
			body: `{"events":[{"eventName":"a","user":{"userID":"ada","custom":[],"customIDs":[],"statsigEnvironment":[]},"value":null,"metadata":[ ],"time":1790000000000}],"statsigMetadata":[]}`,
			want: statsig.LogBody{Events: []statsig.LogEvent{{Name: "a", Time: 1790000000000, User: statsig.LogUser{UserID: "ada"}}}},
		},
		"HTTP API: one user for all events": {
			body: `{"events":[{"eventName":"a"},{"eventName":"b","user":{"userID":"own"}}],"user":{"userID":"shared"}}`,
			want: statsig.LogBody{Events: []statsig.LogEvent{
				{Name: "a", User: statsig.LogUser{UserID: "shared"}}, {Name: "b", User: statsig.LogUser{UserID: "own"}},
			}},
		},
		"escapes and surrogates": {
			body: `{"events":[{"eventName":"\u0061\n\ud83d\ude00\ud83d\u00e9\\"}]}`,
			want: statsig.LogBody{Events: []statsig.LogEvent{{Name: "a\n😀\ufffdé\\"}}},
		},
		"no events": {body: ` {"events":[ ]} `, want: statsig.LogBody{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := statsig.DecodeLogBody([]byte(test.body))
			if err != nil {
				t.Fatalf("DecodeLogBody(%s) = %v", test.body, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("DecodeLogBody(%s) differs (-want +got):\n%s", test.body, diff)
			}
		})
	}
}

func TestAnEntryThatIsNoEventDoesNotFailItsNeighbours(t *testing.T) {
	long := strings.Repeat("x", 17<<10)
	for entry, want := range map[string]string{
		`7`:                              "wrong_type",
		`null`:                           "wrong_type",
		`{}`:                             "no_name",
		`{"eventName":""}`:               "no_name",
		`{"eventName":5}`:                "wrong_type",
		`{"eventName":"e","time":"no"}`:  "bad_time",
		`{"eventName":"e","time":true}`:  "bad_time",
		`{"eventName":"e","time":-9e99}`: "bad_time",
		`{"eventName":"e","user":"ada"}`: "wrong_type",
		`{"eventName":"e","user":{"userID":["a"]}}`:                             "wrong_type",
		`{"eventName":"e","user":{"customIDs":["a"]}}`:                          "wrong_type",
		`{"eventName":"e","user":{"customIDs":[[]]}}`:                           "wrong_type",
		`{"eventName":"e","user":{"customIDs":{"a":{}}}}`:                       "wrong_type",
		`{"eventName":"e","metadata":[1]}`:                                      "wrong_type",
		`{"eventName":"e","metadata":{"on":1,"on":2}}`:                          "duplicate_member",
		`{"eventName":"e","eventName":"e"}`:                                     "duplicate_member",
		`{"eventName":"e","value":"` + long + `"}`:                              "too_long",
		`{"eventName":"e","metadata":{"a":"` + long + `"}}`:                     "too_long",
		`{"eventName":"e","user":{"userID":"` + long[:2<<10] + `"}}`:            "too_long",
		`{"eventName":"` + long[:257] + `"}`:                                    "too_long",
		`{"eventName":"e","metadata":{` + many(101, `"k%d":1`) + `}}`:           "too_many",
		`{"eventName":"e","user":{"customIDs":{` + many(101, `"k%d":1`) + `}}}`: "too_many",
	} {
		body := `{"events":[{"eventName":"before"},` + entry + `,{"eventName":"after"}]}`
		got, err := statsig.DecodeLogBody([]byte(body))
		if err != nil || len(got.Events) != 3 {
			t.Errorf("DecodeLogBody(… %.60s …) = %d events, %v; want 3", entry, len(got.Events), err)
			continue
		}
		if f := got.Events[1].Fault; f == nil || f.Code != want {
			t.Errorf("DecodeLogBody(… %.60s …) has fault %+v, want %s", entry, f, want)
		}
		for _, i := range []int{0, 2} {
			if f := got.Events[i].Fault; f != nil {
				t.Errorf("DecodeLogBody(… %.60s …) also faults event %d: %+v", entry, i, f)
			}
		}
	}
}

func many(n int, format string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ",")
}

// bad holds bodies that are refused as a whole, with the status they get.
var bad = map[string]int{
	``:                                    400,
	`null`:                                400,
	`[]`:                                  400,
	`{`:                                   400,
	`{}`:                                  400,
	`{"events":{}}`:                       400,
	`{"events":[],"events":[]}`:           400,
	`{"events":[]}x`:                      400,
	`{"events":[]}` + "\x00":              400,
	"\ufeff" + `{"events":[]}`:            400,
	`{"events":[{"value":NaN}]}`:          400,
	`{"events":[{"value":1e400}]}`:        400,
	`{"events":[{"value":01}]}`:           400,
	`{"events":[{"value":1.}]}`:           400,
	`{"events":[{"value":-}]}`:            400,
	`{"events":[{"value":tru}]}`:          400,
	`{"events":[{"eventName":"a]}`:        400,
	`{"events":[{"eventName":"\x"}]}`:     400,
	`{"events":[{"eventName":"\u12g4"}]}`: 400,
	`{"events":[{"eventName":"a` + "\n" + `"}]}`:  400,
	`{"events":[{"eventName":"` + "\xff" + `"}]}`: 400,
	`{"events":[{"eventName" "a"}]}`:              400,
	`{"events":[{eventName:"a"}]}`:                400,
	`{"events":[{"a":1,}]}`:                       400,
	`{"events":[1,]}`:                             400,
	`{"events":[` + strings.Repeat(`[`, 10_001) + strings.Repeat(`]`, 10_001) + `]}`:   400,
	`{"events":[` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40) + `]}`: 400,
	`{"events":[` + strings.Repeat(`{},`, 1_000_000) + `{}]}`:                          413,
	`{"events":[{"x":[` + strings.Repeat(`1,`, 10_000) + `1]}]}`:                       413,
}

func TestABodyThatIsNotJSONIsRefusedWhole(t *testing.T) {
	for body, want := range bad {
		if got, err := statsig.DecodeLogBody([]byte(body)); web.StatusOf(err) != want || err == nil {
			t.Errorf("DecodeLogBody(%.80q) = %d events, %v; want status %d", body, len(got.Events), err, want)
		}
	}
}

func TestAFlatBodyOfEmptyObjectsCostsLittle(t *testing.T) {
	body := []byte(`{"events":[` + strings.Repeat(`{},`, 1_000_000) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := statsig.DecodeLogBody(body)
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; err == nil || spent > 16<<20 {
		t.Errorf("DecodeLogBody(a million {}) = %v and allocates %d MiB", err, spent>>20)
	}
}

func TestOnlyHousekeepingIsInternal(t *testing.T) {
	for name, want := range map[string]bool{
		statsig.GateExposure: false, statsig.ConfigExposure: false, statsig.LayerExposure: false, "purchase": false, "": false,
		"statsig::diagnostics": true, "statsig::non_exposed_checks": true, "statsig::log_line": true, "auto_capture::page_view": true,
	} {
		if got := (&statsig.LogEvent{Name: name}).Internal(); got != want {
			t.Errorf("LogEvent{%q}.Internal() = %v, want %v", name, got, want)
		}
	}
}

func TestCustomExposures(t *testing.T) {
	body := `{"exposures":[
		{"user":{"userID":"ada"},"experimentName":"e","group":"Test","time":1790000000000},
		{"user":{"userID":9},"gateName":"g","passes":true,"ruleID":"r"},
		{"user":{"userID":"ada"}},
		{"user":{"userID":"ada"},"gateName":"g","passes":"often"},
		null],"statsigMetadata":{"sdkType":"http","stableID":"st"}}`
	got, sdk, err := statsig.DecodeCustomExposures([]byte(body))
	if err != nil {
		t.Fatalf("DecodeCustomExposures() = %v", err)
	}
	st := pairs("stableID", "st")
	want := []statsig.CustomExposure{
		{User: statsig.LogUser{UserID: "ada", CustomIDs: st}, Experiment: "e", Group: "Test", Time: 1790000000000},
		{User: statsig.LogUser{UserID: "9", CustomIDs: st}, Gate: "g", Passes: true, RuleID: "r"},
		{User: statsig.LogUser{UserID: "ada", CustomIDs: st}, Fault: &statsig.Fault{Code: "no_name", Detail: "an exposure names an experimentName or a gateName, and not both"}},
		{User: statsig.LogUser{UserID: "ada", CustomIDs: st}, Gate: "g", Fault: &statsig.Fault{Code: "wrong_type", Detail: "passes should be true or false"}},
		{User: statsig.LogUser{CustomIDs: st}, Fault: &statsig.Fault{Code: "wrong_type", Detail: "an exposure should be an object"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || sdk.Type != "http" {
		t.Errorf("DecodeCustomExposures() differs (-want +got):\n%s", diff)
	}
}

// FuzzDecodeLogBody holds that log bodies say what the standard library says that
// they do, and that what is refused is the sender's fault.
func FuzzDecodeLogBody(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(`{"events":[{"eventName":"a","user":{"userID":1,"customIDs":{"b":"c"}},"metadata":{"\u0061":[{}]},"value":-1.5e3}],"user":{}}`))
	for body := range bad {
		if len(body) < 1<<10 {
			f.Add([]byte(body))
		}
	}
	for _, a := range alike {
		f.Add([]byte(`{"events":[` + a + `,` + alike[0] + `]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		agreeWithStandard(t, body)
		b, err := statsig.DecodeLogBody(body)
		if err != nil {
			if status := web.StatusOf(err); status < 400 || status > 499 {
				t.Errorf("DecodeLogBody(%q) = %v, want a 4xx", body, err)
			}
			return
		}
		for i := range b.Events {
			b.Events[i].Internal()
		}
		b.Release()
		_, _, _ = statsig.DecodeCustomExposures(body)
	})
}

// logBody is a body of n events as a server SDK sends them.
func logBody(n int) []byte {
	one := `{"eventName":"statsig::gate_exposure","user":{"userID":"user-%d","email":"user-%d@example.com","country":"NZ","custom":{"plan":"pro","seats":12,"beta":true},"customIDs":{"companyID":"c-%d"},"statsigEnvironment":{"tier":"production"}},"value":null,"metadata":{"gate":"new_checkout","gateValue":"true","ruleID":"3MbUKDpfHm3Ao5FL3QHlgo:10.00:2","reason":"Network","configSyncTime":"1790000000000","initTime":"1790000000000","serverTime":"1790000000001"},"secondaryExposures":[{"gate":"holdout","gateValue":"false","ruleID":"default"}],"time":%d,"statsigMetadata":{}}`
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(one, i, i, i, 1790000000000+i)
	}
	return []byte(`{"events":[` + strings.Join(parts, ",") + `],"statsigMetadata":{"sdkType":"go-sdk","sdkVersion":"v1.35.1"}}`)
}

func BenchmarkDecodeLogBody(b *testing.B) {
	body := logBody(50)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := statsig.DecodeLogBody(body)
		if err != nil {
			b.Fatal(err)
		}
		got.Release()
	}
}

// BenchmarkDecodeWithEncodingJSON is the same work by the standard library, for
// the ratio.
func BenchmarkDecodeWithEncodingJSON(b *testing.B) {
	body := logBody(50)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var in struct {
			Events []struct {
				EventName string         `json:"eventName"`
				User      map[string]any `json:"user"`
				Value     any            `json:"value"`
				Metadata  map[string]any `json:"metadata"`
				Time      int64          `json:"time"`
			} `json:"events"`
			StatsigMetadata map[string]any `json:"statsigMetadata"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			b.Fatal(err)
		}
	}
}
