package pseudonym_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
)

func connect(t *testing.T, dir string) *bus.Conn {
	t.Helper()
	s, err := embed.Start(embed.Options{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: s, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := bus.EnsureShared(t.Context(), conn, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestAllWhoAskAtOnceHashAlike(t *testing.T) {
	conn := connect(t, t.TempDir())
	hashes := make([]string, 16)
	var wg sync.WaitGroup
	for i := range hashes {
		wg.Go(func() { // each a process of its own
			key, err := pseudonym.NewKeys(conn).Of(t.Context(), "shop")
			if err != nil {
				t.Errorf("Of(shop) = %v", err)
			}
			hashes[i] = key.Hash("ada")
		})
	}
	wg.Wait()
	for _, h := range hashes {
		if h != hashes[0] || len(h) != 22 || strings.Contains(h, "ada") {
			t.Fatalf("Hash(ada) = %q, want 22 characters that are the same for all", hashes)
		}
	}
}

func TestAnIDHasOneHashInAProjectAndAnotherElsewhere(t *testing.T) {
	keys := pseudonym.NewKeys(connect(t, t.TempDir()))
	shop, err := keys.Of(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.Of(t.Context(), "shop")
	if err != nil || again != shop {
		t.Errorf("Of(shop) = another key the second time, %v", err)
	}
	news, err := keys.Of(t.Context(), "news")
	if err != nil {
		t.Fatal(err)
	}
	if shop.Hash("ada") == news.Hash("ada") || shop.Hash("ada") == shop.Hash("bob") {
		t.Error("different ids, or projects, have the same hash")
	}
	if got := shop.Hash(""); got != "" {
		t.Errorf("Hash of no id = %q, want none", got)
	}
}

func TestASecondKeyDoesNotCount(t *testing.T) {
	conn := connect(t, t.TempDir())
	first, err := pseudonym.NewKeys(conn).Of(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.JetStream().Publish(t.Context(), bus.FactKeySubject("shop"), make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	if got, err := pseudonym.NewKeys(conn).Of(t.Context(), "shop"); err != nil || got != first {
		t.Errorf("Of(shop) after somebody stored another key = %v; want the first key", err)
	}
}
