package edge

import "testing"

func TestThePublicURLIsAnAddressThatPathsCanBePutBehind(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"https://flags.example":             "https://flags.example",
		"https://flags.example/":            "https://flags.example",
		"http://flags.example:8443/a b/":    "http://flags.example:8443/a%20b",
		"https://shop.example/flags/%C3%A4": "https://shop.example/flags/%C3%A4",
	} {
		if got, err := parsePublicURL(text); err != nil || got != want {
			t.Errorf("parsePublicURL(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"flags.example", "/flags", "ftp://flags.example", "https://flags.example/?x=1", "https://me@flags.example", "//flags.example", "http://%zz", "https://flags.example/#x"} {
		if got, err := parsePublicURL(text); err == nil {
			t.Errorf("parsePublicURL(%q) = %q, nil; want an error", text, got)
		}
	}
}
