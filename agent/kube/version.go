package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// Minor returns the minor version of the API server: 33 of Kubernetes 1.33. Every user may
// read it (ClusterRole system:public-info-viewer).
func (k *Client) Minor(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := k.client.Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return 0, err
	}
	var version struct{ Major, Minor string }
	if err := json.Unmarshal(b, &version); err != nil {
		return 0, fmt.Errorf("version of the API server: %w", err)
	}
	// Some distributions append a plus sign.
	minor, err := strconv.Atoi(strings.TrimRight(version.Minor, "+"))
	if err != nil || version.Major != "1" {
		return 0, fmt.Errorf("version of the API server is %.20q.%.20q", version.Major, version.Minor)
	}
	return minor, nil
}

// KubeletMinor returns the minor version of a node's kubelet: 33 of v1.33.13.
func (k *Client) KubeletMinor(ctx context.Context, node string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var n corev1.Node
	if err := k.client.Get().Resource("nodes").Name(node).Do(ctx).Into(&n); err != nil {
		return 0, err
	}
	version := n.Status.NodeInfo.KubeletVersion
	text, isV1 := strings.CutPrefix(version, "v1.")
	text, _, _ = strings.Cut(text, ".")
	minor, err := strconv.Atoi(text)
	if err != nil || !isV1 {
		return 0, fmt.Errorf("version of the kubelet is %.40q", version)
	}
	return minor, nil
}
