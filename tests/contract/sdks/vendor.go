package sdks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// VendorCDN is where SDKs of the vendor ask for rules when nothing else answers,
// some of them whatever their settings.
const VendorCDN = "api.statsigcdn.com"

// A Vendor stands where SDKs look for the hosts of their maker, which they do for
// some purposes whatever their settings. It remembers what they looked for, and
// lets nobody through but to a stand-in.
type Vendor struct {
	url, authority string
	certificate    tls.Certificate

	mu      sync.Mutex
	asked   map[string]bool
	standIn http.Handler // for VendorCDN
}

// Vendor returns the vendor of all SDKs in the lab that are driven in Python.
func (l *Lab) Vendor() *Vendor {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vendor != nil {
		return l.vendor
	}
	v := &Vendor{asked: map[string]bool{}}
	v.certify(l.t)
	server := httptest.NewServer(v)
	l.t.Cleanup(server.Close)
	v.url, l.vendor = server.URL, v
	return v
}

// certify makes a certificate for the vendor's host, and the file by which
// programs trust it.
func (v *Vendor) certify(t testing.TB) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{VendorCDN}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	v.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	v.authority = filepath.Join(t.TempDir(), "vendor.pem")
	if err := os.WriteFile(v.authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ServeHTTP takes the requests of SDKs to be let through to a host.
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.asked[r.Host] = true
	standIn := v.standIn
	v.mu.Unlock()
	if standIn == nil || r.Method != http.MethodConnect || r.Host != VendorCDN+":443" {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	raw, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the SDK has gone
	}
	if _, err := raw.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
		_ = raw.Close() // as above
		return
	}
	conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{v.certificate}, MinVersion: tls.VersionTLS12})
	_ = http.Serve(&one{Conn: conn}, standIn) //nolint:gosec // a test's connection; it ends with io.EOF of the listener
}

// one is a listener that has one connection.
type one struct {
	net.Conn
	taken bool
}

// Accept implements [net.Listener].
func (o *one) Accept() (net.Conn, error) {
	if o.taken {
		return nil, net.ErrClosed
	}
	o.taken = true
	return o.Conn, nil
}

// Close implements [net.Listener]: the connection outlives it.
func (o *one) Close() error { return nil }

// Addr implements [net.Listener].
func (o *one) Addr() net.Addr { return o.LocalAddr() }

// StandIn lets SDKs through to the vendor's host for rules, where h answers; nil
// ends that.
func (v *Vendor) StandIn(h http.Handler) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.standIn = h
}

// URL is the address of the vendor, to be set as HTTPS_PROXY.
func (v *Vendor) URL() string { return v.url }

// Authority is the file with the certificate that the vendor's host shows.
func (v *Vendor) Authority() string { return v.authority }

// Asked reports whether somebody looked for a host, given with its port.
func (v *Vendor) Asked(host string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked[host]
}
