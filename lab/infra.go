package lab

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed config/registry.yaml
var registryConfig string

// infraInit runs everything that is not a node: resolvers and listeners in this
// process, registries and control plane as services.
func infraInit(d Dir) error {
	if err := unix.Sethostname([]byte(prefix + Infra)); err != nil {
		return err
	}
	if err := isolateMounts(); err != nil {
		return err
	}
	trust, err := trustStore(d, "public-ca", "registry-ca")
	if err != nil {
		return err
	}
	if err := mountPrivateEtc(d, Infra, []string{"ssl/certs"}, map[string]string{
		"resolv.conf":                   "nameserver " + ResolverGood + "\n",
		"hosts":                         "127.0.0.1 localhost\n::1 localhost\n",
		"nsswitch.conf":                 "passwd: files\ngroup: files\nhosts: files dns\n",
		"ssl/certs/ca-certificates.crt": trust,
	}); err != nil {
		return err
	}

	queries, err := openLog(d, "dns")
	if err != nil {
		return err
	}
	table, queryLog := newDNSTable(), &jsonLog{w: queries}
	for _, r := range resolvers() {
		if _, _, err := table.serve(r, net.JoinHostPort(r, "53"), queryLog); err != nil {
			return err
		}
	}
	requests, err := openLog(d, "access")
	if err != nil {
		return err
	}
	if err := startListeners(d, &jsonLog{w: requests}, log.New(os.Stderr, "", log.LstdFlags)); err != nil {
		return err
	}

	services, err := infraServices(d)
	if err != nil {
		return err
	}
	s := newSupervisor(d, func(name string) (*os.File, error) { return openLog(d, name) }, services)
	mux := controlHandler(s)
	table.handleControl(mux)
	if err := serveControl(d, Infra, mux); err != nil {
		return err
	}
	return s.run(context.Background())
}

func infraServices(d Dir) ([]service, error) {
	auth := map[string]string{
		serveOpen: "",
		serveAuth: fmt.Sprintf("auth: {htpasswd: {realm: lab, path: %s}}", d.PKI("htpasswd")),
		serveToken: fmt.Sprintf("auth: {token: {realm: %q, service: %s, issuer: %s, jwks: %s, signingalgorithms: [ES256]}}",
			tokenRealm, tokenService, tokenService, d.PKI("token.jwks")),
	}
	var services []service
	for _, kind := range []string{serveOpen, serveAuth, serveToken} {
		config := d.Run("registry-" + kind + ".yaml")
		text := strings.NewReplacer("@STORAGE@", d.Run("registry"), "@ADDR@", backends()[kind], "@AUTH@", auth[kind]).Replace(registryConfig)
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			return nil, err
		}
		services = append(services, service{
			name: "registry-" + kind, autoStart: true, args: []string{"registry", "serve", config}, env: []string{"OTEL_TRACES_EXPORTER=none"},
		})
	}
	return append(services,
		service{name: "etcd", autoStart: true, args: []string{
			"etcd", "--data-dir=" + d.Run("etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
		}},
		service{name: "kube-apiserver", autoStart: true, args: []string{
			"kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=" + InfraAddr, "--advertise-address=" + InfraAddr, "--secure-port=6443",
			"--tls-cert-file=" + d.PKI("apiserver.crt"), "--tls-private-key-file=" + d.PKI("apiserver.key"),
			"--client-ca-file=" + d.PKI("kube-ca.crt"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
			"--service-cluster-ip-range=10.96.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + d.PKI("sa.pub"), "--service-account-signing-key-file=" + d.PKI("sa.key"),
			"--kubelet-client-certificate=" + d.PKI("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + d.PKI("apiserver-kubelet-client.key"),
			"--kubelet-certificate-authority=" + d.PKI("kube-ca.crt"), "--kubelet-preferred-address-types=InternalIP",
			"--profiling=false",
		}},
		service{name: "kube-controller-manager", args: append(kubeClient(d, "kube-controller-manager", "controller-manager"),
			"--root-ca-file="+d.PKI("kube-ca.crt"), "--service-account-private-key-file="+d.PKI("sa.key"),
			"--node-monitor-grace-period=20s", "--node-monitor-period=2s")},
		service{name: "kube-scheduler", args: kubeClient(d, "kube-scheduler", "scheduler")},
	), nil
}

// kubeClient returns the arguments that controller manager and scheduler share.
func kubeClient(d Dir, program, user string) []string {
	config := d.PKI(user + ".kubeconfig")
	return []string{
		program, "--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--leader-elect=false",
	}
}
