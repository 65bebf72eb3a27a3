package lookup_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/pkg/eval"
)

// FuzzAgents: whatever a header holds, it is read without a panic and alike each
// time; what is too long is nobody's browser.
func FuzzAgents(f *testing.F) {
	f.Add("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36")
	f.Add("Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) Version/17.2 Mobile/15E148 Safari/604.1")
	f.Add("curl/8.4.0")
	f.Add("")
	f.Add("\xff\x00(((")
	agents := lookup.NewAgents()
	f.Fuzz(func(t *testing.T, agent string) {
		first := agents.ParseUserAgent(agent)
		if again := agents.ParseUserAgent(agent); again != first {
			t.Errorf("ParseUserAgent(%q) = %+v, and then %+v", agent, first, again)
		}
		if len(agent) > 1000 && first != (eval.UserAgent{}) {
			t.Errorf("ParseUserAgent of %d bytes = %+v, want nothing", len(agent), first)
		}
	})
}

// FuzzCountries: whatever is given for an address, only IPv4 has a country.
func FuzzCountries(f *testing.F) {
	for _, seed := range []string{"1.2.3.4", "200.1.1.1", "::ffff:1.2.3.4", "2001:db8::1", "999.1.1.1", "1.2.3", "01.2.3.4", ""} {
		f.Add(seed)
	}
	file := filepath.Join(f.TempDir(), "country.mmdb")
	if err := os.WriteFile(file, table(f, "country", "SE", "registered_country", "DE"), 0o600); err != nil {
		f.Fatal(err)
	}
	countries, err := lookup.OpenCountries(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = countries.Close() })
	f.Fuzz(func(t *testing.T, ip string) {
		code, ok := countries.Country(ip)
		if ok != (code != "") || ok && code != "SE" && code != "DE" {
			t.Errorf("Country(%q) = %q, %v; want one of the table's or nothing", ip, code, ok)
		}
	})
}
