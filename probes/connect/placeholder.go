package connect

import (
	"crypto/x509"
	"strings"
)

// placeholder is a certificate that a product shows where nothing is configured, or
// one of an authority for tests. It tells that the server is not set up for the name,
// or not finished, and never that the node lacks an authority.
type placeholder struct {
	name    string // for the evidence
	subject string // part of the leaf's subject, in lower case; empty: any
	issuer  string // part of the issuer of a certificate in the chain, in lower case; empty: any
	whole   bool   // the texts are whole common names or organizations
}

// placeholders are those known by name.
func placeholders() []placeholder {
	return []placeholder{
		// letsencrypt.org/docs/staging-environment: "(STAGING) Pretend Pear X1", "(STAGING) Counterfeit
		// Cashew R10"; until 2021 "Fake LE Intermediate X1", "Fake LE Root X1". Before 2016 "happy hacker fake CA".
		{name: "Let's Encrypt staging", issuer: "(staging)"},
		{name: "Let's Encrypt staging", issuer: "fake le "},
		{name: "Let's Encrypt staging", issuer: "happy hacker fake ca"},
		// github.com/letsencrypt/pebble: "Pebble Root CA 3fb7d0", "Pebble Intermediate CA 2e6d2b".
		{name: "Pebble, a test authority", issuer: "pebble intermediate ca"},
		{name: "Pebble, a test authority", issuer: "pebble root ca"},
		// Google Trust Services' and Buypass's and ZeroSSL's ACME test endpoints.
		{name: "Google Trust Services staging", issuer: "gts staging"},
		{name: "Buypass test", issuer: "buypass class 2 test4"},
		// kubernetes/ingress-nginx internal/net/ssl/ssl.go, getFakeHostSSLCert: O=Acme Co,
		// CN=Kubernetes Ingress Controller Fake Certificate.
		{name: "ingress-nginx default", subject: "kubernetes ingress controller fake certificate"},
		// traefik/traefik pkg/tls/generate, DefaultDomain: CN=TRAEFIK DEFAULT CERT.
		{name: "traefik default", subject: "traefik default cert"},
		// haproxytech/kubernetes-ingress: CN=HAProxy Ingress default; haproxy-ingress:
		// CN=HAProxy Ingress Controller Fake Certificate.
		{name: "haproxy-ingress default", subject: "haproxy ingress"},
		// nginxinc/kubernetes-ingress default-server-secret: CN=NGINXIngressController.
		{name: "nginx-ingress default", subject: "nginxingresscontroller"},
		// openshift: the router's certificate before one is set, CN=*.apps… by ingress-operator@….
		{name: "OpenShift ingress default", issuer: "ingress-operator@"},
		// rancher/dynamiclistener: O=dynamiclistener-org, CN=dynamiclistener-ca@….
		{name: "Rancher dynamiclistener default", issuer: "dynamiclistener"},
		// cert-manager docs, "SelfSigned": issued while the real certificate is pending
		// (CertificateTemporary), CN=cert-manager.local.
		{name: "cert-manager temporary", issuer: "cert-manager.local"},
		{name: "cert-manager temporary", subject: "cert-manager.local"},
		// openssl req without answers: O=Internet Widgits Pty Ltd (openssl.cnf).
		{name: "openssl default", subject: "internet widgits pty ltd"},
		{name: "openssl default", issuer: "internet widgits pty ltd"},
		// RHEL's mod_ssl: O=SomeOrganization, OU=SomeOrganizationalUnit, CN=localhost.localdomain.
		{name: "mod_ssl default", subject: "someorganization"},
		// apache2's "snakeoil" (Apache SSL test authority).
		{name: "snakeoil", issuer: "snake oil"},
		{name: "snakeoil", subject: "snakeoil"},
		{name: "localhost", subject: "localhost", whole: true},
		{name: "localhost", subject: "localhost.localdomain", whole: true},
		// Control panels and appliances, by the certificates they create at installation.
		{name: "Plesk default", subject: "plesk"},
		{name: "Plesk default", issuer: "plesk"},
		{name: "cPanel default", subject: "cpanel default"},
		{name: "Synology default", issuer: "synology inc. ca"},
		{name: "QNAP default", subject: "qnap nas"},
		{name: "pfSense default", subject: "pfsense webconfigurator self-signed"},
		{name: "OPNsense default", subject: "opnsense web gui"},
		{name: "UniFi default", subject: "unifi", whole: true},
		{name: "Proxmox default", issuer: "proxmox virtual environment"},
		{name: "VMware default", issuer: "vmware installer"},
		{name: "mkcert, a developer's authority", issuer: "mkcert "},
		// Kubernetes' own: kube-apiserver behind a load balancer.
		{name: "kube-apiserver", subject: "kube-apiserver", whole: true},
	}
}

// placeholderOf returns the known placeholder that a chain is; empty: none. The
// certificate of Debian's ssl-cert is not recognized: its only name is the machine's.
func placeholderOf(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	leaf := chain[0]
	for _, p := range placeholders() {
		if p.subject != "" && p.matches(p.subject, leaf.Subject.String(), leaf.Subject.CommonName) {
			return p.name
		}
		for _, cert := range chain {
			if p.issuer != "" && p.matches(p.issuer, cert.Issuer.String(), cert.Issuer.CommonName) {
				return p.name
			}
		}
	}
	return ""
}

func (p placeholder) matches(part, all, common string) bool {
	if p.whole {
		return strings.EqualFold(common, part)
	}
	return strings.Contains(strings.ToLower(all), part)
}
