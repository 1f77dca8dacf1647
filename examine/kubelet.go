package examine

import (
	"sync"

	"github.com/pullprobe/pullprobe/host"
)

// kubeletFinder finds the kubelet of this node and reads what it is set to. The zero
// value is ready.
type kubeletFinder struct {
	mu    sync.Mutex
	known *host.Process // the one that was found last
}

// find returns the process of the kubelet that the runtime serves. It searches only
// if the process that it found before has ended.
func (f *kubeletFinder) find(runtime *host.Process) (*host.Process, error) {
	f.mu.Lock()
	known := f.known
	f.mu.Unlock()
	if known != nil && known.SharesMounts(runtime) {
		return known, nil
	}
	found, err := host.FindKubelet(runtime)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = found
	return found, err
}

// eviction returns the kubelet's thresholds for the image file system; nil if
// there is no kubelet or it cannot be read.
func (f *kubeletFinder) eviction(runtime *host.Process, imageFS string) *host.Eviction {
	kubelet, err := f.find(runtime)
	if err != nil {
		return nil
	}
	limits, err := kubelet.Eviction(imageFS)
	if err != nil {
		return nil
	}
	return &limits
}

// handlerGate is the kubelet's feature gate without which it sends no runtime handler
// with an image (pkg/kubelet/kuberuntime, getPodRuntimeHandler). It is alpha since 1.29.
const handlerGate = "RuntimeClassInImageCriApi"

// sendsNoHandler reports whether the kubelet is known to send no handler.
func (f *kubeletFinder) sendsNoHandler(runtime *host.Process) bool {
	kubelet, err := f.find(runtime)
	if err != nil {
		return false
	}
	on, err := kubelet.AlphaGate(handlerGate)
	return err == nil && !on
}
