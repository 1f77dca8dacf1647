package lab

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRISocket returns the path of a node's containerd socket. Processes outside
// the node can dial it.
func (l *Lab) CRISocket(node string) (string, error) {
	layout, err := layoutOf(node)
	if err != nil {
		return "", err
	}
	return l.Path(node, layout.socket)
}

// CRI connects to a node's containerd. The caller closes the connection.
func (l *Lab) CRI(node string) (*grpc.ClientConn, error) {
	socket, err := l.CRISocket(node)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Pull is the outcome of one CRI PullImage call.
type Pull struct {
	ImageRef string     // on success: the image's ID, as containerd returns it
	Code     codes.Code // codes.OK on success
	Message  string     // containerd's message
	Took     time.Duration
}

// Pull makes a node's containerd pull an image, as its kubelet would. auth may be nil.
func (l *Lab) Pull(ctx context.Context, node, image string, auth *runtimeapi.AuthConfig) Pull {
	began := time.Now()
	var ref string
	err := l.imageService(node, func(c runtimeapi.ImageServiceClient) error {
		r, err := c.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}, Auth: auth})
		ref = r.GetImageRef()
		return err
	})
	s := status.Convert(err)
	return Pull{ImageRef: ref, Code: s.Code(), Message: s.Message(), Took: time.Since(began)}
}

// Login returns the credentials of the lab's only user, for Pull.
func Login() *runtimeapi.AuthConfig {
	return &runtimeapi.AuthConfig{Username: User, Password: Password}
}

// Images lists the images of a node.
func (l *Lab) Images(ctx context.Context, node string) ([]*runtimeapi.Image, error) {
	var images []*runtimeapi.Image
	err := l.imageService(node, func(c runtimeapi.ImageServiceClient) error {
		r, err := c.ListImages(ctx, &runtimeapi.ListImagesRequest{})
		images = r.GetImages()
		return err
	})
	return images, err
}

// RemoveImage removes an image, given by name or ID, with all its names.
func (l *Lab) RemoveImage(ctx context.Context, node, image string) error {
	return l.imageService(node, func(c runtimeapi.ImageServiceClient) error {
		_, err := c.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return err
	})
}

func (l *Lab) imageService(node string, f func(runtimeapi.ImageServiceClient) error) error {
	conn, err := l.CRI(node)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(runtimeapi.NewImageServiceClient(conn))
}

// WaitContainerd returns when a node's containerd reports that it is ready.
func (l *Lab) WaitContainerd(ctx context.Context, node string) error {
	return waitUntil(ctx, 30*time.Second, "containerd on "+node, func() error {
		conn, err := l.CRI(node)
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		r, err := runtimeapi.NewRuntimeServiceClient(conn).Status(ctx, &runtimeapi.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range r.GetStatus().GetConditions() {
			if c.Type == runtimeapi.RuntimeReady && !c.Status {
				return fmt.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
		return nil
	})
}
