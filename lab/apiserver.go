package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// checkAPIReady requests the API server's /readyz.
func (l *Lab) checkAPIReady(ctx context.Context) error {
	_, err := l.getAPI(ctx, "/readyz")
	return err
}

// getAPI reads a path of the API as administrator.
func (l *Lab) getAPI(ctx context.Context, path string) ([]byte, error) {
	ca, err := os.ReadFile(l.dir.PKI("kube-ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("kube-ca.crt: no certificate")
	}
	pair, err := tls.LoadX509KeyPair(l.dir.PKI("admin.crt"), l.dir.PKI("admin.key"))
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return l.Dial(ctx, Infra, network, addr)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+APIAddr+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.300s", path, resp.Status, b)
	}
	return b, err
}
