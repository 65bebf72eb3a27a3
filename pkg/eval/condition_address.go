package eval

import (
	"net/netip"
	"slices"
)

// networks passes addresses within some of the target's ranges, or with negate
// within none: single addresses and CIDR prefixes, IPv4 and IPv6.
type networks struct {
	prefixes []netip.Prefix
	negate   bool
}

// newNetworks reads the ranges; what is no range is left out, as what is no
// address is in none.
func newNetworks(negate bool) operator {
	return func(target any) (test, error) {
		elements, ok := texts(target)
		if !ok {
			return constant(negate), nil
		}
		t := &networks{negate: negate}
		for _, e := range elements {
			p, err := netip.ParsePrefix(e)
			if err != nil {
				a, err := netip.ParseAddr(e)
				if err != nil {
					continue
				}
				p = netip.PrefixFrom(a, a.BitLen())
			}
			t.prefixes = append(t.prefixes, p.Masked())
		}
		return t, nil
	}
}

func (t *networks) match(v value) bool {
	if v.kind != text || len(v.text) > 64 {
		return t.negate
	}
	a, err := netip.ParseAddr(v.text)
	if err != nil {
		return t.negate
	}
	a = a.Unmap().WithZone("")
	in := slices.ContainsFunc(t.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	return in != t.negate
}
