package eval_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/eval/evaltest"
)

// The vectors are what three published SDKs answered; see testdata/README.md.
var vectors = filepath.Join("testdata", "vectors")

// The folder that SLUICE_VECTORS names holds other files in the same formats. In
// those, where the SDKs differ any of their answers will do.
func TestAnswersAgreeWithThoseOfPublishedSDKs(t *testing.T) {
	lookups := &vectorLookups{}
	all := evaltest.Check(t, vectors, evaltest.Options{Country: lookups, UserAgent: lookups, OurChoice: ourChoice})
	t.Logf("%s: %v", vectors, all)
	if all.Evaluations < 2*16_108 || all.Payloads < 2*210 {
		t.Errorf("compared %v; want all 16,108 evaluations and 210 payloads, in both shapes", all)
	}
	if folder := os.Getenv("SLUICE_VECTORS"); folder != "" {
		all := evaltest.Check(t, folder, evaltest.Options{Country: lookups, UserAgent: lookups, Unsure: lookups.unsure})
		t.Logf("%s: %v", folder, all)
		if all.NotJudged > 0 {
			t.Log("tests/contract judges them by the real tables: go test ./tests/contract -run Published -v")
		}
	}
}

// minority lists where the evaluator sides with a minority of the SDKs, and why.
// Everywhere else it must give the preferred value.
var minority = []struct{ file, name, why string }{
	{"01_rollout", "by_empty_idtype", "an empty id type is the user id, as in go"},
	{"05_numeric_ops", "gt__", "the text inf is no number, as in node"},
	{"05_numeric_ops", "gte__", "the text inf is no number, as in node"},
	{"06_version_ops", "version_", "a bad later part makes a version invalid, as in go"},
	{"07_time_ops", "", "absent and unparsable dates never match, and milliseconds count, as in core"},
	{"08_eq_regex", "re__look", "no look-around in a linear-time engine, as in go"},
	{"08_eq_regex", "re__uni", "booleans match by their text, as in core"},
	{"13_user_bucket", "no_salt", "a missing salt is empty, as in core"},
	{"13_user_bucket", "null_addl", "a missing salt is empty, as in core"},
	{"22_random_mix_3", "m3cfg2", "an absent date is not before anything, as in node and core"},
}

// ourChoice reports whether an accepted value that is not the preferred one is
// deliberate. Other people's files know no such list.
func ourChoice(file, name string) bool {
	return slices.ContainsFunc(minority, func(m struct{ file, name, why string }) bool {
		return m.file == file && strings.HasPrefix(name, m.name)
	})
}

// vectorLookups know the addresses and the user agents in the vectors, and note
// when they are asked for others.
type vectorLookups struct{ asked bool }

func (l *vectorLookups) unsure() (unsure bool) {
	unsure, l.asked = l.asked, false
	return unsure
}

func (l *vectorLookups) Country(ip string) (string, bool) {
	code, ok := map[string]string{
		"24.18.183.148": "US", "8.8.8.8": "US", "1.1.1.1": "US", "115.240.90.163": "IN", "2.125.160.216": "GB",
	}[ip]
	if a, err := netip.ParseAddr(ip); !ok && err == nil && !a.IsPrivate() && !a.IsLoopback() {
		l.asked = true
	}
	return code, ok
}

// ParseUserAgent looks for a token that tells the browser, and one that tells the
// system.
func (l *vectorLookups) ParseUserAgent(agent string) (ua eval.UserAgent) {
	l.asked = l.asked || !slices.Contains(vectorAgents, agent)
	for _, b := range []struct{ token, name, version string }{
		{"Edg/", "Edge", ""}, {"OPR/", "Opera", ""}, {"Trident/", "IE", "11.0"},
		{"Firefox/", "Firefox", ""}, {"Chrome/", "Chrome", ""}, {"Version/", "Safari", ""}, {"curl/", "curl", ""},
	} {
		_, rest, ok := strings.Cut(agent, b.token)
		if !ok {
			continue
		}
		version, _, _ := strings.Cut(rest, " ")
		parts := strings.Split(version, ".")
		ua.Browser, ua.BrowserVersion = b.name, strings.Join(parts[:min(3, len(parts))], ".")
		if b.version != "" {
			ua.BrowserVersion = b.version
		}
		break
	}
	if strings.Contains(agent, "Mobile") {
		switch ua.Browser {
		case "Safari":
			ua.Browser = "Mobile Safari"
		case "Chrome", "Firefox":
			ua.Browser += " Mobile"
		}
	}
	for _, s := range []struct{ token, name string }{
		{"Windows NT ", "Windows"}, {"iPhone OS ", "iOS"}, {"CPU OS ", "iOS"}, {"Android ", "Android"},
		{"Intel Mac OS X ", "Mac OS X"}, {"Linux", "Linux"},
	} {
		if _, rest, ok := strings.Cut(agent, s.token); ok {
			version := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789._"))]
			ua.OS, ua.OSVersion = s.name, strings.ReplaceAll(version, "_", ".")
			break
		}
	}
	return ua
}

var vectorAgents = []string{
	"Mozilla/5.0 (Android 13; Mobile; rv:121.0) Gecko/121.0 Firefox/121.0",
	"Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.1 Safari/605.1.15",
	"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36 OPR/105.0.0.0",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.61",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.71 Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0.4844.51 Safari/537.36",
	"Mozilla/5.0 (iPad; CPU OS 14_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.0.3 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 16_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.2 Mobile/15E148 Safari/604.1",
	"curl/8.1.2",
	"target",
}
