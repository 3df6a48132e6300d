package finetune

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
)

// patience is how long each step of the search for a cause may take.
const patience = 2 * time.Second

// errUnreachable marks the error of a call that has never had a connection: another attempt is not worth its time.
var errUnreachable = errors.New("the gateway is unreachable")

// hostAndPort is the address in a gRPC name; empty for what has none, as unix:/path.
func hostAndPort(target string) string {
	address, _, _ := strings.Cut(scheme.ReplaceAllString(target, ""), ",")
	host, port, err := net.SplitHostPort(address)
	if number, portErr := net.LookupPort("tcp", port); err != nil || portErr != nil || host == "" || strings.Contains(host, "/") || number == 0 {
		return ""
	}
	return address
}

// otherKind matches names that need no port.
var otherKind = regexp.MustCompile(`^(unix|unix-abstract|vsock):|^[a-z][a-z0-9+.-]*://`)

func hasPort(target string) bool {
	return hostAndPort(target) != "" || (!scheme.MatchString(target) && otherKind.MatchString(target))
}

// ready waits for a connection; an *Error that wraps errUnreachable if none comes about in time.
func (c *Client) ready(ctx context.Context, conn *connection) error {
	limit := c.options.ConnectTimeout
	if limit <= 0 {
		limit = 30 * time.Second
	}
	began := time.Now()
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.Idle {
			conn.Connect()
		}
		if conn.WaitForStateChange(waiting, state) {
			continue
		}
		switch {
		case c.closing.Err() != nil:
			return ErrClosed
		case errors.Is(ctx.Err(), context.Canceled):
			return &Error{Code: codes.Canceled, Message: "the call was cancelled", cause: ctx.Err()}
		}
		return &Error{Code: codes.Unavailable, Message: c.couldNotConnect(time.Since(began), c.whyUnreachable()), cause: errUnreachable}
	}
	conn.reached.Store(true)
	return nil
}

func (c *Client) couldNotConnect(after time.Duration, why string) string {
	message := fmt.Sprintf("could not connect to %s in %.3g s", c.target, after.Seconds())
	if why != "" {
		message += ": " + why
	}
	return message
}

// whyUnreachable is half a sentence about why no call gets through; empty if nothing is wrong that can be seen from here. It connects once more, and
// takes seconds at most.
func (c *Client) whyUnreachable() string {
	address := hostAndPort(c.target)
	if address == "" {
		return ""
	}
	if !isLoopback(c.target) {
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}}); err == nil && proxy != nil {
			return fmt.Sprintf("the way there is the proxy %s; is it the proxy's to connect there? If not, name the host in no_proxy", proxy.Host)
		}
	}
	stream, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return whyNoConnection(address, err)
	}
	defer stream.Close()
	stream.SetDeadline(time.Now().Add(patience))
	if c.options.secure() {
		config, _ := c.tls.value()
		return c.whyNoTLS(stream, address, config.Clone())
	}
	return whyNotPlain(stream, address)
}

func whyNoConnection(address string, err error) string {
	var unknown *net.DNSError
	var late net.Error
	switch {
	case errors.As(err, &unknown):
		host, _, _ := net.SplitHostPort(address)
		return "there is no host " + host
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused; is the gateway running there?"
	case errors.As(err, &late) && late.Timeout():
		return "no answer"
	}
	return err.Error()
}

func (c *Client) whyNoTLS(stream net.Conn, address string, config *tls.Config) string {
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	config.NextProtos = []string{"h2"}
	wanted := false
	own := config.Certificates
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		wanted = true
		if len(own) > 0 {
			return &own[0], nil
		}
		return &tls.Certificate{}, nil
	}
	encrypted := tls.Client(stream, config)
	err := encrypted.Handshake()
	if err == nil {
		// An HTTP/2 server speaks first. A client's certificate that it does not like it refuses only now.
		if _, err = encrypted.Read(make([]byte, 1)); err == nil {
			return ""
		}
	}
	var late net.Error
	var noAuthority x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &noAuthority):
		if c.options.TLSCA != "" {
			return "its certificate is not signed by an authority in " + c.options.TLSCA
		}
		return "its certificate is not signed by an authority that this system trusts; give its authority as TLSCA"
	case errors.As(err, &otherName):
		return fmt.Sprintf("its certificate is not for %s; call it by a name that the certificate has", config.ServerName)
	case errors.As(err, &invalid):
		return "its certificate is not valid: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	case wanted && len(own) > 0:
		return "it does not accept the certificate " + c.options.TLSCert
	case wanted:
		return "it asks for a client certificate; give yours as TLSCert and TLSKey"
	case errors.As(err, &late) && late.Timeout():
		return "what is there does not answer; is it the right port?"
	}
	return "what is there does not speak TLS; is it the right port, and is the gateway one with TLS?"
}

func whyNotPlain(stream net.Conn, address string) string {
	encrypted := tls.Client(stream, &tls.Config{InsecureSkipVerify: true})
	err := encrypted.Handshake()
	var alert tls.AlertError
	if err == nil || errors.As(err, &alert) {
		return "it speaks TLS; give the authority of its certificate as TLSCA, or TLS: true"
	}
	again, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return ""
	}
	defer again.Close()
	again.SetDeadline(time.Now().Add(patience))
	io.WriteString(again, "GET / HTTP/1.0\r\n\r\n")
	answer := make([]byte, 5)
	if _, err := io.ReadFull(again, answer); err == nil && bytes.Equal(answer, []byte("HTTP/")) {
		return "what is there speaks HTTP, not gRPC; is it the right port?"
	}
	return ""
}
