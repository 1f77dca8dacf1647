package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/pullprobe/pullprobe/agent/corev1"
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

// TestRetriable checks which errors a later call may not have.
func TestRetriable(t *testing.T) {
	configMaps := schema.GroupResource{Resource: "configmaps"}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{errors.New("connection refused"), true},
		{apierrors.NewConflict(configMaps, "c", errors.New("changed")), true},
		{apierrors.NewTooManyRequestsError("later"), true},
		{apierrors.NewServerTimeout(configMaps, "patch", 1), true},
		{apierrors.NewTimeoutError("slow", 1), true},
		{apierrors.NewInternalError(errors.New("broken")), true},
		{apierrors.NewServiceUnavailable("starting"), true},
		{fmt.Errorf("wrapped: %w", apierrors.NewInternalError(errors.New("broken"))), true},
		{apierrors.NewForbidden(configMaps, "c", errors.New("quota")), false},
		{apierrors.NewNotFound(configMaps, "c"), false},
		{apierrors.NewBadRequest("invalid"), false},
	} {
		if got := Retriable(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}
