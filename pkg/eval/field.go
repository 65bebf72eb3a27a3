package eval

import "strings"

// property is a top-level property of a user.
type property uint8

const (
	noProperty property = iota
	userID
	email
	ip
	userAgent
	country
	locale
	appVersion
)

var properties = map[string]property{
	"userid": userID, "email": email, "ip": ip, "useragent": userAgent,
	"country": country, "locale": locale, "appversion": appVersion,
}

// aliases are read after the maps, which may hold the same key.
var aliases = map[string]property{
	"user_id": userID, "user_agent": userAgent, "app_version": appVersion,
}

func (p property) of(u *User) string {
	switch p {
	case userID:
		return u.UserID
	case email:
		return u.Email
	case ip:
		return u.IP
	case userAgent:
		return u.UserAgent
	case country:
		return u.Country
	case locale:
		return u.Locale
	case appVersion:
		return u.AppVersion
	}
	return ""
}

// facet is a part of a parsed user agent.
type facet uint8

const (
	noFacet facet = iota
	browserName
	browserVersion
	osName
	osVersion
)

var facets = map[string]facet{
	"browser_name": browserName, "browsername": browserName,
	"browser_version": browserVersion, "browserversion": browserVersion,
	"os_name": osName, "osname": osName,
	"os_version": osVersion, "osversion": osVersion,
}

func (f facet) of(a UserAgent) string {
	switch f {
	case browserName:
		return a.Browser
	case browserVersion:
		return a.BrowserVersion
	case osName:
		return a.OS
	case osVersion:
		return a.OSVersion
	}
	return ""
}

// A field is a compiled field name.
type field struct {
	exact, lower string
	property     property
	alias        property
	facet        facet
}

func newField(name string, s source) field {
	f := field{exact: name, lower: strings.ToLower(name)}
	f.property = properties[f.lower]
	f.alias = aliases[f.lower]
	if s == fromAgent {
		f.facet = facets[f.lower]
	}
	return f
}

// A fieldName is what a field is compiled from.
type fieldName struct {
	name   string
	source source
}

// field returns the compiled field of a name. Conditions on the same field share
// one, and so the value that was read for it last.
func (b *builder) field(name string, s source) *field {
	k := fieldName{name, s}
	f, ok := b.fields[k]
	if !ok {
		f = new(newField(name, s))
		b.fields[k] = f
	}
	return f
}

// of reads the field: the user's own property unless empty, then custom, then
// private attributes, each under the exact and then the lower-case name.
func (f *field) of(u *User) (value, items) {
	if f.property != noProperty {
		if s := f.property.of(u); s != "" {
			return textValue(s), nil
		}
	}
	if v, ok := f.in(u.Custom); ok {
		return valueOf(v)
	}
	if v, ok := f.in(u.PrivateAttributes); ok {
		return valueOf(v)
	}
	if f.alias != noProperty {
		return present(f.alias.of(u)), nil
	}
	return value{}, nil
}

// in looks the field up in a map. Null is a value too: it hides what comes after.
func (f *field) in(m map[string]any) (any, bool) {
	if len(m) == 0 {
		return nil, false
	}
	v, ok := m[f.exact]
	if !ok && f.lower != f.exact {
		v, ok = m[f.lower]
	}
	return v, ok
}

// ofEnvironment reads the field of an environment, exact or lower-cased.
func (f *field) ofEnvironment(env map[string]string) (string, bool) {
	if s, ok := env[f.exact]; ok {
		return s, true
	}
	s, ok := env[f.lower]
	return s, ok
}
