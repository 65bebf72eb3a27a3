package openfeature_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
	"github.com/sluice-flags/sluice/sdk/go/openfeature"
)

// An event is what of a logged one the tests look at.
type event struct {
	EventName string            `json:"eventName"`
	Value     float64           `json:"value"`
	Metadata  map[string]string `json:"metadata"`
	User      sluice.User       `json:"user"`
}

// serve answers as a platform with the rules of project, and tells what is logged.
func serve(t *testing.T) (url string, logged <-chan []event) {
	t.Helper()
	batches := make(chan []event, 16)
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/download_config_specs"):
			_, _ = io.WriteString(w, project)
			return
		case r.URL.Path != "/v1/log_event":
			http.NotFound(w, r)
			return
		}
		var body struct {
			Events []event `json:"events"`
		}
		if err := json.NewDecoder(plain(t, r)).Decode(&body); err != nil {
			t.Errorf("reading a batch: %v", err)
		}
		batches <- body.Events
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(platform.Close)
	return platform.URL, batches
}

func TestTrackedEventsKeepTheirValueFieldsAndUser(t *testing.T) {
	url, logged := serve(t)
	client, err := sluice.New("secret-shop-x", sluice.WithURL(url), sluice.WithFlushInterval(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	if err := of.SetNamedProviderAndWait(t.Name(), openfeature.WithTracking(of.NoopProvider{}, client, "companyID")); err != nil {
		t.Fatal(err)
	}
	ann := of.NewEvaluationContext("ann", map[string]any{"companyid": "acme", "plan": "pro"})
	of.NewClient(t.Name()).Track(context.Background(), "purchase", ann, of.NewTrackingEventDetails(12.5).Add("currency", "EUR").Add("items", 3))
	select {
	case events := <-logged:
		if len(events) != 1 {
			t.Fatalf("logged %+v; want one event", events)
		}
		if e := events[0]; e.EventName != "purchase" || e.Value != 12.5 || e.Metadata["currency"] != "EUR" || e.Metadata["items"] != "3" ||
			e.User.UserID != "ann" || e.User.CustomIDs["companyID"] != "acme" || e.User.Custom["plan"] != "pro" {
			t.Errorf("logged %+v; want the purchase of ann at acme", events)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was logged")
	}
}

// plain is the body of a batch, which is compressed if that is worth it.
func plain(t *testing.T, r *http.Request) io.Reader {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return r.Body
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Errorf("reading a batch: %v", err)
		return r.Body
	}
	return z
}

func TestWhoGetsADefaultForAnotherTypeIsNotExposed(t *testing.T) {
	url, logged := serve(t)
	client, err := sluice.New("secret-shop-x", sluice.WithURL(url), sluice.WithFlushInterval(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	if err := of.SetNamedProviderAndWait(t.Name(), openfeature.NewProvider(client)); err != nil {
		t.Fatal(err)
	}
	c := of.NewClient(t.Name())
	if d, _ := c.StringValueDetails(t.Context(), "everyone", "mine", of.NewEvaluationContext("ann", nil)); d.ErrorCode != of.TypeMismatchCode {
		t.Errorf("a gate as text has the error %q; want TYPE_MISMATCH", d.ErrorCode)
	}
	if on, _ := c.BooleanValue(t.Context(), "everyone", false, of.NewEvaluationContext("bob", nil)); !on {
		t.Error("everyone = false; want true")
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if events := <-logged; len(events) != 1 || events[0].User.UserID != "bob" {
		t.Errorf("logged %+v; want one exposure, of bob, who was answered", events)
	}
}
