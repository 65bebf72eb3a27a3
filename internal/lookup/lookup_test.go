package lookup_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/pkg/eval"
)

func TestAgentsNameBrowserAndSystem(t *testing.T) {
	agents := lookup.NewAgents()
	if err := agents.Warm(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, agent string
		want        eval.UserAgent
	}{
		{"desktop Chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36",
			eval.UserAgent{Browser: "Chrome", BrowserVersion: "120.0.6099", OS: "Windows", OSVersion: "10"}},
		{"mobile Safari", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
			eval.UserAgent{Browser: "Mobile Safari", BrowserVersion: "17.2", OS: "iOS", OSVersion: "17.2"}},
		{"an unknown agent", "zzz", eval.UserAgent{Browser: "Other", OS: "Other"}},
		{"no agent", "", eval.UserAgent{}},
		{"an agent that is too long", strings.Repeat("Chrome/1 ", 200), eval.UserAgent{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second answer is the remembered one
				if got := agents.ParseUserAgent(tt.agent); got != tt.want {
					t.Errorf("ParseUserAgent(%.40q) = %+v, want %+v", tt.agent, got, tt.want)
				}
			}
		})
	}
}

func TestCountriesComeFromTheOperatorsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "country.mmdb")
	// 0.0.0.0/1 is used in SE, 128.0.0.0/1 only registered in DE.
	if err := os.WriteFile(file, table(t, "country", "SE", "registered_country", "DE"), 0o600); err != nil {
		t.Fatal(err)
	}
	countries, err := lookup.OpenCountries(file)
	if err != nil {
		t.Fatal(err)
	}
	defer countries.Close()
	for ip, want := range map[string]string{
		"1.2.3.4": "SE", "200.1.1.1": "DE", "::ffff:1.2.3.4": "SE",
		"999.1.1.1": "", "2001:db8::1": "", "": "", "localhost": "", "1.2.3": "",
	} {
		got, ok := countries.Country(ip)
		if got != want || ok != (want != "") {
			t.Errorf("Country(%q) = %q, %v; want %q", ip, got, ok, want)
		}
	}
}

func TestAFileThatKnowsNoCountriesIsRefused(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.mmdb")
	if err := os.WriteFile(other, table(t, "city", "X", "city", "Y"), 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(dir, "garbage.mmdb")
	if err := os.WriteFile(garbage, []byte("not a table"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{other, garbage, filepath.Join(dir, "missing.mmdb")} {
		if _, err := lookup.OpenCountries(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("OpenCountries(%s) = %v; want an error that names the file", filepath.Base(file), err)
		}
	}
}

// A file that was cut off or damaged on its way is refused, or knows less; it
// stops nobody.
func TestADamagedFileIsRefusedOrKnowsLess(t *testing.T) {
	whole := table(t, "country", "SE", "registered_country", "DE")
	file := filepath.Join(t.TempDir(), "country.mmdb")
	ask := func(what string, at int, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		countries, err := lookup.OpenCountries(file)
		if err != nil {
			return
		}
		defer countries.Close()
		for _, ip := range []string{"1.2.3.4", "200.1.1.1"} {
			if code, ok := countries.Country(ip); ok != (code != "") {
				t.Errorf("%s at %d: Country(%s) = %q, %v; want a code if and only if there is one", what, at, ip, code, ok)
			}
		}
	}
	for i := range whole {
		ask("cut off", i, whole[:i])
		for _, flip := range []byte{0xff, 0x80, 0x01} {
			damaged := bytes.Clone(whole)
			damaged[i] ^= flip
			ask("damaged", i, damaged)
		}
	}
}

// table writes the smallest file of the format: one node, whose two records are
// the lower and the upper half of the IPv4 addresses.
func table(t testing.TB, lowMember, lowCode, highMember, highCode string) []byte {
	t.Helper()
	text := func(s string) []byte { return append([]byte{2<<5 | byte(len(s))}, s...) }
	object := func(parts ...[]byte) []byte {
		return append([]byte{7<<5 | byte(len(parts)/2)}, bytes.Join(parts, nil)...)
	}
	number := func(kind byte, v uint32) []byte {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], v)
		return append([]byte{kind<<5 | 4}, b[:]...)
	}
	low := object(text(lowMember), object(text("iso_code"), text(lowCode)))
	high := object(text(highMember), object(text("iso_code"), text(highCode)))

	const nodes, separator = 1, 16
	record := func(offset int) []byte {
		v := nodes + separator + offset
		return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
	}
	var out bytes.Buffer
	out.Write(record(0))
	out.Write(record(len(low)))
	out.Write(make([]byte, separator))
	out.Write(low)
	out.Write(high)
	out.WriteString("\xab\xcd\xefMaxMind.com")
	out.Write(object(
		text("node_count"), number(6, nodes),
		text("record_size"), []byte{5<<5 | 1, 24},
		text("ip_version"), []byte{5<<5 | 1, 4},
		text("database_type"), text("Test"),
		text("binary_format_major_version"), []byte{5<<5 | 1, 2},
		text("binary_format_minor_version"), []byte{5 << 5},
		text("build_epoch"), number(6, 1),
	))
	return out.Bytes()
}
