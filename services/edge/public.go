package edge

import (
	"fmt"
	"net/url"
	"strings"
)

// parsePublicURL reads the address that an operator gave and returns it without a
// slash at its end, for paths to be put behind it; empty stays empty.
func parsePublicURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "", nil
	case err != nil:
		return "", fmt.Errorf("public URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("public URL %q: want https://flags.example, or https://shop.example/flags behind a proxy that takes the path away", text)
	}
	return strings.TrimRight(u.String(), "/"), nil
}
