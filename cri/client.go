package cri

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/host"
)

const (
	// dialTimeout limits one attempt to connect. A listening unix socket accepts at
	// once; only the full backlog of a runtime that hangs takes longer.
	dialTimeout = 2 * time.Second

	// maxMessage is the largest response that is read, the kubelet's own limit
	// (maxMsgSize in k8s.io/cri-client): a node with thousands of images lists them
	// in one message.
	maxMessage = 16 << 20
)

// Client speaks CRI v1 over one unix socket. It is safe for concurrent use.
//
// It connects at the first call, and again when the runtime was restarted or its
// socket replaced. While there is no socket, and up to a second after it is back,
// every call fails at once with codes.Unavailable. A container that mounts the
// socket must mount its directory: a mount of the socket itself keeps the old inode
// when the runtime makes a new one.
type Client struct {
	socket  *socket
	conn    *grpc.ClientConn
	runtime runtimeapi.RuntimeServiceClient
	image   runtimeapi.ImageServiceClient
}

// New returns a client of the socket that endpoint names, "unix:///path" or an
// absolute path. It does no I/O: if there is no socket, the first call fails.
func New(endpoint string) (*Client, error) {
	path, err := socketPath(endpoint)
	if err != nil {
		return nil, err
	}
	fixed := host.RuntimeSocket{Path: path, Dial: path, From: "--runtime-endpoint"}
	return Find(func() (host.RuntimeSocket, error) { return fixed, nil })
}

// OfKubelet returns a client of the runtime that this node's kubelet uses. It does no I/O.
func OfKubelet() (*Client, error) { return Find(host.FindRuntimeSocket) }

// Find returns a client of the socket that locate returns. It locates the socket again
// when it is gone, and after a minute. It does no I/O.
func Find(locate func() (host.RuntimeSocket, error)) (*Client, error) {
	sock := &socket{locate: locate}
	conn, err := grpc.NewClient("passthrough:///localhost", // the authority that the kubelet sends, too
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return sock.dial(ctx) }),
		grpc.WithUnaryInterceptor(sock.intercept),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, err
	}
	return &Client{
		socket:  sock,
		conn:    conn,
		runtime: runtimeapi.NewRuntimeServiceClient(conn),
		image:   runtimeapi.NewImageServiceClient(conn),
	}, nil
}

// locationTTL is how long a location counts while its socket exists. To find it is to read
// the names of all processes.
const locationTTL = time.Minute

// socket dials the runtime's socket and remembers which file it found there.
type socket struct {
	locate func() (host.RuntimeSocket, error)

	locating sync.Mutex
	at       host.RuntimeSocket
	located  time.Time // when at was found

	mu   sync.Mutex
	conn net.Conn
	path string      // that conn was dialled at
	file os.FileInfo // of path, then
}

// find returns where the runtime listens.
func (s *socket) find() (host.RuntimeSocket, error) {
	s.locating.Lock()
	defer s.locating.Unlock()
	if time.Since(s.located) < locationTTL {
		if _, err := os.Stat(s.at.Dial); err == nil {
			return s.at, nil
		}
	}
	at, err := s.locate()
	if err != nil {
		s.located = time.Time{}
		return at, err
	}
	s.at, s.located = at, time.Now()
	return at, nil
}

func (s *socket) dial(ctx context.Context) (net.Conn, error) {
	at, err := s.find()
	if err != nil {
		return nil, err
	}
	file, err := os.Stat(at.Dial) // before: a socket replaced meanwhile costs one more dial
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", at.Dial)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.path, s.file = conn, at.Dial, file
	return conn, nil
}

// Socket returns where the runtime listens, and what names that.
func (c *Client) Socket() (host.RuntimeSocket, error) { return c.socket.find() }

// intercept makes a call on a connection to the current socket.
func (s *socket) intercept(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	s.dropIfReplaced()
	return invoke(ctx, method, req, reply, cc, opts...)
}

// dropIfReplaced closes the connection if its socket was replaced. The process
// behind the old socket may still run, but the kubelet's pulls go to the new one.
func (s *socket) dropIfReplaced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return
	}
	if now, err := os.Stat(s.path); err == nil && !os.SameFile(now, s.file) {
		s.conn.Close()
		s.conn = nil
	}
}

func socketPath(endpoint string) (string, error) {
	path := endpoint
	if scheme, rest, ok := strings.Cut(endpoint, "://"); ok {
		if scheme != "unix" {
			return "", fmt.Errorf("runtime endpoint %q: want unix:///path, not %s://", endpoint, scheme)
		}
		path = rest
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("runtime endpoint %q: want unix:///path or an absolute path", endpoint)
	}
	return filepath.Clean(path), nil
}

// Process returns the runtime's process: the peer of a new connection. The error is
// a [*SocketError], or one of [host.Peer].
func (c *Client) Process() (*host.Process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, at, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return host.Peer(conn, at.Dial)
}

// WithRoot calls f with the runtime's process and its root directory, which is
// closed afterwards. It returns the error of f, or why there is no root.
func (c *Client) WithRoot(f func(p *host.Process, root *host.Root) error) error {
	p, err := c.Process()
	if err != nil {
		return err
	}
	root, err := p.Root()
	if err != nil {
		return err
	}
	defer root.Close()
	return f(p, root)
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
