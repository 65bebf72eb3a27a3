package ofrep

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

func TestEveryFailureHasTheMembersThatClientsInsistOn(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	w.Put(t, w.Gate("split", half()))
	w.Put(t, &flags.Holdout{Name: "held", Share: 5})
	w.Put(t, &flags.Segment{Name: "vips", UnitType: "userID"})
	gone := w.Gate("gone", edgetest.Everyone())
	gone.Status = flags.StatusArchived
	w.Put(t, gone, w.Gate("beside", edgetest.Everyone()))
	server, console := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyConsole)
	bound := w.Key(t, flags.KeyClient, func(k *flags.Key) { k.Origins = []string{"https://shop.example"} })
	revoked := w.Key(t, flags.KeyServer)
	key := w.KeyOf(t, revoked)
	key.Revoked = true
	w.Put(t, key)

	const ok = `{"context":{"targetingKey":"u1"}}`
	for _, c := range []struct {
		name, flag, key, body string
		header                []string
		status                int
		code                  protocol.ErrorCode
	}{
		{"an unknown flag", "nothing", server, ok, nil, 404, protocol.FlagNotFound},
		{"no flag", "", server, ok, nil, 404, protocol.FlagNotFound},
		{"a holdout", "held", server, ok, nil, 404, protocol.FlagNotFound},
		{"a segment", "vips", server, ok, nil, 404, protocol.FlagNotFound},
		{"a segment by its name on the wire", "segment:vips", server, ok, nil, 404, protocol.FlagNotFound},
		{"an archived flag", "gone", server, ok, nil, 404, protocol.FlagNotFound},
		{"a parameter of a gate", "gate:checkout:color", server, ok, nil, 404, protocol.FlagNotFound},
		{"another kind", "config:checkout", server, ok, nil, 404, protocol.FlagNotFound},
		{"a name in another case", "Checkout", server, ok, nil, 404, protocol.FlagNotFound},
		{"a key with a slash", "a%2Fb", server, ok, nil, 404, protocol.FlagNotFound},
		{"a key that is too long", strings.Repeat("k", 256), server, ok, nil, 400, protocol.InvalidContext},
		{"the longest key", strings.Repeat("k", 255), server, ok, nil, 404, protocol.FlagNotFound},
		{"broken JSON", "checkout", server, `{"context":`, nil, 400, protocol.ParseError},
		{"no body", "checkout", server, ``, nil, 400, protocol.ParseError},
		{"a context that is none", "checkout", server, `{"context":7}`, nil, 400, protocol.InvalidContext},
		{"a body that is too deep", "checkout", server, `{"context":{"a":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}}`, nil, 400, protocol.InvalidContext},
		{"a body that is too large", "checkout", server, `{"context":{"a":"` + strings.Repeat("x", 65<<10) + `"}}`, nil, 400, protocol.InvalidContext},
		{"an encoding that nobody has", "checkout", server, ok, []string{"Content-Encoding", "rot13"}, 400, protocol.ParseError},
		{"nobody to split", "split", server, `{}`, nil, 400, protocol.TargetingKeyMissing},
		{"no key", "checkout", "", ok, nil, 401, protocol.General},
		{"a key that is none", "checkout", "hello", ok, nil, 401, protocol.General},
		{"a key that was revoked", "checkout", revoked, ok, nil, 401, protocol.General},
		{"a console key", "checkout", console, ok, nil, 403, protocol.General},
		{"a server key in a page", "checkout", server, ok, []string{"Origin", "https://shop.example"}, 403, protocol.General},
		{"a page that the key is not for", "checkout", bound, ok, []string{"Origin", "https://evil.example"}, 403, protocol.General},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := w.ask("POST", protocol.PathFlags+"/"+c.flag, c.key, c.body, c.header...)
			var got map[string]any
			if err := json.Unmarshal(res.Body.Bytes(), &got); err != nil {
				t.Fatalf("answer %s: %v", res.Body, err)
			}
			wantKey, _ := url.PathUnescape(c.flag)
			if res.Code != c.status || got["errorCode"] != string(c.code) || got["key"] != wantKey {
				t.Errorf("answered %d %s; want %d, %s and the key %q", res.Code, res.Body, c.status, c.code, wantKey)
			}
			if ct := res.Header().Get("Content-Type"); ct != "application/json" {
				t.Errorf("Content-Type %q; clients read application/json only", ct)
			}
			if details, _ := got["errorDetails"].(string); details == "" {
				t.Errorf("%s has no details", res.Body)
			}
			if c.status == 404 || c.code == protocol.TargetingKeyMissing {
				return // the flag's own failures
			}
			all := w.ask("POST", protocol.PathFlags, c.key, c.body, c.header...)
			if strings.HasPrefix(c.name, "a key that is too") {
				return
			}
			got = nil
			if err := json.Unmarshal(all.Body.Bytes(), &got); err != nil {
				t.Fatalf("answer %s: %v", all.Body, err)
			}
			if _, named := got["key"]; all.Code != c.status || got["errorCode"] != string(c.code) || named || all.Header().Get("ETag") != "" {
				t.Errorf("all flags answered %d %s; want %d, %s, no key and no ETag", all.Code, all.Body, c.status, c.code)
			}
		})
	}
}

func TestGuessersAreToldWhenToComeBack(t *testing.T) {
	w := newWorld(t)
	for range 100 {
		res := w.ask("POST", protocol.PathFlags, "secret-shop-"+strings.Repeat("a", 52), `{}`)
		if res.Code != http.StatusTooManyRequests {
			continue
		}
		if n, err := strconv.Atoi(res.Header().Get("Retry-After")); err != nil || n < 1 {
			t.Errorf("Retry-After %q; want whole seconds, at least 1", res.Header().Get("Retry-After"))
		}
		return
	}
	t.Error("a hundred guesses were all answered; want 429")
}

func TestPassingTroubleIsNeverTakenForABadKey(t *testing.T) {
	w := newWorld(t)
	key := w.Key(t, flags.KeyServer)
	w.down.Store(true)
	res := w.ask("POST", protocol.PathFlags, key, `{}`)
	if res.Code != http.StatusServiceUnavailable || res.Header().Get("Content-Type") != "application/json" {
		t.Errorf("with projects out of reach answered %d %v %s; want 503 with JSON", res.Code, res.Header(), res.Body)
	}
}

func TestAHerdIsToldToComeBack(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	key := w.Key(t, flags.KeyClient)
	_, etag := w.all(key, `"targetingKey":"u1"`)
	for range cap(w.api.room) {
		w.api.room <- struct{}{}
	}
	res := w.ask("POST", protocol.PathFlags, key, `{"context":{"targetingKey":"u2"}}`)
	if n, err := strconv.Atoi(res.Header().Get("Retry-After")); res.Code != 429 || err != nil || n < 1 || n > 5 {
		t.Errorf("without room answered %d, Retry-After %q; want 429 and a few seconds", res.Code, res.Header().Get("Retry-After"))
	}
	if _, again := w.all(key, `"targetingKey":"u1"`); again != etag {
		t.Errorf("what was evaluated before has the ETag %s, then %s; want it from memory", etag, again)
	}
}

func TestBothHeadersLetIn(t *testing.T) {
	w := newWorld(t)
	key := w.Key(t, flags.KeyServer)
	for name, header := range map[string][]string{
		"bearer":                        {"Authorization", "Bearer " + key},
		"bearer in any case":            {"Authorization", "bearer " + key},
		"X-API-Key":                     {"X-Api-Key", key},
		"X-API-Key beside a scheme":     {"Authorization", "Basic x", "X-Api-Key", key},
		"both":                          {"Authorization", "Bearer " + key, "X-Api-Key", key},
		"X-API-Key beside a bad bearer": {"Authorization", "Bearer old", "X-Api-Key", key},
		"bearer beside a bad X-API-Key": {"Authorization", "Bearer " + key, "X-Api-Key", "old"},
	} {
		if res := w.ask("POST", protocol.PathFlags, "", `{}`, header...); res.Code != http.StatusOK {
			t.Errorf("%s answered %d %s; want 200", name, res.Code, res.Body)
		}
	}
	for name, path := range map[string]string{"a query": "?key=" + key, "Statsig's query": "?k=" + key} {
		if res := w.ask("POST", protocol.PathFlags+path, "", `{}`); res.Code != http.StatusBadRequest {
			t.Errorf("a key in %s answered %d; want 400", name, res.Code)
		}
	}
	if res := w.ask("POST", protocol.PathFlags, "", `{}`, "STATSIG-API-KEY", key); res.Code != http.StatusUnauthorized {
		t.Errorf("a key in another protocol's header answered %d; want 401", res.Code)
	}
}

func TestPagesMayAsk(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{protocol.PathFlags, protocol.PathFlags + "/checkout", protocol.PathStream} {
		res := w.ask("OPTIONS", path, "", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST")
		h := res.Header()
		if res.Code != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Access-Control-Allow-Methods") != "GET, POST, OPTIONS" ||
			h.Get("Access-Control-Allow-Headers") != "authorization, content-type, if-none-match, x-api-key" {
			t.Errorf("preflight of %s = %d %v", path, res.Code, h)
		}
		if age, err := strconv.Atoi(h.Get("Access-Control-Max-Age")); err != nil || age < 3600 {
			t.Errorf("preflight of %s is kept for %q seconds; want hours", path, h.Get("Access-Control-Max-Age"))
		}
	}
	key := w.Key(t, flags.KeyClient)
	for _, body := range []string{`{}`, `{`} {
		h := w.ask("POST", protocol.PathFlags, key, body, "Origin", "https://shop.example").Header()
		exposed := strings.Split(h.Get("Access-Control-Expose-Headers"), ", ")
		if h.Get("Access-Control-Allow-Origin") != "*" || !slices.Contains(exposed, "ETag") || !slices.Contains(exposed, "Retry-After") {
			t.Errorf("answer to %s has headers %v; want any origin, and ETag and Retry-After exposed", body, h)
		}
		if got := h.Get("Cache-Control"); got != "private, no-store" {
			t.Errorf("Cache-Control %q; want private, no-store", got)
		}
	}
}

func TestWhatWasRemovedFromTheProtocolIsNotThere(t *testing.T) {
	w := newWorld(t)
	if res := w.ask("GET", "/ofrep/v1/configuration", w.Key(t, flags.KeyServer), ""); res.Code != http.StatusNotFound {
		t.Errorf("GET /ofrep/v1/configuration = %d; want 404", res.Code)
	}
}

func TestMetadataNamesWhatTheKeyDoesNotTell(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("dual", edgetest.Everyone()))
	w.Put(t, w.Config("dual", `{"a:b":1}`))
	w.Put(t, w.Config("dual:a", `{"b":2}`))
	key := w.Key(t, flags.KeyServer)
	for _, c := range []struct{ flag, name, parameter string }{
		{"dual", "", ""},
		{"gate:dual", "dual", ""},
		{"config:dual", "dual", ""},
		{"config:dual:a", "dual:a", ""},
		{"config:dual:a:b", "dual:a", "b"},
		{"dual:a", "", ""},
	} {
		if m := w.one(key, c.flag, `"targetingKey":"u1"`).Metadata; m.Name != c.name || m.Parameter != c.parameter {
			t.Errorf("metadata of %s names %q and parameter %q; want %q and %q", c.flag, m.Name, m.Parameter, c.name, c.parameter)
		}
	}
}

func TestAPathIsTakenAsItStands(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	key := w.Key(t, flags.KeyServer)
	for _, c := range []struct {
		path string
		want int
		key  string // of the failure
	}{
		{"/ofrep/v1/evaluate/flags/checkout", 200, "checkout"},
		{"/ofrep/v1/evaluate/flags//checkout", 404, "/checkout"},
		{"/ofrep/v1/evaluate/flags/checkout//", 404, "checkout//"},
		{"/ofrep/v1/evaluate/flags/a//b", 404, "a//b"},
		{"/ofrep/v1/evaluate/flags/a%2F%2Fb", 404, "a//b"},
		{"/ofrep/v1/evaluate/flags/./checkout", 404, "./checkout"},
		{"/ofrep/v1/evaluate/flags/../flags/checkout", 404, "../flags/checkout"},
		{"/ofrep/v1/evaluate/flags/.checkout", 404, ".checkout"},
		{"/ofrep//v1/evaluate/flags", 404, ""},
		{"//ofrep/v1/evaluate/flags/checkout", 404, ""},
	} {
		res := w.ask("POST", c.path, key, contextOf(`"targetingKey":"u1"`))
		body := decode[map[string]any](t, res)
		if got, _ := body["key"].(string); res.Code != c.want || got != c.key {
			t.Errorf("POST %s = %d %s; want %d for the key %q", c.path, res.Code, res.Body, c.want, c.key)
		}
		if code, _ := body["errorCode"].(string); c.want == 404 && c.key != "" && code != "FLAG_NOT_FOUND" {
			t.Errorf("POST %s has the error code %q; want FLAG_NOT_FOUND", c.path, code)
		}
	}
	if res := w.ask("POST", "/ofrep/v1/evaluate/flags//checkout", "", "{}"); res.Code != 401 {
		t.Errorf("without a key = %d; want 401", res.Code)
	}
}

func TestAnEqualAnswerIsNotSentAgain(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	w.Put(t, w.Gate("pro only", pro()))
	staging := w.Gate("staged", edgetest.Everyone())
	w.Put(t, staging)
	key := w.Key(t, flags.KeyClient)
	set, etag := w.all(key, `"targetingKey":"u1"`)
	if len(etag) < 10 || etag[0] != '"' {
		t.Fatalf("ETag %s; want a strong, quoted one", etag)
	}
	status := func(members string, match ...string) int {
		t.Helper()
		var header []string
		for _, m := range match {
			header = append(header, "If-None-Match", m)
		}
		res := w.ask("POST", protocol.PathFlags, key, contextOf(members), header...)
		if res.Code == http.StatusNotModified && (res.Body.Len() > 0 || res.Header().Get("ETag") == "") {
			t.Errorf("304 with body %q and ETag %q; want no body and the ETag", res.Body, res.Header().Get("ETag"))
		}
		return res.Code
	}
	for _, c := range []struct {
		name, context, match string
		want                 int
	}{
		{"the same", `"targetingKey":"u1"`, etag, 304},
		{"one of a list", `"targetingKey":"u1"`, `"x", ` + etag, 304},
		{"anything", `"targetingKey":"u1"`, `*`, 304},
		{"weakened on the way", `"targetingKey":"u1"`, `W/` + etag, 304},
		{"another", `"targetingKey":"u1"`, `"x"`, 200},
		{"without quotes", `"targetingKey":"u1"`, strings.Trim(etag, `"`), 200},
		{"a context with the same result", `"targetingKey":"u1","plan":"free"`, etag, 304},
		{"a context with another result", `"targetingKey":"u1","plan":"pro"`, etag, 200},
	} {
		if got := status(c.context, c.match); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	w.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}})
	hidden := w.Gate("internal", edgetest.Everyone())
	hidden.ClientVisible = new(bool)
	w.Put(t, hidden)
	if got := status(`"targetingKey":"u1"`, etag); got != 304 {
		t.Errorf("after changes that the key cannot see: %d, want 304", got)
	}
	later, _ := w.all(key, `"targetingKey":"u1"`)
	if later.Metadata.Version == set.Metadata.Version || later.Metadata.FlagSetID != "shop/production" {
		t.Errorf("metadata %+v after %+v; want another version of shop/production", later.Metadata, set.Metadata)
	}
	w.Put(t, w.Gate("checkout", edgetest.Nobody()))
	if got := status(`"targetingKey":"u1"`, etag); got != 200 {
		t.Errorf("after a change of a flag: %d, want 200", got)
	}
}

func TestClientKeysSeeWhatIsForClients(t *testing.T) {
	w := newWorld(t)
	hidden := w.Gate("hidden", edgetest.Everyone())
	hidden.ClientVisible = new(bool)
	w.Put(t, hidden)
	config := w.Config("hidden", `{"a":1}`)
	w.Put(t, config)
	secret := w.Config("secret", `{}`)
	secret.ClientVisible = new(bool)
	w.Put(t, secret)
	w.Put(t, w.Gate("open", edgetest.Everyone()))
	server, client := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyClient)

	seen := func(key string) []string { set, _ := w.all(key, `"targetingKey":"u1"`); return set.keys() }
	if diff := cmp.Diff([]string{"config:hidden", "hidden", "open", "secret"}, seen(server)); diff != "" {
		t.Errorf("a server key sees (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"hidden", "open"}, seen(client)); diff != "" {
		t.Errorf("a client key sees (-want +got):\n%s", diff)
	}
	if e := w.one(client, "hidden", ``); e.Metadata.Kind != "config" {
		t.Errorf("what a client key gets for the shared name is a %s; want the config, which it may see", e.Metadata.Kind)
	}
	for _, key := range []string{"gate:hidden", "secret"} {
		if res := w.ask("POST", protocol.PathFlags+"/"+key, client, `{}`); res.Code != http.StatusNotFound {
			t.Errorf("%s answered a client key with %d; want 404", key, res.Code)
		}
	}

	settings := &flags.Project{ID: "proj_shop", Name: "shop", OFREPServerKeysOnly: true}
	w.Put(t, settings)
	if res := w.ask("POST", protocol.PathFlags, client, `{}`); res.Code != http.StatusForbidden {
		t.Errorf("a client key, where OFREP is for servers, got %d; want 403", res.Code)
	}
	if res := w.ask("POST", protocol.PathFlags, server, `{}`); res.Code != http.StatusOK {
		t.Errorf("a server key there got %d; want 200", res.Code)
	}
}

func TestNamesThatKindsShareAreToldApart(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("n", edgetest.Everyone()))
	w.Put(t, w.Config("n", `{"size":3,"a:b":"deep","":1}`))
	w.Put(t, &flags.Layer{Name: "n", UnitType: "userID", Parameters: json.RawMessage(`{"x":true}`)})
	w.Put(t, w.Config("n:size", `{"whole":1}`))
	w.Put(t, w.Gate("layer:n", edgetest.Nobody()))
	key := w.Key(t, flags.KeyServer)
	for _, c := range []struct{ flag, kind, value string }{
		{"n", "gate", "true"},
		{"gate:n", "gate", "true"},
		{"config:n", "config", `{"size":3,"a:b":"deep","":1}`},
		{"layer:n", "layer", `{"x":true}`},
		{"gate:layer:n", "gate", "false"},
		{"layer:n:x", "layer", "true"},
		{"config:n:size", "config", `{"whole":1}`},
		{"config:n:size:whole", "config", `1`},
		{"config:n:a:b", "config", `"deep"`},
	} {
		if e := w.one(key, c.flag, ``); e.Metadata.Kind != c.kind || string(e.Value) != c.value {
			t.Errorf("%s is the %s %s; want the %s %s", c.flag, e.Metadata.Kind, e.Value, c.kind, c.value)
		}
	}
	set, _ := w.all(key, ``)
	if diff := cmp.Diff([]string{"config:n", "gate:layer:n", "layer:n", "n", "n:size"}, set.keys()); diff != "" {
		t.Errorf("keys of the set (-want +got):\n%s", diff)
	}
	full := w.ask("POST", protocol.PathFlags+"?include=params", key, `{}`)
	keys := decode[bulkAnswer](t, full).keys()
	want := []string{"config:n", "config:n:a:b", "gate:layer:n", "layer:n", "layer:n:x", "n", "n:size", "config:n:size:whole"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys with parameters (-want +got):\n%s", diff)
	}
}

func TestSingleEvaluationsAreExposures(t *testing.T) {
	w := newWorld(t)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	w.Put(t, w.Config("banner", `{"text":"hi"}`))
	deferred := w.Gate("deferred", edgetest.Everyone())
	deferred.DeferToCode = true
	w.Put(t, deferred)
	w.Put(t, &flags.Layer{Name: "home", UnitType: "userID", Parameters: json.RawMessage(`{"x":1}`)})
	key := w.Key(t, flags.KeyServer)
	for _, flag := range []string{"checkout", "banner", "config:banner:text", "layer:home:x", "deferred", "checkout?exposure=0"} {
		w.one(key, flag, `"targetingKey":"u1","privateAttributes":{"secret":1}`)
	}
	w.all(key, `"targetingKey":"u1"`)
	w.ask("POST", protocol.PathFlags+"/nothing", key, `{"context":{"targetingKey":"u1"}}`)
	var got []string
	for _, d := range w.recorded {
		if d.SDK != "ofrep" || d.User.UserID != "u1" || d.Project != "shop" || d.Key == nil {
			t.Errorf("recorded %+v; want u1 of shop by ofrep", d)
		}
		got = append(got, d.Kind+" "+d.Result.Name)
	}
	want := []string{
		events.ExposureGate + " checkout", events.ExposureConfig + " banner", events.ExposureConfig + " banner", events.ExposureLayer + " home",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exposures (-want +got):\n%s", diff)
	}
}

func TestAKeyOfSeveralEnvironmentsLetsTheContextChoose(t *testing.T) {
	w := newWorld(t)
	w.Put(t, &flags.Environment{Name: "staging"})
	rule := edgetest.Everyone()
	rule.Environments = []string{"staging"}
	w.Put(t, w.Gate("staged", rule))
	both := w.Key(t, flags.KeyServer, func(k *flags.Key) { k.Environments = []string{"production", "staging"} })
	one := w.Key(t, flags.KeyServer)
	for _, c := range []struct{ key, context, value, set string }{
		{both, `"tier":"staging"`, "true", "shop/staging"},
		{both, `"tier":"production"`, "false", "shop/production"},
		{both, ``, "false", "shop/production"},
		{one, `"tier":"staging"`, "false", "shop/production"},
	} {
		set, _ := w.all(c.key, c.context)
		if got := string(set.Flags[0].Value); got != c.value || set.Metadata.FlagSetID != c.set {
			t.Errorf("{%s} = %s of %s; want %s of %s", c.context, got, set.Metadata.FlagSetID, c.value, c.set)
		}
	}
}

func TestAnswersWaitForTheChangeThatTheClientHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		next := w.Put(t, w.Gate("checkout", edgetest.Nobody())) + 2
		key := w.Key(t, flags.KeyClient)
		var set *bulkAnswer
		go func() {
			res := w.ask("POST", protocol.PathFlags+"?flagConfigEtag=c"+strconv.FormatUint(next, 10), key, `{}`)
			set = new(decode[bulkAnswer](t, res))
		}()
		synctest.Wait()
		if set != nil {
			t.Fatalf("answered %+v before the change", set)
		}
		w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		synctest.Wait()
		if set == nil || string(set.Flags[0].Value) != "true" {
			t.Errorf("answered %+v; want the value after the change", set)
		}
		began := time.Now()
		w.ask("POST", protocol.PathFlags+"?flagConfigEtag=c999999", key, `{}`)
		if waited := time.Since(began); waited != applyWithin {
			t.Errorf("a change that never comes was waited for %v; want %v", waited, applyWithin)
		}
	})
}
