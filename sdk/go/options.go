package sluice

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// An Option changes how a client works.
type Option func(*options) error

// options are the settings of a client.
type options struct {
	edge, ingest *url.URL
	transport    *http.Transport
	logger       *slog.Logger

	initTimeout  time.Duration
	pollInterval time.Duration
	environment  string
	country      eval.CountryLookup
	userAgent    eval.UserAgentParser
	bootstrap    []byte
	store        Store
	local        bool

	silent        bool
	flushInterval time.Duration
	queueSize     int
	dedupeWindow  time.Duration
}

func defaults() options {
	base := &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	return options{
		edge: base, ingest: base,
		logger:      slog.New(slog.DiscardHandler),
		initTimeout: 3 * time.Second, pollInterval: 10 * time.Second,
		flushInterval: 5 * time.Second, queueSize: 10_000, dedupeWindow: time.Minute,
	}
}

// WithURL says where the platform is, such as "https://flags.example.com". The
// default is http://127.0.0.1:8080, where `sluice run` listens.
func WithURL(base string) Option {
	return func(o *options) (err error) {
		o.edge, err = parseBase(base)
		o.ingest = o.edge
		return err
	}
}

// WithIngestURL says where exposures and events go if that is another address
// than [WithURL]'s. It comes after WithURL.
func WithIngestURL(base string) Option {
	return func(o *options) (err error) {
		o.ingest, err = parseBase(base)
		return err
	}
}

func parseBase(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("base URL %q: want http:// or https:// and a host", base)
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), ""
	return u, nil
}

// WithTransport takes dialling, proxies and TLS from t, for HTTP and for the
// WebSocket. The client works on a copy.
func WithTransport(t *http.Transport) Option {
	return func(o *options) error {
		if t == nil {
			return errors.New("the transport is nil")
		}
		o.transport = t.Clone()
		return nil
	}
}

// WithLogger reports what happens to the client. It is silent by default.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errors.New("the logger is nil")
		}
		o.logger = l
		return nil
	}
}

// WithInitTimeout bounds how long [Client.Ready] waits, counted from [New]. The
// default is 3 s.
func WithInitTimeout(d time.Duration) Option {
	return func(o *options) error { o.initTimeout = d; return positive("init timeout", d) }
}

// WithPollInterval sets how often definitions are asked for while the WebSocket
// does not get through. The default is 10 s.
func WithPollInterval(d time.Duration) Option {
	return func(o *options) error { o.pollInterval = d; return positive("poll interval", d) }
}

// WithEnvironment sets the environment tier ("production", …) of users who name
// none. What a key may see does not depend on it.
func WithEnvironment(tier string) Option {
	return func(o *options) error { o.environment = tier; return nil }
}

// WithLookups answers rules on the country of an IP address and on the browser
// of a user agent, for users who say neither themselves. Either may be nil. An
// edge has its own: give the client the same tables to get the same answers.
func WithLookups(country eval.CountryLookup, userAgent eval.UserAgentParser) Option {
	return func(o *options) error { o.country, o.userAgent = country, userAgent; return nil }
}

// WithBootstrap gives the client definitions to begin with: the body of a spec
// download. They count until the first answer of an edge, and less than what
// the store holds.
func WithBootstrap(specs []byte) Option {
	return func(o *options) error { o.bootstrap = append([]byte{}, specs...); return nil } // what is decided by must not change
}

// WithStore keeps the last known state outside the process, so that a restart
// without network goes on where the last run ended.
func WithStore(s Store) Option {
	return func(o *options) error {
		if s == nil {
			return errors.New("the store is nil")
		}
		o.store = s
		return nil
	}
}

// WithLocalMode keeps the client off the network: it decides by bootstrap, store
// and overrides, logs nothing, and needs no key. Made for tests.
func WithLocalMode() Option {
	return func(o *options) error { o.local = true; return nil }
}

// WithoutLogging sends neither exposures nor events.
func WithoutLogging() Option {
	return func(o *options) error { o.silent = true; return nil }
}

// WithFlushInterval sets how long an exposure or event waits for company at
// most. The default is 5 s.
func WithFlushInterval(d time.Duration) Option {
	return func(o *options) error { o.flushInterval = d; return positive("flush interval", d) }
}

// WithQueueSize bounds how many exposures and events wait to be sent; what comes
// on top is dropped and counted. The default is 10,000.
func WithQueueSize(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return fmt.Errorf("queue size %d: want at least 1", n)
		}
		o.queueSize = n
		return nil
	}
}

// WithDedupeWindow sets for how long the same exposure of the same user is not
// repeated. The default is a minute.
func WithDedupeWindow(d time.Duration) Option {
	return func(o *options) error { o.dedupeWindow = d; return positive("dedupe window", d) }
}

func positive(what string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s %v: want more than nothing", what, d)
	}
	return nil
}
