package sdks_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/tests/contract/sdks"
)

// A variant is options of an SDK that the server has a part in; {base} stands
// for the platform's address.
type variant struct {
	name    string
	options map[string]any
}

// nobodyThere is the address of nobody: the discard port.
const nobodyThere = "http://127.0.0.1:9"

var (
	clientVariants = []variant{
		{"names in clear", map[string]any{"networkConfig": map[string]any{"initializeHashAlgorithm": "none"}}},
		{"a body that is not encoded", map[string]any{"disableStatsigEncoding": true}},
		{"compressed events", map[string]any{"logEventCompressionMode": "f"}},
		{"an address for each endpoint", map[string]any{"networkConfig": map[string]any{
			"api": nobodyThere, "initializeUrl": "{base}/v1/initialize", "logEventUrl": "{base}/v1/rgstr"}}},
	}
	// The SDK tries other addresses after failures that it knows by the words of
	// browsers: in Node it never does.
	pageVariants = append(clientVariants, variant{"an address that fails, and others to try", map[string]any{"networkConfig": map[string]any{
		"initializeUrl": nobodyThere + "/v1/initialize", "initializeFallbackUrls": []string{"{base}/v1/initialize"},
		"logEventUrl": nobodyThere + "/v1/rgstr", "logEventFallbackUrls": []string{"{base}/v1/rgstr"}}}})
	variants = map[string][]variant{
		"go-sdk": {
			{"an address for each endpoint", map[string]any{"api": nobodyThere, "api_overrides": map[string]string{
				"download_config_specs": "{base}/v1", "get_id_lists": "{base}/v1", "log_event": "{base}/v1"}}},
			{"no key in the path", map[string]any{"DisableCDN": true}},
		},
		"statsig in Python": {
			{"an address for each endpoint", map[string]any{"api": nobodyThere, "api_for_download_config_specs": "{base}/v1/",
				"api_for_get_id_lists": "{base}/v1/", "api_for_log_event": "{base}/v1/"}},
			{"one event in each request", map[string]any{"event_queue_size": 1}},
			{"a start that waits for a while", map[string]any{"overall_init_timeout": 10, "out_of_sync_threshold_in_s": 60}},
			{"attributes of every user", map[string]any{"global_custom_fields": map[string]any{"region": "eu"}}},
			{"sources in order", map[string]any{"initialize_sources": []string{"DataAdapter", "Bootstrap", "Network"}, "config_sync_sources": []string{"Network"}}},
			{"short waits, and room for retries", map[string]any{"timeout": 5, "init_timeout": 5, "retry_queue_size": 100, "idlists_thread_limit": 1}},
		},
		"statsig-python-core": {
			{"differences of rules", map[string]any{"enable_dcs_deltas": true}},
			{"sources in order", map[string]any{"spec_adapter_configs": []map[string]any{
				{"adapter_type": "network_http", "specs_url": nobodyThere + "/v2/download_config_specs", "init_timeout_ms": 500},
				{"adapter_type": "network_http", "specs_url": "{base}/v2/download_config_specs", "init_timeout_ms": 3000}}}},
			{"one event in each request", map[string]any{"event_logging_max_queue_size": 1}},
			{"attributes of every user", map[string]any{"global_custom_fields": map[string]any{"region": "eu"}}},
		},
		"statsig-node": {
			{"an address for each endpoint", map[string]any{"apiForDownloadConfigSpecs": "{base}/v1", "apiForGetIdLists": "{base}/v1"}},
			{"one event in each request", map[string]any{"loggingMaxBufferSize": 1}},
		},
		"statsig-node-core": {
			{"differences where there are any", map[string]any{"enableDcsDeltas": true}},
			{"gzip", map[string]any{"configCompressionMode": "gzip"}},
			{"sources in order", map[string]any{"specAdaptersConfig": []map[string]any{
				{"adapterType": "network_http", "specsUrl": nobodyThere + "/v2/download_config_specs", "initTimeoutMs": 500},
				{"adapterType": "network_http", "specsUrl": "{base}/v2/download_config_specs", "initTimeoutMs": 3000}}}},
		},
		"js-client in Node": clientVariants,
		"js-client":         pageVariants,
		"react-bindings":    pageVariants,
		"statsig-js": {
			{"names in clear", map[string]any{"disableHashing": true}},
			{"an address for each endpoint", map[string]any{"api": "{base}/v1", "eventLoggingApi": "{base}/v1"}},
		},
		"statsig-react": {
			{"names in clear", map[string]any{"disableHashing": true}},
		},
	}
)

func options(t *testing.T, b *bench) {
	var want []string
	for n, v := range variants[b.Name] {
		text, err := json.Marshal(v.options)
		if err != nil {
			t.Fatal(err)
		}
		var given map[string]any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "{base}", b.shop.HTTP)), &given); err != nil {
			t.Fatal(err)
		}
		u := b.user("options", n)
		i := b.Open(sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u, Options: given})
		b.agrees(u, i.Check(u, everything))
		i.Log(u, sdks.Event{Name: "chose", Value: v.name})
		i.Flush()
		i.Close()
		want = append(want, v.name)
	}
	b.eventually("events", want, "SELECT value_text FROM events WHERE event = 'chose' AND project = ? AND startsWith(unit_id, ?)",
		b.shop.ID, b.slug+"/options/")
}
