package statsig_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// plain undoes the encoding of an answer.
func plain(t *testing.T, a *httptest.ResponseRecorder) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(a.Body.Bytes())
	switch encoding := a.Header().Get("Content-Encoding"); encoding {
	case "":
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	default:
		t.Fatalf("an answer in the encoding %q", encoding)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("an answer in %q: %v", a.Header().Get("Content-Encoding"), err)
	}
	return string(text)
}

func TestAnswersComeInTheEncodingThatIsLikedBest(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 20 { // a payload that is worth compressing
		w.Put(t, w.Gate(fmt.Sprintf("gate_%d", i), edgetest.Everyone()))
	}
	key := w.Key(t, flags.KeyServer)
	for accept, want := range map[string]struct{ download, initialize string }{
		"":                             {"", ""},
		"identity":                     {"", ""},
		"gzip":                         {"gzip", "gzip"},
		"GZIP":                         {"gzip", "gzip"},
		"gzip,deflate":                 {"gzip", "gzip"},
		"statsig-br, gzip, deflate":    {"gzip", "gzip"},
		"gzip, deflate, br, zstd":      {"br", "zstd"},
		"gzip;q=1.0, br;q=0.5":         {"gzip", "gzip"},
		"zstd;q=0.9, br ; Q = 1":       {"br", "br"},
		"br;q=0, gzip;q=0.5":           {"gzip", "gzip"},
		"*":                            {"br", "zstd"},
		"*;q=0.5, gzip":                {"gzip", "gzip"},
		"gzip;q=0, *":                  {"br", "zstd"},
		"br;q=0":                       {"", ""},
		"br;q=nonsense":                {"", ""},
		"br;q=NaN":                     {"", ""},
		"br;q=-1":                      {"", ""},
		"br;level=1;q=0.2, gzip;q=0.1": {"br", "br"},
		"deflate":                      {"", ""},
	} {
		t.Run(accept, func(t *testing.T) {
			head := header("Accept-Encoding", accept)
			for _, version := range []string{"v1", "v2"} {
				path := "/" + version + "/download_config_specs/" + key + ".json"
				a := w.ask("GET", path, "", head)
				if got := a.Header().Get("Content-Encoding"); got != want.download || a.Code != 200 {
					t.Errorf("%s specs for Accept-Encoding %q come in %q, want %q", version, accept, got, want.download)
				}
				if text := plain(t, a); text != plain(t, w.ask("GET", path, "")) {
					t.Errorf("%s specs in %q are others than the plain ones: %.80s", version, want.download, text)
				}
				if got, want := a.Header().Get("Content-Length"), strconv.Itoa(a.Body.Len()); got != want {
					t.Errorf("Content-Length = %s, want %s", got, want)
				}
			}
			ask := func(edits ...edit) *httptest.ResponseRecorder {
				return w.ask("POST", "/v1/initialize", key, append(edits, body(`{"user":{"userID":"u1"}}`))...)
			}
			a := ask(head)
			if got := a.Header().Get("Content-Encoding"); got != want.initialize {
				t.Errorf("initialize for Accept-Encoding %q comes in %q, want %q", accept, got, want.initialize)
			}
			if text := plain(t, a); text != plain(t, ask()) || !json.Valid([]byte(text)) {
				t.Errorf("initialize in %q is another than the plain one: %.80s", want.initialize, text)
			}
			if got := a.Header().Get("Vary"); got != "Accept-Encoding" {
				t.Errorf("Vary = %q, want Accept-Encoding", got)
			}
		})
	}
}

func TestEqualEncodingsOfABodyAreTheSameBytes(t *testing.T) {
	w := newWorld(t, nil)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	one, other := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyServer)
	tags := map[string]string{}
	for _, encoding := range []string{"", "gzip", "br", "zstd"} {
		for _, version := range []string{"v1", "v2"} {
			a := w.ask("GET", "/"+version+"/download_config_specs", one, header("Accept-Encoding", encoding))
			b := w.ask("GET", "/"+version+"/download_config_specs", other, header("Accept-Encoding", encoding))
			tag := a.Header().Get("ETag")
			if tag != b.Header().Get("ETag") || !bytes.Equal(a.Body.Bytes(), b.Body.Bytes()) {
				t.Errorf("two keys of one scope got two bodies of %s in %q", version, encoding)
			}
			if at, again := tags[tag]; again || strings.HasPrefix(tag, "W/") || tag == "" {
				t.Errorf("the tag of %s in %q is %s; want a strong one of its own, not that of %s", version, encoding, tag, at)
			}
			tags[tag] = version + " in " + encoding
			unchanged := w.ask("GET", "/"+version+"/download_config_specs", one, header("Accept-Encoding", encoding), header("If-None-Match", tag))
			if unchanged.Code != 304 || unchanged.Body.Len() > 0 || unchanged.Header().Get("ETag") != tag || unchanged.Header().Get("Content-Encoding") != "" {
				t.Errorf("If-None-Match: %s = %d %v %q; want 304 with the tag and nothing else", tag, unchanged.Code, unchanged.Header(), unchanged.Body)
			}
			if unchanged.Header().Get("Sluice-Sequence") != strconv.FormatUint(w.State().Seq(), 10) {
				t.Errorf("an answer names the sequence %q, want %d", unchanged.Header().Get("Sluice-Sequence"), w.State().Seq())
			}
		}
	}
}

func TestAFirstLoadAlwaysBringsRules(t *testing.T) {
	w := newWorld(t, nil)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	key := w.Key(t, flags.KeyServer)
	type download struct {
		HasUpdates   bool `json:"has_updates"`
		Time         int64
		FeatureGates any `json:"feature_gates"`
	}
	for _, path := range []string{"/v1/download_config_specs/" + key + ".json", "/v2/download_config_specs/" + key + ".json"} {
		now := decode[download](t, w.ask("GET", path, "")).Time
		for query, want := range map[string]bool{
			"": true, "?sinceTime=": true, "?sinceTime=0": true, "?sinceTime=-5": true, "?sinceTime=abc": true, "?sinceTime=1.5": true,
			"?sinceTime=99999999999999999999": true, "?supports_proto=true&accept_deltas=true": true, "?checksum=abc%2525": true,
			fmt.Sprintf("?sinceTime=%d", now-1): true,
			fmt.Sprintf("?sinceTime=%d", now):   false, fmt.Sprintf("?sinceTime=%d&checksum=x", now+1): false,
		} {
			a := w.ask("GET", path+query, "", header("statsig-supports-proto", "true"))
			got := decode[download](t, a)
			if got.HasUpdates != want || want && (got.Time != now || got.FeatureGates == nil) {
				t.Errorf("%s%s = %.80s; want updates: %v", path, query, a.Body, want)
			}
			if !want && strings.TrimSpace(a.Body.String()) != `{"has_updates":false}` {
				t.Errorf("%s%s = %s; want nothing but that there are no updates", path, query, a.Body)
			}
		}
	}
}

func TestInitializeReadsEveryWrappingAndHashesAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	w.Put(t, w.Gate("checkout", edgetest.Only("ü1")))
	key := w.Key(t, flags.KeyClient)
	type payload struct {
		HasUpdates bool   `json:"has_updates"`
		HashUsed   string `json:"hash_used"`
		Gates      map[string]struct {
			Name  string
			Value bool
		} `json:"feature_gates"`
		Configs map[string]any `json:"dynamic_configs"`
		Layers  map[string]any `json:"layer_configs"`
		SDK     struct{ SDKType, SDKVersion string }
		User    map[string]any
	}
	for hash, want := range map[string]string{"": "djb2", "djb2": "djb2", "sha256": "sha256", "none": "none", "md5": "djb2"} {
		mode := eval.ParseHashMode(want)
		text := `{"user":{"userID":"ü1","privateAttributes":{"secret":"hush"}},"hash":"` + hash + `","sinceTime":1,"previousDerivedFields":{"ip":"1.2.3.4"},` +
			`"deltasResponseRequested":true,"full_checksum":null,"partialUserMatchSinceTime":5,"statsigMetadata":{"sdkType":"js","sdkVersion":"3"}}`
		latin1 := reversed("{\"user\":{\"userID\":\"\xfc1\"},\"hash\":\"" + hash + "\"}")
		for name, edits := range map[string][]edit{
			"JSON as text":            {body(text), header("Content-Type", "text/plain")},
			"reversed base64, se=1":   {body(reversed(text)), query("se=1")},
			"reversed base64, header": {body(reversed(text)), header("Statsig-Encoded", "1")},
			"reversed Latin-1":        {body(latin1), query("se=1")},
			"JSON in spite of se=1":   {body(text), query("se=1")},
			"gzip":                    {body(gzipped(text)), header("Content-Encoding", "gzip")},
			"gzip, gz=1":              {body(gzipped(text)), query("gz=1")},
			"gzip, undeclared":        {body(gzipped(text))},
			"zstd":                    {body(zstded(text)), header("Content-Encoding", "zstd")},
			"zstd, undeclared":        {body(zstded(text))},
			"brotli":                  {body(brotlied(text)), header("Content-Encoding", "br")},
			"gzip of reversed base64": {body(gzipped(reversed(text))), query("se=1&gz=1")},
		} {
			a := w.ask("POST", "/v1/initialize?k="+key+"&st=js&sv=3", "", edits...)
			got := decode[payload](t, a)
			entry, ok := got.Gates[eval.HashName(mode, "checkout")]
			if !ok || !entry.Value || entry.Name != eval.HashName(mode, "checkout") || got.HashUsed != want || !got.HasUpdates || got.Configs == nil || got.Layers == nil {
				t.Errorf("%s, hash %q = %s; want checkout to pass under its %s name", name, hash, a.Body, want)
			}
			if strings.Contains(a.Body.String(), "hush") {
				t.Errorf("%s: a private attribute came back: %s", name, a.Body)
			}
			if !strings.Contains(a.Body.String(), `"sdkInfo":{"sdkType":"js","sdkVersion":"3"}`) {
				t.Errorf("%s: the SDK is not echoed: %s", name, a.Body)
			}
		}
	}
}

func TestTheStableIDBesideTheUserDecidesInChecksToo(t *testing.T) {
	w := newWorld(t, nil)
	rule := edgetest.Only("s1")
	rule.Conditions[0].Type, rule.Conditions[0].CustomID = "unit_id", "stableID"
	w.Put(t, w.Gate("checkout", rule))
	key := w.Key(t, flags.KeyClient)
	for user, want := range map[string]bool{`{}`: true, `{"customIDs":{"stableID":"own"}}`: false, `{"customIDs":{"stableID":"s1"}}`: true} {
		text := `{"gateName":"checkout","user":` + user + `,"statsigMetadata":{"stableID":"s1"},"hash":"none"}`
		if got := decode[struct{ Value bool }](t, w.ask("POST", "/v1/check_gate", key, body(text))); got.Value != want {
			t.Errorf("check_gate for %s = %v, want %v", user, got.Value, want)
		}
		a := w.ask("POST", "/v1/initialize", key, body(text))
		if got := strings.Contains(a.Body.String(), `"checkout":{"name":"checkout","value":true`); got != want {
			t.Errorf("initialize for %s passes: %v, want %v", user, got, want)
		}
	}
}

func TestAddressAndBrowserAreTakenFromTheRequestForClientKeys(t *testing.T) {
	w := newWorld(t, web.Proxies{netip.MustParsePrefix("10.0.0.0/8")})
	rule := edgetest.Everyone()
	rule.Conditions = []flags.Condition{{Type: "ip_address", Operator: "any", TargetValue: []byte(`["203.0.113.7"]`)}}
	w.Put(t, w.Gate("checkout", rule))
	server, client := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyClient)
	for _, tt := range []struct {
		name, key, peer, forwarded, user string
		want                             bool
	}{
		{"a client", client, "203.0.113.7:5", "", `{}`, true},
		{"a client that says otherwise", client, "203.0.113.7:5", "", `{"ip":"192.0.2.1"}`, false},
		{"a client behind our proxy", client, "10.1.1.1:5", "203.0.113.7", `{}`, true},
		{"a client that claims to be behind a proxy", client, "192.0.2.1:5", "203.0.113.7", `{}`, false},
		{"a client whose claim our proxy passes on", client, "10.1.1.1:5", "203.0.113.7, 192.0.2.1", `{}`, false},
		{"a server", server, "203.0.113.7:5", "", `{}`, false},
		{"a server that says so", server, "192.0.2.1:5", "", `{"ip":"203.0.113.7"}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := func(r *http.Request) {
				r.RemoteAddr = tt.peer
				if tt.forwarded != "" {
					r.Header.Set("X-Forwarded-For", tt.forwarded)
				}
			}
			a := w.ask("POST", "/v1/check_gate", tt.key, from, body(`{"gateName":"checkout","user":`+tt.user+`}`))
			if got := decode[struct{ Value bool }](t, a); got.Value != tt.want {
				t.Errorf("check_gate = %v, want %v", got.Value, tt.want)
			}
		})
	}
}

func TestChecksAnswerInTheShapesOfTheProtocol(t *testing.T) {
	w := newWorld(t, nil)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	w.Put(t, w.Config("banner", `{"text":"hi"}`))
	w.Put(t, &flags.Layer{Name: "page", UnitType: "userID", Parameters: json.RawMessage(`{"colour":"red"}`)})
	key := w.Key(t, flags.KeyServer)
	user := `"user":{"userID":7}`
	for _, tt := range []struct{ path, body, want string }{
		{"/v1/check_gate", `{"gateName":"checkout",` + user + `}`, `{"name":"checkout","value":true,"rule_id":"everyone:100.00:1","group_name":"Everyone"}`},
		{"/v1/check_gate", `{"gateName":"Checkout",` + user + `}`, `{"name":"Checkout","value":false,"rule_id":null,"group_name":null}`},
		{"/v1/check_gate", `{"gateNames":["checkout","other","checkout"],` + user + `}`,
			`{"checkout":{"name":"checkout","value":true,"rule_id":"everyone:100.00:1","group_name":"Everyone"},"other":{"name":"other","value":false,"rule_id":null,"group_name":null}}`},
		{"/v1/get_config", `{"configName":"banner",` + user + `}`, `{"name":"banner","value":{"text":"hi"},"group":"default","rule_id":"default","group_name":null}`},
		{"/v1/get_config", `{"configName":"other",` + user + `}`, `{"name":"other","value":{},"group":"","rule_id":null,"group_name":null}`},
		{"/v1/get_layer", `{"layerName":"page",` + user + `}`, `{"name":"page","value":{"colour":"red"},"ruleID":"default","allocatedExperimentName":null}`},
	} {
		a := w.ask("POST", tt.path, key, body(tt.body))
		if diff := cmp.Diff(tt.want, strings.TrimSpace(a.Body.String())); diff != "" || a.Code != 200 {
			t.Errorf("%s %s = %d (-want +got):\n%s", tt.path, tt.body, a.Code, diff)
		}
	}
	before := len(w.recorded)
	for _, flag := range []string{`true`, `"true"`} {
		w.ask("POST", "/v1/check_gate", key, body(`{"gateName":"checkout",`+user+`,"statsigMetadata":{"exposureLoggingDisabled":`+flag+`}}`))
	}
	if len(w.recorded) != before {
		t.Errorf("%d exposures were recorded of checks that log none", len(w.recorded)-before)
	}
	w.ask("POST", "/v1/check_gate", key, body(`{"gateName":"checkout",`+user+`}`), header("statsig-sdk-type", "php"), header("statsig-sdk-version", "1.2"))
	if d := w.recorded[len(w.recorded)-1]; len(w.recorded) != before+1 || d.SDK != "php" || d.SDKVersion != "1.2" || d.Result.Name != "checkout" {
		t.Errorf("recorded %+v, want one decision on checkout by php 1.2", d)
	}
}

func TestPagesMayCallWhatIsForThem(t *testing.T) {
	w := newWorld(t, nil)
	key := w.Key(t, flags.KeyClient)
	for _, e := range endpoints {
		a := w.ask("OPTIONS", strings.Replace(e.path, "KEY", key, 1), "", header("Origin", "https://shop.example"),
			header("Access-Control-Request-Method", e.method), header("Access-Control-Request-Headers", "statsig-api-key"))
		if e.rules {
			if a.Code != http.StatusMethodNotAllowed || a.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("the preflight of %s = %d %v; want 405: rules are not for pages", e.path, a.Code, a.Header())
			}
			continue
		}
		h := a.Header()
		if a.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Methods") != "GET, POST, OPTIONS" ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "statsig-api-key") || h.Get("Access-Control-Max-Age") != "86400" {
			t.Errorf("the preflight of %s = %d %v; want 204, for any page, for a day", e.path, a.Code, h)
		}
		a = w.ask(e.method, e.path, key, body(e.body), header("Origin", "https://shop.example"))
		if a.Header().Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.Header().Get("Access-Control-Expose-Headers"), "Sluice-Sequence") {
			t.Errorf("%s for a page = %d %v; want an answer that it may read", e.path, a.Code, a.Header())
		}
	}
}

func TestTheAppOfAKeyIsTheSameInEveryAnswer(t *testing.T) {
	w := newWorld(t, nil)
	rule := edgetest.Everyone()
	rule.Conditions = []flags.Condition{{Type: "target_app", Operator: "any", TargetValue: []byte(`["web"]`)}}
	g := w.Gate("checkout", rule)
	g.TargetApps = []string{"web", "ios"}
	w.Put(t, g)
	for app, want := range map[string]bool{"web": true, "ios": false} {
		apps := func(k *flags.Key) { k.TargetApps = []string{app} }
		client, server := w.Key(t, flags.KeyClient, apps), w.Key(t, flags.KeyServer, apps)
		check := decode[struct{ Value bool }](t, w.ask("POST", "/v1/check_gate", client, body(`{"gateName":"checkout","user":{"userID":"u"}}`))).Value
		feature := decode[struct{ Enabled bool }](t, w.ask("GET", "/features/gate/checkout?user_id=u", client)).Enabled
		payload := strings.Contains(w.ask("POST", "/v1/initialize", client, body(`{"hash":"none"}`)).Body.String(), `"checkout":{"name":"checkout","value":true`)
		specs, err := eval.ParseSpecs(w.ask("GET", "/v1/download_config_specs", server).Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		local := eval.Compile(specs, eval.Options{}).Gate(&eval.User{UserID: "u"}, "checkout").Pass
		if got := [4]bool{check, feature, payload, local}; got != [4]bool{want, want, want, want} {
			t.Errorf("with a key for %s: check_gate, features, initialize, local = %v; want %v", app, got, want)
		}
	}
}

// What a server asks initialize for is for a client: nothing that clients must
// not see is in it, as in the payload of a client key of the same scope.
func TestAPayloadIsWhatAClientIsShownWhoeverAsks(t *testing.T) {
	w := newWorld(t, nil)
	hidden := w.Config("internal", `{"secret":1}`)
	hidden.ClientVisible = new(false)
	closed := w.Gate("backstage", edgetest.Everyone())
	closed.ClientVisible = new(false)
	w.Put(t, w.Gate("checkout", edgetest.Only("u1")))
	w.Put(t, w.Config("banner", `{"text":"hi"}`))
	w.Put(t, hidden)
	w.Put(t, closed)
	address := func(r *http.Request) { r.RemoteAddr = "" } // of a client it would be in the user
	initialize := func(kind flags.KeyKind) string {
		text := body(`{"user":{"userID":"u1"},"hash":"none"}`)
		return w.ask("POST", "/v1/initialize", w.Key(t, kind), text, address).Body.String()
	}
	client, server := initialize(flags.KeyClient), initialize(flags.KeyServer)
	if client != server || !strings.Contains(client, `"banner"`) || strings.Contains(client, "internal") || strings.Contains(client, "backstage") {
		t.Errorf("initialize with a client key, and with a server key, are\n%s\n%s\nwant both the same, with banner and without what is hidden", client, server)
	}
}
