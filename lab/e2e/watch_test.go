//go:build e2e

package e2e

import (
	"context"
	"net"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

type netConn = net.Conn

const mergePatch = types.MergePatchType

// listWatch lists and watches ConfigMaps by a field selector.
type listWatch struct {
	api       kubernetes.Interface
	namespace string
	selector  string
}

func (l *listWatch) List(o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = l.selector
	return l.api.CoreV1().ConfigMaps(l.namespace).List(context.Background(), o)
}

func (l *listWatch) Watch(o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = l.selector
	return l.api.CoreV1().ConfigMaps(l.namespace).Watch(context.Background(), o)
}
