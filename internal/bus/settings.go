package bus

import "log/slog"

// Settings are the flags with which a program is told where NATS is; embed them
// with the prefix "nats-".
type Settings struct {
	URL         string `help:"Addresses of NATS, separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	Credentials string `help:"File with the NATS user's credentials." type:"existingfile" placeholder:"FILE"`
	CA          string `name:"ca" help:"File with the authorities that NATS is trusted by (PEM)." type:"existingfile" placeholder:"FILE"`
	Cert        string `help:"File with our certificate (PEM)." type:"existingfile" placeholder:"FILE"`
	Key         string `help:"File with that certificate's key (PEM)." type:"existingfile" placeholder:"FILE"`
	Inbox       string `help:"What the subjects of NATS's answers begin with, where a user may hear no others." default:"_INBOX" placeholder:"SUBJECT"`
}

// Config is what the settings mean, for a connection of the given name.
func (s Settings) Config(name string, logger *slog.Logger) Config {
	return Config{URL: s.URL, Credentials: s.Credentials, CA: s.CA, Cert: s.Cert, Key: s.Key, InboxPrefix: s.Inbox, Name: name, Logger: logger}
}
