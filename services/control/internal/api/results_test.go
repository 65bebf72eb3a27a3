package api_test

import (
	"net/http"
	"testing"
	"time"
)

func TestAWrongParameterOfResultsIsNamed(t *testing.T) {
	w := newWorld(t)
	const all = "/api/v1/projects/shop"
	w.must(w.do("POST", all+"/metrics", w.shop, `{"name":"sales","type":"sum","event":"buy"}`), http.StatusCreated)
	w.must(w.do("POST", all+"/experiments", w.shop, `{"name":"pricing","allocation":100,"metrics":["sales"],"groups":[{"name":"a","share":50,"parameters":{}},{"name":"b","share":50,"parameters":{}}]}`), http.StatusCreated)
	for _, tc := range []struct{ path, pointer string }{
		{"experiments/pricing/results?method=guess", "method"},
		{"experiments/pricing/results?alpha=1", "alpha"},
		{"experiments/pricing/results?alpha=NaN", "alpha"},
		{"experiments/pricing/results?alpha=0.0_5", "alpha"},
		{"experiments/pricing/power?mean=1_0&sd=1", "mean"},
		{"experiments/pricing/power?sd=0x10", "sd"},
		{"experiments/pricing/results?tail=left", "tail"},
		{"experiments/pricing/results?correction=some", "correction"},
		{"experiments/pricing/results?method=bayesian&correction=holm", "correction"},
		{"experiments/pricing/results?method=bayesian&tail=greater", "tail"},
		{"experiments/pricing/results?cuped=maybe", "cuped"},
		{"experiments/pricing/results?topline=1", "topline"},
		{"experiments/pricing/results?tuningUnits=0", "tuningUnits"},
		{"experiments/pricing/results?priorMean=0.1", "priorSd"},
		{"experiments/pricing/results?priorSd=-1", "priorSd"},
		{"experiments/pricing/results?format=xml", "format"},
		{"experiments/pricing/results?wait=61", "wait"},
		{"experiments/pricing/results?asOf=never", "asOf"},
		{"experiments/pricing/results?metric=sales", "metric"},
		{"experiments/pricing/results?by=country", "by"}, // which the project does not keep
		{"experiments/pricing/results?by=sdk&top=0", "top"},
		{"experiments/pricing/results?by=sdk&top=101", "top"},
		{"experiments/pricing/results?top=5", "by"},
		{"experiments/pricing/timeseries?by=sdk", "by"},
		{"experiments/pricing/timeseries?alpha=x", "alpha"},
		{"experiments/pricing/health?alpha=0.05", "alpha"},
		{"experiments/pricing/power?power=1", "power"},
		{"experiments/pricing/power?effect=0", "effect"},
		{"experiments/pricing/power?sd=-2", "sd"},
		{"experiments/pricing/power?reduction=1", "reduction"},
		{"experiments/pricing/power?method=bayesian", "method"},
	} {
		if got := w.do("GET", all+"/"+tc.path, w.shop, ""); got.status != http.StatusBadRequest || got.pointers() != tc.pointer {
			t.Errorf("GET %s = %v; want 400 that names %s", tc.path, got, tc.pointer)
		}
	}
	for _, tc := range []struct{ path, body, pointer string }{
		{"metrics/sales/preview?days=91", "{}", "days"},
		{"metrics/sales/preview", `{"type":"guess","event":"buy"}`, "/type"},
		{"metrics/sales/preview", `{"type":"sum"}`, "/event"},
		{"metrics/sales/preview", `{"type":"sum","event":"buy","sql":"DROP"}`, "/sql"},
	} {
		if got := w.do("POST", all+"/"+tc.path, w.shop, tc.body); got.status/100 != 4 || got.pointers() != tc.pointer {
			t.Errorf("POST %s with %s = %v; want a problem that names %s", tc.path, tc.body, got, tc.pointer)
		}
	}
	for _, path := range []string{"experiments/none/results", "experiments/none/health", "experiments/none/timeseries", "experiments/none/power"} {
		if got := w.do("GET", all+"/"+path, w.shop, ""); got.status != http.StatusNotFound {
			t.Errorf("GET %s = %v; want 404", path, got)
		}
	}
	if got := w.do("POST", all+"/metrics/none/preview", w.shop, "{}"); got.status != http.StatusNotFound {
		t.Errorf("preview of no metric = %v; want 404", got)
	}
}

func TestWhoDoesNotWaitGetsAnOperation(t *testing.T) {
	w := newWorld(t)
	const all = "/api/v1/projects/shop"
	w.must(w.do("POST", all+"/experiments", w.shop, `{"name":"pricing","allocation":100,"groups":[{"name":"a","share":50,"parameters":{}},{"name":"b","share":50,"parameters":{}}]}`), http.StatusCreated)
	got := w.must(w.do("GET", all+"/experiments/pricing/results?wait=0", w.shop, ""), http.StatusAccepted)
	at := got.header.Get("Location")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		op := w.must(w.do("GET", at, w.shop, ""), http.StatusOK)
		if op.body["status"] == "failed" && op.body["problem"] == "the warehouse does not answer just now" {
			break // there is none in this world
		}
		if time.Now().After(deadline) {
			t.Fatalf("the operation is %v; want it to fail, and to say why", op)
		}
	}
	w.must(w.do("POST", "/api/v1/projects", w.admin, `{"name":"other"}`), http.StatusCreated)
	if got := w.do("GET", at, w.key("other", flagsConsole, "other"), ""); got.status != http.StatusNotFound {
		t.Errorf("another project's key reads the operation: %v; want 404", got)
	}
	reader := w.key("shop", flagsConsole, "reader", "read")
	if got := w.do("DELETE", at, reader, ""); got.status != http.StatusForbidden || got.body["missing"] != "kill" {
		t.Errorf("a key that only reads ends another's operation: %v; want 403 that names the scope kill", got)
	}
	own := w.must(w.do("GET", all+"/experiments/pricing/results?wait=0", reader, ""), http.StatusAccepted).header.Get("Location")
	w.must(w.do("DELETE", own, reader, ""), http.StatusOK)
	if got := w.do("DELETE", at, w.shop, ""); got.status != http.StatusOK || got.body["status"] != "failed" {
		t.Errorf("cancelling what has ended = %v; want it to stay as it is", got)
	}
	if got := w.do("GET", "/api/v1/operations/op_none", w.shop, ""); got.status != http.StatusNotFound {
		t.Errorf("an operation that never was = %v; want 404", got)
	}
}
