package kube

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// TestWatchErrors checks that lists and watches that the API server refuses are
// counted, and those that the agent cancels are not.
func TestWatchErrors(t *testing.T) {
	var err error
	failures := 0
	lw := onFailure(&cache.ListWatch{
		ListWithContextFunc:  func(context.Context, metav1.ListOptions) (runtime.Object, error) { return &corev1.PodList{}, err },
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), err },
	}, func() { failures++ })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want int
	}{{t.Context(), nil, 0}, {t.Context(), errors.New("refused"), 2}, {gone, gone.Err(), 2}} {
		err = tt.err
		_, listErr := lw.ListWithContext(tt.ctx, metav1.ListOptions{})
		_, watchErr := lw.WatchWithContext(tt.ctx, metav1.ListOptions{})
		if !errors.Is(listErr, tt.err) || !errors.Is(watchErr, tt.err) || failures != tt.want {
			t.Errorf("%v, %v, %d failures, want %d", listErr, watchErr, failures, tt.want)
		}
	}
}
