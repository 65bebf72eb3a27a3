package live_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events/live"
)

const examples = "../../../schemas/live/examples"

// golden pairs each example with what it must decode to, for ever.
var golden = map[string]live.Frame{
	"client/hello_values.json": live.Hello{
		Protocol: 1, Key: "client-demo-0123456789abcdef", Mode: live.ModeValues,
		User: json.RawMessage(`{"userID":"u1","customIDs":{"stableID":"s1"}}`), Hash: "djb2", TargetApp: "web",
	},
	"client/hello_resume.json": live.Hello{
		Protocol: 1, Mode: live.ModeRules,
		Position: live.Position{Epoch: "b5c4", Seq: 41, Context: "9f2"},
	},
	"client/user.json":     live.User{User: json.RawMessage(`{"userID":"u2"}`)},
	"client/position.json": live.Position{Epoch: "b5c4", Seq: 41, Context: "9f2"},

	"server/intent_none.json":    live.Answer{Intent: live.IntentNone, Position: live.Position{Epoch: "b5c4", Seq: 41, Context: "9f2"}},
	"server/intent_changes.json": live.Answer{Intent: live.IntentChanges, Position: live.Position{Epoch: "b5c4", Seq: 45, Context: "9f2"}},
	"server/intent_full.json":    live.Answer{Intent: live.IntentFull, Position: live.Position{Epoch: "b5c4", Seq: 45, Context: "9f2"}, Stale: true},
	"server/full.json": live.Full{
		Position: live.Position{Epoch: "b5c4", Seq: 45, Context: "9f2"}, Time: 1764000000000,
		Payload: json.RawMessage(`{"has_updates":true,"time":1764000000000,"feature_gates":{},"dynamic_configs":{},"layer_configs":{}}`),
	},
	"server/change.json": live.Change{
		Prev: 45, Seq: 46, Time: 1764000000001,
		Entries: []live.Entry{
			{Section: live.SectionGates, Name: "checkout", Value: json.RawMessage(`{"name":"checkout","value":true,"rule_id":"r1","secondary_exposures":[]}`)},
			{Section: live.SectionGates, Name: "old_gate"},
			{Section: live.SectionConfigs, Name: "banner", Value: json.RawMessage(`{"name":"banner","value":{"text":"hi"},"rule_id":"default"}`)},
			{Section: live.SectionLayers, Name: "home"},
		},
		Layers: json.RawMessage(`{"home":["exp_a"]}`),
	},
	"server/change_idlists.json": live.Change{Prev: 46, Seq: 47, Time: 1764000000002, IDLists: []string{"seg_beta", "seg_staff"}},
	"server/change_empty.json":   live.Change{Prev: 46, Seq: 46, Time: 1764000000001},
	"server/ping.json":           live.Ping{Seq: 46, Stale: true},
	"server/closed.json":         live.Closed{Code: live.CloseUnauthorized, Reason: "the key is no longer valid"},
	"server/goodbye.json":        live.Goodbye{RetryMs: 2500, Reason: "restart"},
}

func decode(name string, text []byte) (live.Frame, error) {
	if strings.HasPrefix(name, "client/") {
		return live.DecodeClient(text)
	}
	return live.DecodeServer(text)
}

func TestGoldenExamplesDecodeForEver(t *testing.T) {
	for name, want := range golden {
		text, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(name, text)
		if err != nil {
			t.Errorf("decode(%s) failed: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameJSON)); diff != "" {
			t.Errorf("decode(%s) (-want +got):\n%s", name, diff)
		}
	}
	files, _ := filepath.Glob(filepath.Join(examples, "*", "*.json"))
	if len(files) != len(golden) {
		t.Errorf("%d examples on disk, %d checked here", len(files), len(golden))
	}
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return bytes.Equal(a, b)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

func TestEncodedFramesDecodeToThemselves(t *testing.T) {
	for name, frame := range golden {
		text, err := live.Encode(frame)
		if err != nil {
			t.Fatalf("Encode(%s) failed: %v", name, err)
		}
		got, err := decode(name, text)
		if err != nil {
			t.Errorf("decode(%s) failed: %v", text, err)
			continue
		}
		if diff := cmp.Diff(frame, got, cmp.Comparer(sameJSON)); diff != "" {
			t.Errorf("%s after encoding as %s (-want +got):\n%s", name, text, diff)
		}
	}
}

func TestBadFramesAreRefusedWithAReason(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nothing", ``, "not a JSON object"},
		{"not JSON", `{"type":`, "not a JSON object"},
		{"an array", `[]`, "not a JSON object"},
		{"broken UTF-8", "{\"type\":\"hello\",\"key\":\"\xff\"}", "UTF-8"},
		{"no type", `{"protocol":1}`, `no "type"`},
		{"another type", `{"type":"subscribe"}`, "unknown frame type"},
		{"a frame of the server", `{"type":"ping","seq":1}`, "unknown frame type"},
		{"no protocol", `{"type":"hello"}`, "protocol is missing"},
		{"unknown mode", `{"type":"hello","protocol":1,"mode":"both"}`, "mode"},
		{"unknown hash", `{"type":"hello","protocol":1,"hash":"md5"}`, "hash"},
		{"user as text", `{"type":"hello","protocol":1,"user":"u1"}`, "user is not an object"},
		{"user missing", `{"type":"user"}`, "user is not an object"},
		{"negative sequence", `{"type":"position","epoch":"a","seq":-1}`, "seq"},
		{"position without epoch", `{"type":"position","seq":3}`, "epoch is missing"},
		{"key as number", `{"type":"hello","protocol":1,"key":7}`, "key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := live.DecodeClient([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("DecodeClient(%q) = %v, %v; want an error with %q", tt.text, got, err, tt.want)
			}
		})
	}
	if _, err := live.DecodeServer([]byte(`{"type":"news"}`)); !errors.Is(err, live.ErrUnknownFrame) {
		t.Errorf("DecodeServer of a later frame type: %v; want ErrUnknownFrame, so that clients can ignore it", err)
	}
}

func TestSectionsStandTogetherAndNamesAreQuoted(t *testing.T) {
	c := live.Change{Prev: 1, Seq: 2, Time: 3, Entries: []live.Entry{
		{live.SectionGates, "a", json.RawMessage(`{}`)},
		{live.SectionGates, "b", nil},
		{live.SectionGates, `c"é`, json.RawMessage(`{}`)},
		{live.SectionLayers, "l", nil},
	}}
	want := `{"type":"change","prev":1,"seq":2,"time":3,"set":{"feature_gates":{"a":{},"c\"é":{}}},"delete":{"feature_gates":["b"],"layer_configs":["l"]}}`
	if got := string(c.AppendJSON(nil)); got != want {
		t.Errorf("AppendJSON() =\n%s\nwant\n%s", got, want)
	}
}

func TestCloseCodesSayWhetherToComeBack(t *testing.T) {
	for code, want := range map[live.CloseCode]bool{
		live.CloseNormal: false, live.CloseTooBig: false, live.CloseRestart: true, live.CloseTryLater: true,
		live.CloseBadFrame: false, live.CloseUnauthorized: false, live.CloseForbidden: false,
		live.CloseUpgrade: false, live.CloseFlood: true,
		1006: true, 4999: true, // lost without a code; a code of the future
	} {
		if got := code.Reconnect(); got != want {
			t.Errorf("CloseCode(%d).Reconnect() = %v, want %v", code, got, want)
		}
	}
}

func FuzzDecodeClient(f *testing.F) { fuzz(f, "client", live.DecodeClient) }

func FuzzDecodeServer(f *testing.F) { fuzz(f, "server", live.DecodeServer) }

// fuzz checks that whatever decodes also encodes, to text with the same meaning.
func fuzz(f *testing.F, side string, decode func([]byte) (live.Frame, error)) {
	files, err := filepath.Glob(filepath.Join(examples, side, "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds for %s: %v", side, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		frame, err := decode(text)
		if err != nil {
			return
		}
		again, err := live.Encode(frame)
		if err != nil {
			t.Fatalf("Encode(%#v) failed: %v", frame, err)
		}
		got, err := decode(again)
		if err != nil {
			t.Fatalf("decode(Encode(frame)) failed on %s: %v", again, err)
		}
		if fmt.Sprint(canonical(t, got)) != fmt.Sprint(canonical(t, frame)) {
			t.Errorf("%q became %s", text, again)
		}
	})
}

func canonical(t *testing.T, f live.Frame) any {
	text, err := live.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s is not JSON: %v", text, err)
	}
	return v
}
