package lookup

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Countries finds the country of an address in a file in MaxMind's format, such
// as GeoLite2-Country.
type Countries struct {
	db *maxminddb.Reader
}

var _ eval.CountryLookup = (*Countries)(nil)

// OpenCountries maps the file into memory.
func OpenCountries(file string) (*Countries, error) {
	db, err := maxminddb.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the country table %s: %w; want a file in MaxMind's format, such as GeoLite2-Country.mmdb", file, err)
	}
	c := &Countries{db: db}
	// A file about something else would silently answer "unknown" for ever.
	for network := range db.Networks() {
		if _, ok := country(network); ok {
			return c, nil
		}
	}
	kind := db.Metadata.DatabaseType
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("closing the country table %s: %w", file, err)
	}
	return nil, fmt.Errorf("opening the country table %s: it is of the type %q and knows no countries; want one such as GeoLite2-Country.mmdb", file, kind)
}

// Close unmaps the file. Nothing may be asked afterwards.
func (c *Countries) Close() error { return c.db.Close() }

// Country implements [eval.CountryLookup]: IPv4 only, as SDKs that evaluate in
// process know no other table.
func (c *Countries) Country(ip string) (string, bool) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "", false
	}
	if addr = addr.Unmap(); !addr.Is4() {
		return "", false
	}
	return country(c.db.Lookup(addr))
}

// country reads where an address is used, or else where it is registered.
func country(r maxminddb.Result) (string, bool) {
	for _, member := range []string{"country", "registered_country"} {
		var code string
		if err := r.DecodePath(&code, member, "iso_code"); err == nil && code != "" {
			return code, true
		}
	}
	return "", false
}
