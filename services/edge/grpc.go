package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/sluice-flags/sluice/internal/web"
)

// GRPC are the settings of the listener from which SDKs stream rules; embed it
// with the prefix grpc-.
type GRPC struct {
	Listen     string `help:"Address that SDKs stream rules from, as from a Statsig forward proxy; empty for none." placeholder:"HOST:PORT"`
	MaxStreams int    `help:"Streams of rules that are held at once; more are refused." default:"10000"`
	Cert       string `help:"Certificate of that address, in PEM; without one it speaks plain text." type:"existingfile" placeholder:"FILE"`
	Key        string `help:"Private key of the certificate, in PEM." type:"existingfile" placeholder:"FILE"`
	ClientCA   string `name:"client-ca" help:"Certificates that vouch for clients, in PEM; with them, nobody else is let in." type:"existingfile" placeholder:"FILE"`
}

// Open opens the address, so that one in use is known before anything else has
// begun. Without an address it returns nil.
func (g GRPC) Open() (net.Listener, error) {
	secure, err := g.tls()
	if err != nil || g.Listen == "" {
		return nil, err
	}
	l, err := web.Open(g.Listen)
	if err != nil {
		return nil, fmt.Errorf("--grpc-listen (SLUICE_GRPC_LISTEN): %w", err)
	}
	if secure == nil {
		return l, nil
	}
	return tls.NewListener(l, secure), nil
}

// tls is nil for plain text.
func (g GRPC) tls() (*tls.Config, error) {
	switch {
	case g.Cert == "" && g.Key == "" && g.ClientCA == "":
		return nil, nil
	case g.Cert == "" || g.Key == "":
		return nil, errors.New("TLS for gRPC needs both --grpc-cert and --grpc-key")
	}
	pair, err := tls.LoadX509KeyPair(g.Cert, g.Key)
	if err != nil {
		return nil, fmt.Errorf("--grpc-cert and --grpc-key: %w", err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	if g.ClientCA == "" {
		return secure, nil
	}
	raw, err := os.ReadFile(g.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("--grpc-client-ca: %w", err)
	}
	secure.ClientCAs, secure.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !secure.ClientCAs.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("--grpc-client-ca: %s holds no certificate in PEM", g.ClientCA)
	}
	return secure, nil
}

// RunGRPC streams rules to SDKs on l until ctx is done. Without a listener it
// serves nobody.
func (s *Service) RunGRPC(ctx context.Context, l net.Listener) error {
	if l == nil {
		<-ctx.Done()
		return nil
	}
	return s.streams.Run(ctx, l)
}
