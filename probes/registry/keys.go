package registry

// Evidence keys of the questions that distinguish a cause from its rivals. An absent
// key means that the question was not asked.
const (
	// Of "manifest/<host>".
	keyGetStatus     = "getStatus"     // status of a GET of the manifest whose HEAD was refused
	keyListed        = "listed"        // whether the tag is in the registry's own list
	keyChallenged    = "challenged"    // the host answered 401 with a challenge
	keyLoginUsed     = "loginUsed"     // the answer was given to a login, or to a token for one
	keyNoContentType = "noContentType" // containerd takes the manifest for a layer
	keyRetried       = "retried"       // statuses of the runtime's retries, in order: "503 200"
	keyNotSeen       = "notSeen"       // what of this step was not seen
	keyLoginNotSent  = "loginNotSent"  // why no login was sent
	keyLimited       = "limited"       // the host's limit, which ended the questions: "429" or "few left"

	// Of "registry/<host>".
	keyIsRegistry = "isRegistry" // whether the host behaves as an OCI registry
	keyProduct    = "product"    // by its headers: "harbor"
	keyOnlyPing   = "onlyPing"   // GET /v2/ is the only evidence: a sweep sends no manifest request

	// Of "token/<host>".
	keyPostStatus = "postStatus" // of containerd's POST; getStatus is that of the GET
	keyLoginWorks = "loginWorks" // the same login got a token without scope
	keyRealmPlain = "realmPlain" // the realm is plain HTTP: the runtime sends the login in clear

	// Of "hosts/<domain>".
	keyAssumed = "assumed" // why the hosts are a guess

	// Of any check.
	keyProxyStatus = "proxyStatus" // of the proxy's own answer
	keyProxyFor    = "proxyFor"    // the host that the proxy was asked for
)
