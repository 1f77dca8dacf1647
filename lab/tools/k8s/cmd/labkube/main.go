// Labkube is etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubelet and kubectl in one binary, and the agents of k3s and RKE2; the name it is called
// by chooses.
//
// One binary is a third of the size of six and links in seconds where six
// take minutes, because nearly all of their code is the same.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/pullprobe/pullprobe/lab/tools/k8s/rancher"
)

func main() {
	var command *cobra.Command
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		etcdmain.Main(os.Args)
		return
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case "kubelet":
		command = newKubeletCommand()
	case "kubectl":
		command = kubectl.NewDefaultKubectlCommand()
	case "k3s agent", "rke2 agent":
		fmt.Fprintln(os.Stderr, rancher.Run(name, runKubelet))
		os.Exit(1)
	default:
		fmt.Fprintf(os.Stderr, "%s: not a component; call me by the name of one (etcd, kubelet, …)\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}

// newKubeletCommand calls NewKubeletCommand, which takes no context before Kubernetes 1.35.
func newKubeletCommand() *cobra.Command {
	switch construct := any(kubelet.NewKubeletCommand).(type) {
	case func(context.Context) *cobra.Command:
		return construct(context.Background())
	case func() *cobra.Command:
		return construct()
	default:
		panic(fmt.Sprintf("NewKubeletCommand is a %T, which labkube does not know", construct))
	}
}

// runKubelet runs a kubelet in this process.
func runKubelet(args []string) error {
	command := newKubeletCommand()
	command.SetArgs(args)
	return cli.RunNoErrOutput(command)
}
