package eval

// A CountryLookup finds the country of an IPv4 address, as an ISO 3166 code of
// two letters. It is asked for rules on the country of users who name none.
type CountryLookup interface {
	Country(ip string) (code string, ok bool)
}

// A UserAgentParser reads a browser's user-agent header. It is asked for rules
// on browser and operating system, with agents of at most 1,000 bytes; it should
// remember what it has parsed, within bounds.
type UserAgentParser interface {
	ParseUserAgent(agent string) UserAgent
}

// A UserAgent is what a user-agent header says. Families are those of the
// uap-core tables ("Chrome Mobile", "Mac OS X"); empty means unknown.
type UserAgent struct {
	Browser        string
	BrowserVersion string
	OS             string
	OSVersion      string
}
