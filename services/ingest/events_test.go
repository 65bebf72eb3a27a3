package ingest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func brotlied(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	return squeeze(t, text, brotli.NewWriter(&out), &out)
}

// newID is a UUID of version 7.
func newID(t *testing.T) string {
	t.Helper()
	var id [16]byte
	if _, err := rand.Read(id[6:]); err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|uint64(id[6]&0xf|0x70)<<8|uint64(id[7]))
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

const (
	asJSON  = "application/json"
	asLines = "application/x-ndjson"
)

func TestEventsWithIDsCountOnceHoweverTheyCome(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	batch, first, second := newID(t), newID(t), newID(t)
	entries := []string{
		fmt.Sprintf(`{"event_id":%q,"eventName":"purchase","user":{"userID":"ada"},"value":12.5}`, first),
		fmt.Sprintf(`{"event_id":%q,"experiment":"free_shipping","group":"Test","user":{"userID":"ada"}}`, second),
		`{"event_id":"order-17","eventName":"order","user":{"userID":"ada"}}`,
		`{"eventName":"look","user":{"userID":"ada"}}`, // told by the batch
		`{"eventName":"look","user":{"userID":"ada"}}`, // and its twin
	}
	one := fmt.Sprintf(`{"batch_id":%q,"events":[%s]}`, batch, strings.Join(entries, ","))
	lines := fmt.Sprintf("{\"batch_id\":%q}\n%s\n", batch, strings.Join(entries, "\n"))
	var answers []string
	send := func(body string, header ...string) {
		t.Helper()
		got := s.post("/v1/events", body, header...)
		s.accepted(got)
		answers = append(answers, got.body)
	}
	send(one, "Authorization", "Bearer "+s.server, "Content-Type", asJSON)
	send(gzipped(t, one), "Authorization", "Bearer "+s.server, "Content-Type", asJSON, "Content-Encoding", "gzip")
	send(zstded(t, one), "Authorization", "Bearer "+s.client, "Content-Type", asJSON, "Content-Encoding", "zstd") // another key, too
	send(brotlied(t, lines), "STATSIG-API-KEY", s.server, "Content-Type", asLines, "Content-Encoding", "br")
	send(lines, "Authorization", "Bearer "+s.server, "Content-Type", asLines)
	s.metrics = prometheus.NewRegistry()
	s.serve(always(db)) // another process, which has only heard of them
	send(one, "Authorization", "Bearer "+s.server, "Content-Type", asJSON)
	for _, a := range answers {
		if want := fmt.Sprintf(`{"success":true,"batch_id":%q,"accepted":5,"rejected":[]}`, batch); strings.TrimSpace(a) != want {
			t.Errorf("the answer is %s, want %s to each retry", a, want)
		}
	}
	s.stored(db, 1, 4, 0)
	got := s.query(db, `SELECT concat(event, ' ', toString(event_id)) FROM events WHERE project = {p:String} AND event = 'purchase'
		UNION ALL SELECT concat(name, ' ', toString(event_id), ' ', toString(group_index), ' ', value) FROM exposures WHERE project = {p:String}`)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"free_shipping " + second + " 1 Test", "purchase " + first}, got); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

func TestABadEventIsToldByItsIndexAndSetAside(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	body := `{"batch_id":"` + newID(t) + `","events":[
		{"event_id":"a","eventName":"good","user":{"userID":"ada"}},
		{"event_id":"b","eventName":"old","user":{"userID":"ada"},"time":1700000000},
		{"event_id":"a","eventName":"twin","user":{"userID":"ada"}},
		{"eventName":"statsig::diagnostics","user":null},
		{"user":{"userID":"ada"}},
		{"gate":"new_checkout","value":"perhaps","user":{"userID":"ada"}},
		{"gate":"new_checkout","value":true,"user":{"userID":"ada"}}]}`
	type rejection struct {
		Index   int
		EventID string `json:"event_id"`
		Code    string
	}
	var first string
	for range 2 {
		got := s.post("/v1/events", body, "Authorization", "Bearer "+s.server, "Content-Type", asJSON)
		s.accepted(got)
		var answer struct {
			Accepted int
			Rejected []rejection
		}
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
			t.Fatal(err)
		}
		want := []rejection{{1, "b", "time_too_old"}, {2, "a", "duplicate_id"}, {4, "", "no_name"}, {5, "", "wrong_type"}}
		if diff := cmp.Diff(want, answer.Rejected); diff != "" || answer.Accepted != 3 {
			t.Errorf("%d accepted, want 3; rejected differ (-want +got):\n%s", answer.Accepted, diff)
		}
		if first == "" {
			first = got.body
		} else if got.body != first {
			t.Errorf("a retry is answered %s, not %s", got.body, first)
		}
	}
	s.stored(db, 1, 1, 4)
	got := s.query(db, `SELECT reason FROM dead_letters WHERE project = {p:String} ORDER BY reason`)
	if diff := cmp.Diff([]string{"duplicate_id", "no_name", "time_too_old", "wrong_type"}, got); diff != "" {
		t.Errorf("dead letters differ (-want +got):\n%s", diff)
	}

	// What was mended counts, under the id that it had.
	s.accepted(s.post("/v1/events", `{"events":[{"event_id":"b","eventName":"mended","user":{"userID":"ada"}}]}`, "Authorization", "Bearer "+s.server, "Content-Type", asJSON))
	s.stored(db, 1, 2, 4)
	s.balanced(7)
}

// balanced waits until all that was acknowledged is in tables, and checks how much
// that is.
func (s *site) balanced(acked float64) {
	s.t.Helper()
	var got map[string]float64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = map[string]float64{}
		families, err := s.metrics.Gather()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				got[f.GetName()] += m.GetCounter().GetValue()
			}
		}
		if got["ingest_acked_total"] == got["ingest_inserted_total"]+got["ingest_dead_lettered_total"] {
			break
		}
	}
	if a, i, d := got["ingest_acked_total"], got["ingest_inserted_total"], got["ingest_dead_lettered_total"]; a != acked || a != i+d {
		s.t.Errorf("acknowledged %v, inserted %v, dead letters %v: want %v acknowledged, and the rest to make it up", a, i, d, acked)
	}
}

func TestAKeyTellsExposuresOfWhatItSees(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t)
	s.put(&flags.Gate{ID: "gate_web", Name: "of_web", UnitType: "userID", TargetApps: []string{"web"}})
	s.put(&flags.Gate{ID: "gate_hidden", Name: "hidden", UnitType: "userID", ClientVisible: new(bool)})
	mobile := s.keyFor("mobile", flags.KeyClient, "mobile")
	s.serve(always(db))
	for _, test := range []struct {
		gate, key string
		rejected  bool
	}{
		{"of_web", mobile, true}, {"new_checkout", mobile, false}, {"of_web", s.client, false}, {"hidden", s.client, true},
		{"hidden", s.server, false}, {"nobody_knows", mobile, false},
	} {
		got := s.post("/v1/events", fmt.Sprintf(`{"events":[{"gate":%q,"value":false,"user":{"userID":"ada"}}]}`, test.gate), "Authorization", "Bearer "+test.key, "Content-Type", asJSON)
		s.accepted(got)
		if rejected := strings.Contains(got.body, "out_of_scope"); rejected != test.rejected {
			t.Errorf("an exposure of %s by %s is answered %s; rejected should be %t", test.gate, test.key[:12], got.body, test.rejected)
		}
	}
	s.stored(db, 4, 0, 2)
}

func TestTimesThatCannotBeAreKeptAndMarked(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	now := time.Now()
	ahead, late := now.Add(time.Hour).UnixMilli(), now.Add(-time.Hour).UnixMilli()
	s.accepted(s.post("/v1/events", fmt.Sprintf(`{"events":[
		{"eventName":"e","user":{"userID":"ahead"},"time":%d},{"gate":"new_checkout","value":true,"user":{"userID":"ahead"},"time":%d},
		{"eventName":"e","user":{"userID":"late"},"time":%d},{"gate":"new_checkout","value":true,"user":{"userID":"late"},"time":%d}]}`, ahead, ahead, late, late),
		"Authorization", "Bearer "+s.server, "Content-Type", asJSON))
	s.stored(db, 2, 2, 0)
	for _, table := range []string{"events", "exposures"} {
		got := s.query(db, `SELECT concat(unit_id, ' ', metadata['sluice.sent_time'], ' ', toString(intDiv(late_ms, 600000))) FROM `+table+` WHERE project = {p:String} ORDER BY unit_id`)
		if diff := cmp.Diff([]string{fmt.Sprintf("ahead %d 0", ahead), "late  6"}, got); diff != "" {
			t.Errorf("marks in %s differ (-want +got):\n%s", table, diff)
		}
	}
}

// everywhere looks for a text in all that ingest leaves behind: the streams' files,
// the tables, the log, the metrics.
func (s *site) everywhere(ask func(question string) []string, text string) (found []string) {
	s.t.Helper()
	err := filepath.WalkDir(s.broker.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, "streams")
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, table := range []string{"exposures", "events", "dead_letters"} {
		if n := ask(fmt.Sprintf(`SELECT toString(count()) FROM %s WHERE project = {p:String} AND position(toString(tuple(*)), '%s') > 0`, table, text)); n[0] != "0" {
			found = append(found, table)
		}
	}
	if strings.Contains(s.log.String(), text) {
		found = append(found, "log")
	}
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), text) {
			found = append(found, "metrics")
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// S-40, S-41.
func TestWhatIsPrivateIsNowhere(t *testing.T) {
	db := warehousetest.Open(t)
	for name, settings := range map[string]*flags.Project{
		"by default":        {},
		"with what is kept": {KeepAttributes: []string{"country"}, DropFields: []string{"Email"}, HashUnitIDs: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProject(t)
			settings.ID, settings.Name = "proj_"+s.project, s.project
			s.put(settings)
			s.serve(always(db))
			// MARKED may be nowhere; UNIT only where ids are not hashed, COUNTRY only where it is kept.
			user := `{"userID":"UNIT","customIDs":{"companyID":"UNIT2"},"email":"MARKED","country":"COUNTRY","custom":{"plan":"MARKED","email":"MARKED"},"privateAttributes":{"country":"MARKED","x":"MARKED"},"analyticsOnlyMetadata":{"x":"MARKED"}}`
			events := strings.ReplaceAll(`
				{"eventName":"purchase","user":USER,"metadata":{"privateAttributes":{"x":"MARKED"},"order":{"privateAttributes":["MARKED"]},"plain":"VISIBLE"},"statsigMetadata":{"x":"MARKED"}}
				{"eventName":"statsig::gate_exposure","user":USER,"metadata":{"gate":"new_checkout","gateValue":"true","ruleID":"r","extra":"MARKED"},"secondaryExposures":[{"gate":"MARKED"}]}
				{"eventName":"statsig::config_exposure","user":USER,"metadata":{"config":"free_shipping","ruleID":"grp_b"}}
				{"eventName":"purchase","user":USER,"time":"never"}
				{"eventName":"purchase","user":USER,"time":7}
				{"eventName":7,"user":USER}
				{"user":USER}`, "USER", user)
			if settings.DropFields != nil {
				events = strings.Replace(events, `"plain"`, `"EMAIL":"MARKED","list":[{"email":"MARKED"}],"plain"`, 1)
			}
			list := strings.Join(strings.Split(strings.TrimSpace(events), "\n"), ",")
			bearer := []string{"Authorization", "Bearer " + s.server, "Content-Type", asJSON}
			s.accepted(s.post("/v1/log_event", `{"events":[`+list+`]}`, bearer...))
			s.accepted(s.post("/v1/events", `{"events":[`+list+`]}`, bearer...))
			s.accepted(s.post("/v1/events", events+"\n{\"eventName\":\"e\",\"user\":"+user, "Authorization", "Bearer "+s.server, "Content-Type", asLines))
			s.accepted(s.post("/v1/log_custom_exposure", `{"exposures":[{"user":`+user+`,"experimentName":"free_shipping","group":"Test"}]}`, bearer...))
			s.accepted(s.post("/v1/sdk_exception", `{"tag":"MARKED","info":"MARKED"}`, bearer...))
			for _, bad := range []string{`{"events":[{"user":` + user, `{"events":7,"user":` + user + `}`, `"MARKED"`, "MARKED"} {
				for _, path := range []string{"/v1/log_event", "/v1/events", "/v1/log_custom_exposure"} {
					if got := s.post(path, bad, bearer...); got.status != http.StatusBadRequest || strings.Contains(got.body, "MARKED") {
						t.Errorf("POST %s %.30s = %d %s, want 400 without what was sent", path, bad, got.status, got.body)
					}
				}
			}
			s.stored(db, 7, 3, 11) // what says the same with the same time is the same

			ask := func(question string) []string { return s.query(db, question) }
			if found := s.everywhere(ask, "MARKED"); len(found) > 0 {
				t.Errorf("what is private is in %v", found)
			}
			if found := s.everywhere(ask, "VISIBLE"); !slices.Contains(found, "streams") || !slices.Contains(found, "events") {
				t.Errorf("what is not private is only in %v: looking finds nothing", found)
			}
			kept, units := s.everywhere(ask, "COUNTRY"), s.everywhere(ask, "UNIT")
			if settings.HashUnitIDs && len(units) > 0 || !settings.HashUnitIDs && !slices.Equal(units, []string{"events", "exposures", "streams"}) {
				t.Errorf("ids of units are in %v", units)
			}
			if settings.KeepAttributes == nil && len(kept) > 0 || settings.KeepAttributes != nil && !slices.Equal(kept, []string{"events", "exposures", "streams"}) {
				t.Errorf("an attribute is in %v", kept)
			}
			joined := s.query(db, `SELECT toString(uniqExact(e.unit_id)) FROM exposures AS x INNER JOIN events AS e ON e.unit_key = x.unit_key AND e.project = x.project WHERE x.project = {p:String} AND x.unit_id = e.unit_ids['userID']`)
			if joined[0] != "1" {
				t.Errorf("exposures and events of one unit are those of %s", joined[0])
			}
		})
	}
}

// S-36.
func TestALogHasOneShortLineOfEachRequestWhateverItSays(t *testing.T) {
	s := newProject(t).serve(none())
	nasty := "x\r\nlevel=ERROR \x1b[31m%s%n" + strings.Repeat("y", 700<<10)
	quoted, err := json.Marshal(nasty)
	if err != nil {
		t.Fatal(err)
	}
	entry := strings.ReplaceAll(`{"event_id":@,"eventName":@,"user":{"userID":"u"}}`, "@", string(quoted[:200])+`"`)
	s.accepted(s.post("/v1/events", `{"batch_id":"`+newID(t)+`","statsigMetadata":{"sdkType":"x","sessionID":"y"},"events":[`+entry+`]}`, "Authorization", "Bearer "+s.server, "Content-Type", asJSON))
	for _, path := range []string{"/v1/events", "/v1/log_event"} {
		s.post(path, `{"events":[{"eventName":`+string(quoted)+`}]}`, "Authorization", "Bearer "+s.server, "Content-Type", asJSON)
		s.post(path, string(quoted), "Authorization", "Bearer "+s.server, "Content-Type", asJSON)
		s.post(path+"/%0d%0alevel=ERROR%1b%5b31m%25s"+strings.Repeat("y", 100<<10), "{}", "Authorization", "Bearer "+strings.Repeat("y", 100<<10), "User-Agent", "%s\t"+strings.Repeat("y", 100<<10))
		s.post(path, "{}", "Authorization", "Bearer "+s.server, "Content-Type", "%s"+strings.Repeat("y", 100<<10), "Content-Encoding", strings.Repeat("y", 100<<10), "Statsig-Sdk-Type", "%s"+strings.Repeat("y", 100<<10))
	}
	lines := 0
	for line := range strings.Lines(s.log.String()) {
		lines++
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || len(line) > 4<<10 || strings.ContainsAny(line[:len(line)-1], "\r\n\x1b") {
			t.Errorf("a line of the log is %d bytes, %v: %.200q", len(line), err, line)
		}
	}
	if lines < 9 {
		t.Errorf("the log has %d lines, want one of each request", lines)
	}
}
