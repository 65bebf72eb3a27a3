package containers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluice-flags/sluice/internal/bus"
)

// A broker is a NATS that knows the users of nats-users.conf and nobody else.
type broker struct{ addr string }

// password is everybody's.
const password = "not-a-secret"

func restrictedNATS(t *testing.T) *broker {
	t.Helper()
	for service := range services {
		t.Setenv("SLUICE_NATS_"+strings.ToUpper(service)+"_PASSWORD", password)
	}
	options, err := server.ProcessConfigFile(filepath.Join(composeDir(t), "nats-users.conf"))
	if err != nil {
		t.Fatalf("the server does not take nats-users.conf: %v", err)
	}
	options.Host, options.Port, options.NoSigs = "127.0.0.1", server.RANDOM_PORT, true
	options.JetStream, options.StoreDir, options.SyncAlways, options.SyncInterval = true, t.TempDir(), true, time.Minute
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(arriveWithin) {
		t.Fatalf("NATS takes no connections within %v", arriveWithin)
	}
	return &broker{addr: s.Addr().String()}
}

func (b *broker) url(user string) string {
	return (&url.URL{Scheme: "nats", User: url.UserPassword(user, password), Host: b.addr}).String()
}

// checkPermissions shows that the services met no refusal in their work, and that
// whoever takes the place of one is refused everything else.
func (s *site) checkPermissions() {
	t := s.t
	t.Helper()
	for service, output := range s.output {
		for line := range strings.Lines(output()) {
			if strings.Contains(strings.ToLower(line), "permissions violation") {
				t.Errorf("%s was refused what it needs: %s", service, line)
			}
		}
	}
	definitions := bus.FlagsStream("shop")
	forAll := []string{
		"$JS.API.STREAM.DELETE." + definitions, "$JS.API.STREAM.PURGE." + definitions, "$JS.API.STREAM.UPDATE." + definitions,
		"$JS.API.STREAM.MSG.DELETE." + definitions, "$JS.API.STREAM.DELETE." + bus.FactsStream, "$JS.API.STREAM.UPDATE." + bus.FactsStream,
		"$JS.API.STREAM.RESTORE." + definitions, "$JS.API.STREAM.PURGE." + bus.HeadsStream, "anything",
	}
	for user, publish := range map[string][]string{
		"control": {bus.FactsSubject("shop", "batch", 0), bus.PlansSubject(0), "$JS.API.STREAM.PURGE." + bus.FactsStream},
		"edge":    {"flags.shop.gate.gate_x", bus.HeadSubject("shop"), bus.PlansSubject(0), "$JS.API.STREAM.CREATE." + definitions, "$JS.API.STREAM.PURGE." + bus.FactsStream},
		"ingest":  {"flags.shop.gate.gate_x", bus.HeadSubject("shop"), "$JS.API.STREAM.CREATE." + definitions},
	} {
		refused := s.trying(user)
		for _, subject := range append(publish, forAll...) {
			if err := refused(func(c *nats.Conn) error { return c.Publish(subject, []byte("{}")) }); err == nil || !strings.Contains(err.Error(), `Publish to "`+subject+`"`) {
				t.Errorf("%s publishes to %s: %v; want a refusal", user, subject, err)
			}
		}
		for _, subject := range []string{"_INBOX.>", "_INBOX_another.>", "facts.>", "flags.>"} {
			err := refused(func(c *nats.Conn) error { _, err := c.SubscribeSync(subject); return err })
			if err == nil || !strings.Contains(err.Error(), `Subscription to "`+subject+`"`) {
				t.Errorf("%s listens to %s: %v; want a refusal", user, subject, err)
			}
		}
	}
	claims := "$JS.API.STREAM.MSG.DELETE." + bus.ClaimsStream
	if err := s.trying("edge")(func(c *nats.Conn) error { return c.Publish(claims, []byte("{}")) }); err != nil {
		t.Errorf("edge publishes to %s: %v; want it to give claims back", claims, err)
	}
	for _, address := range []string{"nats://" + s.nats.addr, s.nats.url("somebody")} {
		if c, err := nats.Connect(address); !errors.Is(err, nats.ErrAuthorization) {
			c.Close()
			t.Errorf("Connect without a user that there is = %v; want %v", err, nats.ErrAuthorization)
		}
	}
}

// trying connects as a user, and returns what does something and waits for what
// the server says of it: nil if nothing.
func (s *site) trying(user string) func(do func(*nats.Conn) error) error {
	t := s.t
	t.Helper()
	said := make(chan error, 1)
	c, err := nats.Connect(s.nats.url(user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { said <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return func(do func(*nats.Conn) error) error {
		if err := do(c); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), arriveWithin)
		defer cancel()
		if err := c.FlushWithContext(ctx); err != nil { // the server has read it, and answered before
			return fmt.Errorf("flushing: %w", err)
		}
		select {
		case err := <-said:
			return err
		case <-time.After(time.Second):
			return nil
		}
	}
}
