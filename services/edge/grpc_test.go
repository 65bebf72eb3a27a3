package edge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/services/edge"
)

// pemFiles makes a certificate that vouches for itself, and returns the names of
// the two files.
func pemFiles(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, raw []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", raw), write("key.pem", "PRIVATE KEY", rawKey)
}

func TestGRPCSettingsThatCannotWorkAreRefused(t *testing.T) {
	cert, key := pemFiles(t)
	const address = "127.0.0.1:0"
	for _, c := range []struct {
		name     string
		settings edge.GRPC
		want     string
	}{
		{"a certificate alone", edge.GRPC{Listen: address, Cert: cert}, "both --grpc-cert and --grpc-key"},
		{"clients without a certificate of ours", edge.GRPC{Listen: address, ClientCA: cert}, "both --grpc-cert and --grpc-key"},
		{"the files exchanged", edge.GRPC{Listen: address, Cert: key, Key: cert}, "--grpc-cert and --grpc-key: "},
		{"a key for a certificate", edge.GRPC{Listen: address, Cert: cert, Key: key, ClientCA: key}, "holds no certificate"},
		{"no address", edge.GRPC{Listen: "nowhere"}, "listening on nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if l, err := c.settings.Open(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open() = %v, %v; want an error that says %q", l, err, c.want)
			}
		})
	}
	if l, err := (edge.GRPC{}).Open(); l != nil || err != nil {
		t.Errorf("Open() without an address = %v, %v; want nothing", l, err)
	}
}

func TestGRPCOverTLSLetsInWhomTheCertificatesVouchFor(t *testing.T) {
	cert, key := pemFiles(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, startNATS(t), "")
	l, err := edge.GRPC{Listen: "127.0.0.1:0", Cert: cert, Key: key, ClientCA: cert}.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := e.RunGRPC(ctx, l); err != nil {
			t.Errorf("RunGRPC() = %v", err)
		}
	})
	t.Cleanup(func() { stop(); serving.Wait() })

	greet := func(certificates ...tls.Certificate) error {
		roots := x509.NewCertPool()
		raw, err := os.ReadFile(cert)
		if err != nil || !roots.AppendCertsFromPEM(raw) {
			t.Fatal("the certificate cannot be read:", err)
		}
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, Certificates: certificates, NextProtos: []string{"h2"}})
		if err != nil {
			return err
		}
		defer c.Close()
		if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("the listener speaks %q; want h2", got)
		}
		_, err = c.Read(make([]byte, 1)) // settings of HTTP/2, or the refusal
		return err
	}
	if err := greet(pair); err != nil {
		t.Errorf("a client with a certificate = %v; want to be let in", err)
	}
	if err := greet(); err == nil {
		t.Error("a client without a certificate was let in")
	}
}
