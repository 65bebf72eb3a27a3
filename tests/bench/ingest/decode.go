package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/sluice-flags/sluice/internal/statsig"
)

// logBody is a body of log_event with n events, a third of them exposures of
// experiments, a third of gates, a third purchases, as SDKs send them.
func logBody(n int, seed uint64, now int64) []byte {
	r := rand.New(rand.NewPCG(seed, 4)) //nolint:gosec // the same bodies in every run
	var b bytes.Buffer
	b.WriteString(`{"events":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		u := r.IntN(1_000_000)
		user := fmt.Sprintf(`{"userID":"user-%d","email":"u%d@example.com","ip":"10.%d.%d.1","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","country":"US","locale":"en_US","appVersion":"4.%d","custom":{"plan":"pro","seats":%d,"beta":true},"customIDs":{"stableID":"st-%x"}}`,
			u, u, u%256, u/256%256, u%12, u%40, u*7919)
		at := now + int64(i)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&b, `{"eventName":"statsig::config_exposure","user":%s,"value":null,"metadata":{"config":"experiment_%d","ruleID":"rule_%d","rulePassed":"true","reason":"Network"},"time":%d,"secondaryExposures":[{"gate":"holdout_%d","gateValue":"false","ruleID":"default"},{"gate":"segment_a","gateValue":"true","ruleID":"r1"}]}`, user, u%20, u%60, at, u%5)
		case 1:
			fmt.Fprintf(&b, `{"eventName":"statsig::gate_exposure","user":%s,"value":null,"metadata":{"gate":"gate_%d","gateValue":"true","ruleID":"rule_%d","reason":"Network"},"time":%d,"secondaryExposures":[]}`, user, u%50, u%60, at)
		default:
			fmt.Fprintf(&b, `{"eventName":"purchase","user":%s,"value":%d.%02d,"metadata":{"sku":"SKU-%d","page":"/p/%d","currency":"USD","note":"line\nbreak \u00e9"},"time":%d,"secondaryExposures":[]}`, user, u%100, u%97, u%5000, u%300, at)
		}
	}
	fmt.Fprintf(&b, `],"statsigMetadata":{"sdkType":"js-client","sdkVersion":"3.12.0","sessionID":"0b0ab8f6-71ee-4d9b-93df-%012d","stableID":"st-1"}}`, seed)
	return b.Bytes()
}

// The structs that a program would write for such a body.
type (
	plainUser struct {
		UserID     string            `json:"userID"`
		Email      string            `json:"email"`
		IP         string            `json:"ip"`
		UserAgent  string            `json:"userAgent"`
		Country    string            `json:"country"`
		Locale     string            `json:"locale"`
		AppVersion string            `json:"appVersion"`
		Custom     map[string]any    `json:"custom"`
		CustomIDs  map[string]string `json:"customIDs"`
	}
	plainEvent struct {
		EventName string              `json:"eventName"`
		User      *plainUser          `json:"user"`
		Value     any                 `json:"value"`
		Metadata  map[string]string   `json:"metadata"`
		Time      int64               `json:"time"`
		Secondary []map[string]string `json:"secondaryExposures"`
	}
	plainBody struct {
		Events   []plainEvent      `json:"events"`
		Metadata map[string]string `json:"statsigMetadata"`
	}
)

// scan steps through strings and counts brackets: less than any decoder can do.
func scan(b []byte) int {
	depth, n := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for {
				i += bytes.IndexByte(b[i+1:], '"') + 1
				if b[i-1] != '\\' {
					break
				}
			}
			n++
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
	}
	return n + depth
}

// serviceHeap is about what the service has in use when it is at work, most of it
// the ids of the facts that were stored lately.
const serviceHeap = 64 << 20

// decoding compares what reads a body of 50 events, on one core, in a process that
// has as much memory in use as the service. In one that has none the collector runs
// every 4 MiB, many times as often as there.
func decoding(_ context.Context, b *bench) (table, error) {
	defer runtime.KeepAlive(make([]byte, serviceHeap))
	const events = 50
	body := logBody(events, 3, 1_793_500_000_000)
	if got, err := statsig.DecodeLogBody(body); err != nil || len(got.Events) != events {
		return table{}, fmt.Errorf("DecodeLogBody = %d events, %w; want %d", len(got.Events), err, events)
	}
	readers := []struct {
		name string
		read func() error
	}{
		{"floor, byte scan", func() error {
			if scan(body) == 0 {
				return fmt.Errorf("no strings")
			}
			return nil
		}},
		{"encoding/json, structs", func() error { return json.Unmarshal(body, new(plainBody)) }},
		{"ours", func() error {
			got, err := statsig.DecodeLogBody(body)
			got.Release()
			return err
		}},
	}
	perSecond := make([][]float64, len(readers)) // bytes
	for range b.rounds {
		for i, r := range readers {
			began, n := time.Now(), 0
			for time.Since(began) < b.decoding {
				if err := r.read(); err != nil {
					return table{}, fmt.Errorf("%s: %w", r.name, err)
				}
				n++
			}
			perSecond[i] = append(perSecond[i], float64(n*len(body))/time.Since(began).Seconds())
		}
	}
	t := table{
		title:   fmt.Sprintf("decode: log_event bodies of %d events and %d bytes, one core, median of %d rounds", events, len(body), b.rounds),
		columns: []string{"", "MB/s", "events/s", "of the scan", "× encoding/json"},
	}
	floor, plain := median(perSecond[0]), median(perSecond[1])
	for i, r := range readers {
		v := median(perSecond[i])
		t.add(r.name, rate(v/1e6), rate(v*events/float64(len(body))), ratio(v/floor), ratio(v/plain))
	}
	return t, nil
}
