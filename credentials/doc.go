// Package credentials answers which pull credentials the kubelet would use for
// an image, and in which order. It follows the kubelet's own rules
// (k8s.io/kubernetes v1.36, pkg/credentialprovider: keyring.go, config.go,
// secrets/secrets.go and plugin/), including those that surprise people.
//
// Resolve returns these checks:
//
//	credentials                 what the kubelet would use, from all sources together
//	credentials/node            the node's docker config file
//	credentials/providers       why the configuration of the credential providers is unknown
//	credentials/provider/NAME   what one credential provider returned
//	credentials/account         pull secrets of the ServiceAccount that the pod does not have
//	credentials/N               one credential: whether it applies, and when it expires
//
// No check and no error contains a user name, password or token.
package credentials
