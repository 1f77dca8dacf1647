package connect

// Evidence keys of the questions that distinguish a cause from its rivals. An absent
// key means that the question was not asked.
const (
	KeySibling     = "sibling"     // of "dns/<host>": what a random name beside the host resolves to
	keyOtherName   = "otherName"   // of "dns/<host>/<resolver>": whether it resolves a name outside this domain
	keyPlaceholder = "placeholder" // of "tls/<host>/<address>": the known placeholder that the certificate is
	keyLocalRoute  = "localRoute"  // of "dial/<host>/<address>": whether this node has a route, after "unreachable"
	keyProxyStatus = "proxyStatus" // of the proxy's own answer
)
