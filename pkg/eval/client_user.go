package eval

import (
	"encoding/json"
	"slices"
)

// appendUser appends the user as clients get it back: without private attributes.
func appendUser(dst []byte, u *User) []byte {
	o := objectWriter{dst: append(dst, '{')}
	o.text("userID", u.UserID)
	o.text("email", u.Email)
	o.text("ip", u.IP)
	o.text("userAgent", u.UserAgent)
	o.text("country", u.Country)
	o.text("locale", u.Locale)
	o.text("appVersion", u.AppVersion)
	if len(u.Custom) > 0 {
		o.name("custom")
		o.dst = appendMap(o.dst, u.Custom, appendAny)
	}
	o.texts("customIDs", u.CustomIDs)
	o.texts("statsigEnvironment", u.StatsigEnvironment)
	return append(o.dst, '}')
}

// appendKeys appends the unit ids by which the payload was decided.
func appendKeys(dst []byte, u *User) []byte {
	o := objectWriter{dst: append(dst, '{')}
	o.text("userID", u.UserID)
	o.texts("customIDs", u.CustomIDs)
	return append(o.dst, '}')
}

// An objectWriter appends members that are not empty.
type objectWriter struct {
	dst  []byte
	some bool
}

func (o *objectWriter) name(name string) {
	if o.some {
		o.dst = append(o.dst, ',')
	}
	o.some = true
	o.dst = append(appendQuoted(o.dst, name), ':')
}

func (o *objectWriter) text(name, s string) {
	if s != "" {
		o.name(name)
		o.dst = appendQuoted(o.dst, s)
	}
}

func (o *objectWriter) texts(name string, m map[string]string) {
	if len(m) > 0 {
		o.name(name)
		o.dst = appendMap(o.dst, m, appendQuoted)
	}
}

// appendMap appends a map by the order of its keys, so that equal users make
// equal bytes. Few keys need no memory of their own.
func appendMap[V any](dst []byte, m map[string]V, value func([]byte, V) []byte) []byte {
	var few [16]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = value(append(appendQuoted(dst, k), ':'), m[k])
	}
	return append(dst, '}')
}

// appendAny appends a value as encoding/json would; what that cannot is null.
func appendAny(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return appendQuoted(dst, v)
	case bool:
		if v {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case map[string]any:
		return appendMap(dst, v, appendAny)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendAny(dst, e)
		}
		return append(dst, ']')
	}
	b, err := json.Marshal(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}
