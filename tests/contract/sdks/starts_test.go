package sdks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

func startsFromRules(t *testing.T, b *bench) {
	first := b.open(nil)
	rules := ""
	harness.Within(t, 20*time.Second, func() error {
		if rules = first.Rules(); rules == "" {
			return fmt.Errorf("the SDK has told of no rules")
		}
		return nil
	})
	first.Close()
	second := b.Open(sdks.Setup{Base: b.mailbox(), Key: b.key(b.shop), Values: rules})
	u := b.user("rules", 0)
	b.agrees(u, second.Check(u, everything))
	second.Close()
}

func startsFromValues(t *testing.T, b *bench) {
	u := b.user("values", 0)
	values := ""
	if b.Client {
		values = string(b.shop.Must(http.StatusOK, nil, b.shop.Client, "POST", "/v1/initialize", harness.Doc{"user": u}).Body)
	} else {
		values = string(b.shop.Must(http.StatusOK, nil, b.shop.Server, "GET", "/v1/download_config_specs", nil).Body)
	}
	i := b.Open(sdks.Setup{Base: b.mailbox(), Key: b.key(b.shop), User: u, Values: values})
	b.agrees(u, i.Check(u, everything))
	i.Close()
}

func startsFromStore(t *testing.T, b *bench) {
	u := b.user("store", 0)
	setup := sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u, Store: true}
	first := b.Open(setup)
	b.agrees(u, first.Check(u, everything))
	if !b.Client {
		var kept struct {
			Time int64 `json:"time"`
		}
		if err := json.Unmarshal([]byte(first.Stored()), &kept); err != nil || kept.Time == 0 {
			t.Errorf("the SDK stored %.200q, %v; want the rules that it was served", first.Stored(), err)
		}
	}
	first.Close()

	setup.Base = b.nowhere()
	second := b.Open(setup)
	b.agrees(u, second.Check(u, everything))
}

// payloads are what server SDKs hand out, by SDK.
type payloads struct {
	mu sync.Mutex
	by map[string]string
}

// guest is whom they hand it out for.
var guest = sdks.User{"userID": "guest", "customIDs": map[string]string{"stableID": "guest-device"}}

func handsPayload(t *testing.T, b *bench) {
	i := b.open(nil)
	payload := i.Payload(guest, b.shop.Client)
	i.Close()
	if !json.Valid([]byte(payload)) || !strings.Contains(payload, `"feature_gates"`) {
		t.Fatalf("the payload is %.200q; want an initialize response", payload)
	}
	b.payloads.mu.Lock()
	defer b.payloads.mu.Unlock()
	b.payloads.by[b.Name] = payload
}

func startsFromPayload(t *testing.T, b *bench) {
	if len(b.payloads.by) != len(sdks.Servers()) {
		t.Fatalf("%d server SDKs handed out a payload; want all %d: the servers' half of this test makes them", len(b.payloads.by), len(sdks.Servers()))
	}
	for server, payload := range b.payloads.by {
		t.Run(server, func(t *testing.T) {
			b := *b
			b.Driver, b.shop = b.For(t), forTest(t, b.shop)
			i := b.Open(sdks.Setup{Base: b.mailbox(), Key: b.shop.Client, User: guest, Values: payload})
			b.agrees(guest, i.Check(guest, everything))
			i.Close()
		})
	}
}
