package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/pkg/events"
)

func id(n byte) (id events.FactID) {
	for i := range id {
		id[i] = n + byte(i)
	}
	return id
}

// sample has every field of every kind of fact set at least once.
func sample() events.Batch {
	return events.Batch{
		Project: "shop",
		Exposures: []events.Exposure{
			{ID: id(1), Time: 1_790_000_000_000, Received: 1_790_000_000_120, Environment: "production",
				Kind: events.ExposureGate, Name: "new_checkout", RuleID: "rule_1:50.00:2", Group: events.NoGroup,
				UnitType: "userID", UnitID: "ada", Value: "true", Sequence: 41,
				SDKType: "go-sdk", SDKVersion: "v1.35.1", Reason: "Network"},
			{ID: id(2), Time: 1_789_999_999_000, Received: 1_790_000_000_120, Environment: "production",
				Kind: events.ExposureExperiment, Name: "free_shipping", RuleID: "grp_b", Group: 1, Override: true,
				UnitType: "stableID", UnitID: "7d1f", Value: "Treatment", Layer: "checkout", Parameter: "threshold",
				SDKType: "javascript-client", SDKVersion: "3.33.5", Reason: "Network:Recognized"},
		},
		Events: []events.Event{
			{ID: id(3), Time: 1_790_000_000_050, Received: 1_790_000_000_120, Environment: "production",
				Name: "purchase", UnitType: "userID", UnitID: "ada",
				UnitIDs: []events.Pair{{Name: "companyID", Value: "acme"}, {Name: "userID", Value: "ada"}},
				Value:   new(12.5), ValueText: "12.50",
				Metadata: []events.Pair{{Name: "currency", Value: "EUR"}, {Name: "items", Value: "[1,2]"}},
				SDKType:  "go-sdk", SDKVersion: "v1.35.1"},
			{ID: id(4), Time: 1_790_000_000_060, Received: 1_790_000_000_120, Name: "page_view", UnitType: "userID", UnitID: "zoë"},
		},
		Dead: []events.DeadLetter{
			{ID: id(5), Received: 1_790_000_000_120, Reason: "bad_time", Detail: "time should be a number of milliseconds", Payload: `{"eventName":"purchase"}`},
		},
	}
}

func TestABatchComesBackAsItWas(t *testing.T) {
	for name, want := range map[string]events.Batch{
		"every field": marked(),
		"no metadata": sample(),
		"nothing":     {},
		"no facts":    {Project: "shop"},
	} {
		t.Run(name, func(t *testing.T) {
			message := events.EncodeBatch(want)
			got, err := events.DecodeBatch(message)
			if err != nil {
				t.Fatalf("DecodeBatch(EncodeBatch(b)) = %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("DecodeBatch(EncodeBatch(b)) differs (-want +got):\n%s", diff)
			}
			if again := events.EncodeBatch(got); !bytes.Equal(again, message) {
				t.Errorf("EncodeBatch gave %x, then %x for an equal batch", message, again)
			}
		})
	}
}

func TestAppendBatchKeepsWhatIsThere(t *testing.T) {
	got := events.AppendBatch([]byte("before"), sample())
	if want := append([]byte("before"), events.EncodeBatch(sample())...); !bytes.Equal(got, want) {
		t.Errorf("AppendBatch(%q, b) = %x, want %x", "before", got, want)
	}
}

// The golden messages were written by released versions. A new version adds a
// file; no file here ever changes.
func TestEveryReleasedMessageStillDecodes(t *testing.T) {
	messages, err := filepath.Glob("../../schemas/facts/batch_v*.bin")
	if err != nil || len(messages) == 0 {
		t.Fatalf("no golden messages in schemas/facts: %v", err)
	}
	for _, path := range messages {
		message, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := events.DecodeBatch(message)
		if err != nil {
			t.Errorf("DecodeBatch(%s) = %v", path, err)
			continue
		}
		text, err := os.ReadFile(path[:len(path)-len(".bin")] + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var want events.Batch
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("DecodeBatch(%s) differs from its JSON (-want +got):\n%s", path, diff)
		}
	}
}

// marked is a sample whose second exposure says more than its unit's id.
func marked() events.Batch {
	b := sample()
	b.Exposures[1].Metadata = []events.Pair{{Name: "sluice.sent_time", Value: "1790000900000"}, {Name: "user.country", Value: "NZ"}}
	return b
}

func TestABatchIsWrittenInTheOldestVersionThatHoldsIt(t *testing.T) {
	for path, b := range map[string]events.Batch{"batch_v1.bin": sample(), "batch_v2.bin": marked()} {
		want, err := os.ReadFile("../../schemas/facts/" + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := events.EncodeBatch(b); !bytes.Equal(got, want) {
			t.Errorf("EncodeBatch gives %x, want the golden %s: %x", got, path, want)
		}
	}
}

func TestADamagedMessageIsRefused(t *testing.T) {
	message := events.EncodeBatch(marked())
	for n := range len(message) {
		if _, err := events.DecodeBatch(message[:n]); !errors.Is(err, events.ErrFactsCorrupt) {
			t.Errorf("DecodeBatch(first %d of %d bytes) = %v, want ErrFactsCorrupt", n, len(message), err)
		}
	}
	if _, err := events.DecodeBatch(append(message, 0)); !errors.Is(err, events.ErrFactsCorrupt) {
		t.Errorf("DecodeBatch(message and one byte) = %v, want ErrFactsCorrupt", err)
	}
	if _, err := events.DecodeBatch([]byte{3}); !errors.Is(err, events.ErrFactsVersion) {
		t.Errorf("DecodeBatch(version 3) = %v, want ErrFactsVersion", err)
	}
}

func TestACountBeyondTheMessageCostsNoMemory(t *testing.T) {
	liar := []byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f} // claims 34 thousand million exposures
	var err error
	allocated := testing.AllocsPerRun(10, func() { _, err = events.DecodeBatch(liar) })
	if !errors.Is(err, events.ErrFactsCorrupt) || allocated > 20 {
		t.Errorf("DecodeBatch(%x) = %v with %v allocations, want ErrFactsCorrupt with few", liar, err, allocated)
	}
}

func TestIDsNamesEveryFactOnce(t *testing.T) {
	b := sample()
	want := []events.FactID{id(1), id(2), id(3), id(4), id(5)}
	if diff := cmp.Diff(want, b.IDs()); diff != "" {
		t.Errorf("IDs() differs (-want +got):\n%s", diff)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(events.EncodeBatch(sample()))
	f.Add(events.EncodeBatch(marked()))
	f.Add(events.EncodeBatch(events.Batch{}))
	f.Add([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, message []byte) {
		b, err := events.DecodeBatch(message)
		if err != nil {
			return
		}
		again, err := events.DecodeBatch(events.EncodeBatch(b))
		if err != nil {
			t.Fatalf("DecodeBatch of our own message: %v", err)
		}
		// NaN is not equal to itself, but its bits are.
		if diff := cmp.Diff(fmt.Sprintf("%#v", b.IDs()), fmt.Sprintf("%#v", again.IDs())); diff != "" || b.Len() != again.Len() {
			t.Errorf("decoding, encoding and decoding again differs:\n%s", diff)
		}
		if one, two := events.EncodeBatch(b), events.EncodeBatch(again); !bytes.Equal(one, two) {
			t.Errorf("encoding is not stable: %x, then %x", one, two)
		}
	})
}

func bulk() events.Batch {
	b := events.Batch{Project: "shop"}
	for i := range 500 {
		e := sample().Exposures[0]
		e.ID[0], e.ID[1] = byte(i), byte(i>>8)
		e.Time += int64(i)
		e.UnitID = fmt.Sprintf("user-%d", i)
		b.Exposures = append(b.Exposures, e)
	}
	return b
}

func BenchmarkEncodeBatch(b *testing.B) {
	batch := bulk()
	size := len(events.EncodeBatch(batch))
	var buf []byte
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		buf = events.AppendBatch(buf[:0], batch)
	}
	b.ReportMetric(float64(size)/float64(batch.Len()), "bytes/fact")
}

func BenchmarkDecodeBatch(b *testing.B) {
	batch := bulk()
	message := events.EncodeBatch(batch)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.DecodeBatch(message); err != nil {
			b.Fatal(err)
		}
	}
}
