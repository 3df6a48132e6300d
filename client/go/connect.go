package finetune

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// Version of this client.
const Version = "0.1.0"

// serviceConfig is what the gateway recommends to all clients; a test compares them.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [
      {"service": "segmind.finetune.v1.FineTuneService", "method": "CreateFineTune"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "GetFineTune"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "ListFineTunes"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "WaitFineTune"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "CreateUploadUrl"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "GetGatewayStatus"}
    ],
    "waitForReady": true,
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
    }
  }, {
    "name": [{"service": "segmind.finetune.v1.FineTuneService", "method": "UpdateFineTune"}],
    "waitForReady": true,
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["CANCELLED"]
    }
  }],
  "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1}
}`

// Options say how a gateway is reached. The paths are of PEM files and of a file with a bearer token; all are reread when they
// change.
type Options struct {
	// TLS with the system's authorities. Implied by TLSCA and TLSCert.
	TLS bool
	// TLSCA has the authorities to trust instead of the system's.
	TLSCA string
	// TLSCert and TLSKey are the client's own.
	TLSCert, TLSKey string
	// TLSServerName is the name in the gateway's certificate, if it is not the one that is dialled.
	TLSServerName string
	// TokenFile is sent as `authorization: Bearer …`.
	TokenFile string
	// AllowInsecureToken sends the token without encryption beyond this machine, too.
	AllowInsecureToken bool
	// ConnectTimeout is after how long a transfer or a wait gives up a gateway that cannot be reached: 30 s if zero. Other calls have
	// their context's deadline, or Timeout.
	ConnectTimeout time.Duration
	// Timeout is that of calls whose context has no deadline, but of transfers, waits and watches: 30 s if zero.
	Timeout time.Duration
	// DialOptions are added to the client's own.
	DialOptions []grpc.DialOption
}

func (o Options) secure() bool { return o.TLS || o.TLSCA != "" || o.TLSCert != "" }

// Client is one gateway. Safe for concurrent use.
type Client struct {
	target  string
	options Options
	tls     *watchedFiles[*tls.Config]
	token   *watchedFiles[string]
	closing context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	conn    *connection
	version int
	watch   *sharedWatch
	threads sync.WaitGroup
}

// connection is a gRPC connection and how many calls use it: one whose credentials are outdated ends with its last call.
type connection struct {
	*grpc.ClientConn
	calls   int
	retired bool
	// reached says that there was a connection once.
	reached atomic.Bool
}

// Connect makes a client of the gateway at target: HOST:PORT, or a gRPC name such as dns:///finetune-gateway:50051. It fails for
// options that cannot work. It does not connect: the first call does, and waits for a gateway that is away until its time is up.
func Connect(target string, options Options) (*Client, error) {
	if err := checkTarget(target, options); err != nil {
		return nil, err
	}
	c := &Client{target: target, options: options}
	paths := map[string]string{}
	for what, path := range map[string]string{caFile: options.TLSCA, certificateFile: options.TLSCert, keyFile: options.TLSKey} {
		if path != "" {
			paths[what] = path
		}
	}
	var err error
	if c.tls, err = watchFiles(paths, parseTLS(options.TLSServerName)); err != nil {
		return nil, err
	}
	if options.TokenFile != "" {
		if c.token, err = watchFiles(map[string]string{tokenFile: options.TokenFile}, parseToken); err != nil {
			return nil, err
		}
	}
	c.closing, c.close = context.WithCancel(context.Background())
	return c, nil
}

func checkTarget(target string, options Options) error {
	switch {
	case target == "":
		return errors.New("the gateway's address is empty")
	case strings.HasPrefix(strings.ToLower(target), "http://"), strings.HasPrefix(strings.ToLower(target), "https://"):
		return errors.New("the gateway's address is HOST:PORT, without http:// or https://")
	case !hasPort(target):
		return fmt.Errorf("the gateway's address is HOST:PORT, and %q has no port", target)
	case (options.TLSCert == "") != (options.TLSKey == ""):
		return errors.New("a TLS certificate needs its key, and a key its certificate")
	case options.TokenFile != "" && !options.secure() && !options.AllowInsecureToken && !isLoopback(target):
		return fmt.Errorf("the token would be sent to %s without encryption: use TLS", target)
	}
	return nil
}

var scheme = regexp.MustCompile(`^(dns:(//[^/]*/)?|ipv4:|ipv6:|passthrough:///)`)

// isLoopback says whether what is sent there stays on this machine.
func isLoopback(target string) bool {
	host := scheme.ReplaceAllString(target, "")
	if strings.HasPrefix(host, "unix:") || strings.HasPrefix(host, "unix-abstract:") {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Close ends all watches, all calls under way, and the connection.
func (c *Client) Close() error {
	c.close()
	c.threads.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.ClientConn.Close()
		c.conn = nil
	}
	return nil
}

// acquire gives a connection whose credentials are current; call the function after the call has ended.
func (c *Client) acquire() (*connection, func(), error) {
	config, version := c.tls.value()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		return nil, nil, ErrClosed
	}
	if c.conn == nil || version != c.version {
		made, err := c.dial(config)
		if err != nil {
			return nil, nil, err
		}
		if old := c.conn; old != nil {
			old.retired = true
			old.closeIfUnused()
		}
		c.conn, c.version = &connection{ClientConn: made}, version
	}
	conn := c.conn
	conn.calls++
	return conn, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		conn.calls--
		conn.closeIfUnused()
	}, nil
}

func (c *connection) closeIfUnused() {
	if c.retired && c.calls == 0 {
		c.ClientConn.Close()
	}
}

func (c *Client) dial(config *tls.Config) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if c.options.secure() {
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("finetune-gateway-client-go/" + Version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// A gateway that is back is found soon.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second}),
		grpc.WithIdleTimeout(0),
	}
	if isLoopback(c.target) {
		options = append(options, grpc.WithNoProxy())
	}
	return grpc.NewClient(c.target, append(options, c.options.DialOptions...)...)
}

// outgoing is the context of one call: with the token, and ended when the client is closed.
func (c *Client) outgoing(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.token != nil {
		token, _ := c.token.value()
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.closing, cancel)
	return ctx, func() { stop(); cancel() }
}

// call makes one call with a typed error.
func call[Q, A any](ctx context.Context, c *Client,
	method func(pb.FineTuneServiceClient, context.Context, Q, ...grpc.CallOption) (A, error), request Q) (A, error) {
	var none A
	if _, ok := ctx.Deadline(); !ok {
		limit := c.options.Timeout
		if limit <= 0 {
			limit = 30 * time.Second
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	conn, release, err := c.acquire()
	if err != nil {
		return none, err
	}
	defer release()
	out, cancel := c.outgoing(ctx)
	defer cancel()
	began := time.Now()
	answer, err := method(pb.NewFineTuneServiceClient(conn), out, request, grpc.WaitForReady(true))
	err = c.failure(ctx, err)
	var failed *Error
	if err == nil {
		conn.reached.Store(true)
	} else if errors.As(err, &failed) && failed.mayBeOutOfReach() && !conn.reached.Load() {
		took := time.Since(began)
		if why := c.whyUnreachable(); why != "" {
			failed.Message = c.couldNotConnect(took, why)
		}
	}
	return answer, err
}

// reach waits for a connection, unless there was one before.
func (c *Client) reach(ctx context.Context) error {
	conn, release, err := c.acquire()
	if err != nil {
		return err
	}
	defer release()
	if conn.reached.Load() {
		return nil
	}
	return c.ready(ctx, conn)
}

// failure is the typed error of a call; ErrClosed if it failed because the client was closed.
func (c *Client) failure(ctx context.Context, err error) error {
	if err != nil && c.closing.Err() != nil && ctx.Err() == nil {
		return ErrClosed
	}
	return typed(err)
}
