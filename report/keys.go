package report

// The keys of a check's evidence. docs/report.md describes them by check; a key
// that several checks use is listed with the first of them. A key that is absent
// says nothing: what was not seen is not written down.
const (
	// Any check that sends something over the network.

	KeyDeadline         = "deadline"         // true: the check timed out; the runtime may wait longer
	KeyTimeoutMs        = "timeoutMs"        // how long it had waited then
	KeyUnfinished       = "unfinished"       // true: the whole diagnosis timed out, so the outcome is unknown
	KeyErrno            = "errno"            // the system error, such as ECONNREFUSED
	KeyError            = "error"            // an error that is not the peer's, or the error of a challenge
	KeyEOF              = "eof"              // true: the connection was closed without an answer
	KeyAlert            = "alert"            // the TLS alert that the server sent
	KeyFirstBytes       = "firstBytes"       // what arrived instead of TLS, in hexadecimal
	KeyDetail           = "detail"           // why a certificate is not acceptable, as Go's x509 reports it
	KeyStatus           = "status"           // HTTP status
	KeyCode             = "code"             // error code of the registry, the object store or gRPC
	KeyContentType      = "contentType"      // media type of the answer
	KeyRedirectedTo     = "redirectedTo"     // the host that answered in the end, or a redirect that was not followed
	KeyInnerCause       = "innerCause"       // the cause at the host behind this one: proxy, token service, layer host
	KeyStep             = "step"             // how far the request came, or how far the runtime came by its message
	KeyRefused          = "refused"          // why pullprobe did not contact the host
	KeyRuntimeWouldSend = "runtimeWouldSend" // true: the runtime would send the request that pullprobe does not send
	KeyRuntimeWouldDial = "runtimeWouldDial" // true: the runtime would connect where pullprobe does not
	KeyProxy            = "proxy"            // the runtime's proxy, without user and password
	KeyProxyError       = "proxyError"       // the reason that the proxy gives
	KeyProxyStatus      = "proxyStatus"      // HTTP status of the proxy's own answer
	KeyProxyFor         = "proxyFor"         // the host that the proxy was asked for
	KeySOCKSReply       = "socksReply"       // reply number of a SOCKS5 proxy
	KeyRetryAfter       = "retryAfter"       // the header Retry-After
	KeyLimit            = "limit"            // the header RateLimit-Limit
	KeyRemaining        = "remaining"        // the header RateLimit-Remaining
	KeyReset            = "reset"            // the header RateLimit-Reset
	KeyRemembered       = "remembered"       // true: the answer is a recent refusal; no new request was sent
	KeyAnsweredAt       = "answeredAt"       // of a remembered answer to the same request: when it was given
	KeyNotBefore        = "notBefore"        // when the next request may be sent; of a certificate: when it begins
	KeyAgeMs            = "ageMs"            // age of a result that a sweep produced, or of the oldest one

	// reference

	KeyDomain     = "domain"     // the registry, as the runtime reads the name
	KeyPath       = "path"       // the repository
	KeyTag        = "tag"        // the tag
	KeyDigest     = "digest"     // the digest
	KeyIgnoredTag = "ignoredTag" // a tag beside a digest; it has no effect
	KeyNote       = "note"       // what else is worth knowing
	KeyComplaint  = "complaint"  // what is wrong with an invalid name
	KeyParser     = "parser"     // the same, as containerd's parser reports it

	KeySuggestImage = "suggestImage" // the name of an image that may be meant

	// reference/suggested

	KeySuggestHost     = "suggestHost"     // a registry that may be meant
	KeyUsedBy          = "usedBy"          // how many other pods of the node run images of that registry
	KeyUsedByNamespace = "usedByNamespace" // how many of them are in the pod's namespace
	KeyMissingThere    = "missingThere"    // true: that registry does not have the image

	// pod

	KeyNamespace      = "namespace"      // the pod's namespace
	KeyName           = "name"           // the pod's name; of the runtime: its name; of DNS: the name that was found
	KeyContainer      = "container"      // the container or image volume
	KeyNode           = "node"           // the node; of credentials: whether the node's sources were read
	KeyServiceAccount = "serviceAccount" // the pod's ServiceAccount
	KeyJob            = "job"            // the Job that a CronJob made
	KeyContainerType  = "containerType"  // init or ephemeral; absent: an ordinary container
	KeySimilarSecret  = "similarSecret"  // a pull secret that other pods of the namespace use, and that this one probably means
	KeySimilarUsers   = "similarUsers"   // how many pods use it
	KeySimilarFor     = "similarFor"     // the registry that they use it for; missing: the names are similar
	KeyNewerImage     = "newerImage"     // the image that a newer pod of the same owner has for this container
	KeyEarlierCause   = "earlierCause"   // the cause that the kubelet's last failure and the checks had, until they passed
	KeyNextPull       = "nextPull"       // about when the kubelet pulls next
	KeyOthersWait     = "othersWait"     // other containers of the pod whose pull fails
	KeyOwner          = "owner"          // the controller that owns the pod, as KIND/NAME for kubectl
	KeyVolume         = "volume"         // the image volume whose image this is; absent for a container's own image
	KeyPullSecrets    = "pullSecrets"    // the pod's imagePullSecrets
	KeyPolicy         = "policy"         // the pull policy; of a registry's answer: true if a policy forbids the image to everybody
	KeyKubelet        = "kubelet"        // the kubelet's version, "1.33", if it is one that lets every pod use an image that is present
	KeyReason         = "reason"         // the reason that the kubelet, the runtime or a parser gives
	KeyMessage        = "message"        // the message of the kubelet or the runtime
	KeyCould          = "could"          // the causes that the message can have, the likeliest first
	KeyProven         = "proven"         // true: the message alone proves the cause
	KeyCreating       = "creating"       // true: the kubelet is creating the container and has reported no failure
	KeySince          = "since"          // when the kubelet began with the container
	KeySandbox        = "sandbox"        // the pod's sandbox: ready, absent, unknown
	KeyVolumesNeed    = "volumesNeed"    // of a pod without a sandbox: the objects of its volumes, "configmap/settings,secret/db"
	KeyState          = "state"          // what a pod or container does that does not wait for the image: one of the values below
	KeyWaitsFor       = "waitsFor"       // what it waits for instead
	KeyAtOnce         = "atOnce"         // true: its last run ended within a second
	KeyExecFormat     = "execFormat"     // who reported "exec format error": runtime, log
	KeyAboutImage     = "aboutImage"     // the image of the kubelet's last message, which the container no longer has

	// queue

	KeyWaiting    = "waiting"    // how many images other pods of the node wait for
	KeyAhead      = "ahead"      // the pod whose pull may come first
	KeyAheadImage = "aheadImage" // its image
	KeyAheadSince = "aheadSince" // since when it waits
	KeyAheadState = "aheadState" // creating or failing
	KeyAheadHangs = "aheadHangs" // true: something on the path to that image does not answer
	KeyAheadCause = "aheadCause" // the verdict on that image

	// credentials

	KeyMatched          = "matched"          // the credentials that the kubelet would use, in order
	KeySource           = "source"           // where the first of them is from
	KeySecret           = "secret"           // the secret that the check is about
	KeyAbsent           = "absent"           // secrets that do not exist
	KeyUnreadable       = "unreadable"       // secrets that could not be read
	KeyMalformed        = "malformed"        // secrets that cannot be decoded
	KeyIgnored          = "ignored"          // secrets that the kubelet ignores; of hosts: true if the runtime ignores the file
	KeyFatal            = "fatal"            // true: a malformed secret stops every pull of the pod
	KeyServers          = "servers"          // registries of the credentials that do not apply; of clocks: how many servers
	KeyNotAttached      = "notAttached"      // secrets of the ServiceAccount that the pod lacks
	KeyProvider         = "provider"         // credential providers that match
	KeyProviderFailed   = "providerFailed"   // a credential provider that failed
	KeyProviderNotRun   = "providerNotRun"   // a credential provider that was not run
	KeyExpectedProvider = "expectedProvider" // the provider that such a registry needs and the node lacks
	KeyPossibleProvider = "possibleProvider" // the same, where the node's providers are not known
	KeyRuntime          = "runtime"          // containerd's own credentials for the registry
	KeyExpires          = "expires"          // when the credential expires
	KeyExpired          = "expired"          // what has expired: a credential or an authority
	KeyUnknown          = "unknown"          // sources that may hold more credentials
	KeyMore             = "more"             // how many credentials are not listed

	// credentials/N

	KeyServer      = "server"      // the registry that a credential is for; of a registry: its Server header
	KeyApplies     = "applies"     // true or false
	KeyOrder       = "order"       // its place among those that apply; of hosts: the hosts in order
	KeyAssumed     = "assumed"     // why the list of hosts is a guess
	KeyWhy         = "why"         // the reason, as one word
	KeyEmpty       = "empty"       // true: it has no user name, so the runtime pulls anonymously
	KeyExpiresSoon = "expiresSoon" // true: it expires soon

	// credentials/node

	KeyFile       = "file"       // the docker configuration file that the kubelet uses; of other checks: the file that they are about
	KeyModified   = "modified"   // when it was changed
	KeyFresh      = "fresh"      // true: changed so lately that the kubelet may still use the previous content
	KeyLookedAt   = "lookedAt"   // the files that were checked
	KeyPassedOver = "passedOver" // what was ignored or skipped, and why

	// credentials/provider/NAME, credentials/providers

	KeyGiven         = "given"         // how many credentials the provider returned
	KeyFailure       = "failure"       // how the provider failed
	KeyExitCode      = "exitCode"      // its exit code
	KeyNotForPod     = "notForPod"     // why the kubelet does not run it for this pod
	KeyAnnotation    = "annotation"    // the annotation that the pod's ServiceAccount lacks for it
	KeyKubeletToo    = "kubeletToo"    // true: what prevents the run here prevents that of the kubelet
	KeyConfig        = "config"        // the providers' configuration; of an image: the digest of its config
	KeyConfigChanged = "configChanged" // when it was changed, if after the kubelet's start

	// runtime

	KeySocket       = "socket"       // path of the socket
	KeyVersion      = "version"      // version of the runtime, or of TLS
	KeyReady        = "ready"        // true or false
	KeyNetworkReady = "networkReady" // true or false

	// runtime/config.toml, runtime/environment, runtime/ca

	KeyStarted      = "started"      // when the process was started
	KeyNewer        = "newer"        // true: files have changed since then
	KeyFiles        = "files"        // these files
	KeyOS           = "os"           // the distribution, by the ID of os-release
	KeyRead         = "read"         // the files that it would read now
	KeyRuns         = "runs"         // the setting that the process runs with
	KeyFilesSay     = "filesSay"     // the setting in the files
	KeyDiffers      = "differs"      // which settings differ
	KeyProxyDiffers = "proxyDiffers" // true: a proxy variable is among them
	KeyUnit         = "unit"         // the systemd unit
	KeyMirrors      = "mirrors"      // hosts in the deprecated section registry.mirrors
	KeyTLS          = "tls"          // hosts in the deprecated section registry.configs, with TLS settings
	KeyAuths        = "auths"        // hosts in the deprecated section registry.configs, with credentials
	KeyCount        = "count"        // certificates in the trust store, or images of a registry on the node

	// runtime/sandbox

	KeyImage   = "image"   // the sandbox image
	KeyFrom    = "from"    // the source of an answer
	KeyPresent = "present" // true or false: whether the image is on the node

	// hosts/HOST

	KeyFileDigest   = "fileDigest"   // digest of what the file configures, logins left out; none: there is no file
	KeyUnknownKeys  = "unknownKeys"  // keys of hosts.toml that have no meaning
	KeyUnused       = "unused"       // files that are not read
	KeyMadeBy       = "madeBy"       // what writes the runtime's configuration on this node: nodeadm, bootstrap.sh, AKS, GKE
	KeyIgnoredTable = "ignoredTable" // a table with settings for registries that the runtime does not read
	KeyDependsOn    = "dependsOn"    // what another version of the runtime does with the file, while the version is unknown
	KeyRemedy       = "remedy"       // what makes the runtime use a file or table that it ignores
	KeyUnusable     = "unusable"     // hosts that cannot be used
	KeyBlobsOnly    = "blobsOnly"    // hosts that serve layers but no manifests
	KeyVisited      = "visited"      // how many hosts were checked, if not all

	// disk

	KeyFree                = "free"                // free bytes for root
	KeyAvailable           = "available"           // free bytes for other users
	KeyTotal               = "total"               // size in bytes
	KeyInodes              = "inodes"              // inodes of the file system
	KeyInodesFree          = "inodesFree"          // free inodes
	KeyFstype              = "fstype"              // type of the file system
	KeyMount               = "mount"               // mount point
	KeyReadOnly            = "readOnly"            // true, false or unknown
	KeyNeed                = "need"                // bytes that the image needs
	KeyEstimated           = "estimated"           // true: that is an estimate
	KeyEvictionFrom        = "evictionFrom"        // source of the kubelet's eviction thresholds
	KeyEvictionBytes       = "evictionBytes"       // threshold in bytes
	KeyEvictionInodes      = "evictionInodes"      // threshold in inodes
	KeyBelowEviction       = "belowEviction"       // true or false: fewer bytes are free
	KeyBelowEvictionInodes = "belowEvictionInodes" // true or false: fewer inodes are free
	KeyImageGCPercent      = "imageGCPercent"      // usage from which the kubelet removes images
	KeyUsedPercent         = "usedPercent"         // usage
	KeyGrowthPerSecond     = "growthPerSecond"     // bytes by which usage grows each second
	KeyFullInSeconds       = "fullInSeconds"       // when the disk is full at that rate
	KeyFullSoon            = "fullSoon"            // true: within the setting disk-full-within

	// local/HOST

	KeyExample        = "example"        // one image of the registry that is on the node
	KeySameRepository = "sameRepository" // size of the largest image of the same repository that is on the node

	// dns/HOST

	KeyAddresses      = "addresses"      // the addresses, in order
	KeyResolver       = "resolver"       // the resolver whose answer counts
	KeyRcode          = "rcode"          // its response code, or NODATA
	KeyResolvers      = "resolvers"      // how many resolvers the node has
	KeyNamesTried     = "namesTried"     // how many names of the search list were queried
	KeyVia            = "via"            // the search domain under which the name was found
	KeyAsIs           = "asIs"           // what the name resolves to without the search list
	KeyWildcard       = "wildcard"       // true or false: that domain resolves any name
	KeyRotate         = "rotate"         // true: resolv.conf rotates the resolvers
	KeyResolvConf     = "resolvConf"     // what is wrong with resolv.conf
	KeyDisagree       = "disagree"       // true: resolvers return different addresses
	KeyDNSSays        = "dnsSays"        // what DNS returns for a name in the hosts file
	KeySpecial        = "special"        // class of the first address, such as loopback or private
	KeyPublicRegistry = "publicRegistry" // true: the registry is a public one
	KeySibling        = "sibling"        // what a random sibling name resolves to: same, other, none
	KeyHostsFile      = "hostsFile"      // unknown: the hosts file could not be read
	KeyNsswitch       = "nsswitch"       // files: DNS is not queried
	KeyNsswitchOthers = "nsswitchOthers" // further sources in nsswitch.conf that were not queried
	KeyProxyIgnored   = "proxyIgnored"   // a proxy variable that is not a URL

	// dns/HOST/RESOLVER

	KeyA         = "A"         // the answer to the A query, if the two differ
	KeyAAAA      = "AAAA"      // the answer to the AAAA query, if the two differ
	KeyMs        = "ms"        // how long the answer took
	KeyTCP       = "tcp"       // true: by TCP, as the answer was too long for UDP
	KeyOtherName = "otherName" // answers or fails: the same resolver, asked for a name of another domain

	// dial/HOST/ADDRESS

	KeyTaken      = "taken"      // true: the runtime uses this address
	KeyAfterMs    = "afterMs"    // how long it waits for other addresses before
	KeyLocalRoute = "localRoute" // exists or none: whether this node has a route, after "unreachable"
	KeyOnlyFamily = "onlyFamily" // IPv4 or IPv6: all that this node has a default route for, if the address is of the other

	// tls/HOST/ADDRESS, elsewhere/HOST/ADDRESS

	KeySubject             = "subject"             // subject of the certificate
	KeyFingerprint         = "fingerprint"         // digest of the certificate
	KeyNames               = "names"               // names of the certificate
	KeyIssuer              = "issuer"              // its issuer
	KeyIssuerOrg           = "issuerOrg"           // the issuer's organization
	KeyIssuerURL           = "issuerURL"           // where the issuer's certificate can be downloaded
	KeyNotAfter            = "notAfter"            // when it ends
	KeyDaysLeft            = "daysLeft"            // days until then
	KeySelfSigned          = "selfSigned"          // true: it is self-signed
	KeyIntermediates       = "intermediates"       // how many intermediates the server sends
	KeyMissingIntermediate = "missingIntermediate" // true or likely: the server does not send one that it should
	KeySentBy              = "sentBy"              // the address that sends it
	KeyTopIssuer           = "topIssuer"           // the issuer at the end of what the server sends
	KeyIssuerKnownByName   = "issuerKnownByName"   // true: an authority of that name is trusted, with another key
	KeyKnownIssuerFrom     = "knownIssuerFrom"     // since when that authority is valid
	KeyRoot                = "root"                // the CA at the end of the certificate chain
	KeyRootNewer           = "rootNewer"           // its file, if newer than the runtime's process
	KeyRoots               = "roots"               // how many authorities the node trusts
	KeyRootsAssumed        = "rootsAssumed"        // true: read from the standard places
	KeyCA                  = "ca"                  // authorities of the host's hosts.toml
	KeyTrustedBy           = "trustedBy"           // node, ca or none
	KeyTrust               = "trust"               // unknown: the trust store could not be read
	KeyExpiredFrom         = "expiredFrom"         // whose authority has expired: server or node
	KeySkipVerify          = "skipVerify"          // true: the runtime does not verify
	KeyUnverified          = "unverified"          // what verification would have found
	KeyServerDate          = "serverDate"          // the server's clock
	KeySkewSeconds         = "skewSeconds"         // how far the node's clock is ahead of it
	KeyByNodeClock         = "byNodeClock"         // the cause by the node's clock, if the server's clock finds none
	KeyAgreesWith          = "agreesWith"          // a server whose clock agrees with the node's
	KeySCT                 = "sct"                 // true or false: it has certificate transparency timestamps
	KeyInterceptor         = "interceptor"         // a TLS inspection product that the issuer names
	KeyGoodAddresses       = "goodAddresses"       // other addresses of the host with a valid certificate
	KeyHTTPAnswer          = "httpAnswer"          // registry or other: what answers GET /v2/ in plain HTTP
	KeyPlaceholder         = "placeholder"         // the staging authority or default certificate that it is known to be

	// clock/HOST

	KeySources    = "sources"    // the clocks of all servers
	KeyWrongClock = "wrongClock" // the server whose clock is wrong

	// registry/HOST

	KeyAPIVersion = "apiVersion" // the header Docker-Distribution-API-Version
	KeyAuth       = "auth"       // the kind of login; of the pull: source of the credential, or anonymous
	KeyRealmHost  = "realmHost"  // host of the token service
	KeyIsRegistry = "isRegistry" // true or false: it behaves as a registry
	KeyOnlyPing   = "onlyPing"   // true: GET /v2/ is the only evidence
	KeyProduct    = "product"    // which registry it is, by its headers

	// token/HOST

	KeyService         = "service"         // service of the challenge
	KeyRealmOf         = "realmOf"         // the host whose token service a mirror uses
	KeyTokenIssued     = "tokenIssued"     // when the token was issued, as it says
	KeyTokenNotBefore  = "tokenNotBefore"  // when it becomes valid
	KeyTokenExpires    = "tokenExpires"    // when it expires
	KeyByRegistryClock = "byRegistryClock" // the token by the registry's clock: valid, expired, not yet valid
	KeyRealmPlain      = "realmPlain"      // true: the realm is plain HTTP
	KeyPostStatus      = "postStatus"      // status that the runtime's POST got
	KeyLoginWorks      = "loginWorks"      // true or false: the same login got a token for something else

	// manifest/HOST

	KeyCredentials       = "credentials"       // what was tried, with the results
	KeyUsedCredential    = "usedCredential"    // source of the credential that this answer is to
	KeyAnonymous         = "anonymous"         // true: no credential was used
	KeyCredentialExpires = "credentialExpires" // when that credential expires
	KeyMediaType         = "mediaType"         // of the manifest
	KeyRepository        = "repository"        // exists, missing or unknown
	KeyExistence         = "existence"         // hidden: the answer is the same for a repository that does not exist
	KeyTags              = "tags"              // none: the repository lists no tag
	KeyExistingTags      = "existingTags"      // some of the tags that the repository has, if none of them was meant
	KeySuggestTag        = "suggestTag"        // an existing tag that may be meant
	KeySuggestRepository = "suggestRepository" // an existing repository that may be meant
	KeyShortName         = "shortName"         // true: the image's name is short, and only suggestRepository has a similar one
	KeySimilarTags       = "similarTags"       // similar tags
	KeyNewestTag         = "newestTag"         // the tag that was pushed last, where the list has times
	KeyRegistryStatus    = "registryStatus"    // 403: the registry forbids every request from here
	KeyOfRepository      = "ofRepository"      // how many images of the same repository are on the node
	KeyPaths             = "paths"             // hosts that hosts.toml gives another path than /v2, with it
	KeyCached            = "cached"            // what shows that a cache gave the answer, as "Age 600"
	KeyOtherMachines     = "otherMachines"     // other addresses of the host, with the status of the same request there
	KeyAnswerElsewhere   = "answerElsewhere"   // the same for addresses that the runtime does not use
	KeyGetStatus         = "getStatus"         // status of a GET beside a HEAD that failed; of a token: of the GET after the POST
	KeyListed            = "listed"            // true or false: the tag is in the registry's own list
	KeyChallenged        = "challenged"        // true: the host asked for a login
	KeyLoginUsed         = "loginUsed"         // true: this answer is to a login
	KeyLoginInHosts      = "loginInHosts"      // true: hosts.toml adds an Authorization header to the request
	KeyNoContentType     = "noContentType"     // true: no usable Content-Type; containerd treats the manifest as a layer
	KeyRefusedFor        = "refusedFor"        // the reason that the registry gives: policy, quota, billing, …; none
	KeyNotSeen           = "notSeen"           // what of this step was not seen
	KeyLoginNotSent      = "loginNotSent"      // why no login was sent
	KeyLimited           = "limited"           // 429, or "few left": the host announced a limit, so that no other question was sent
	KeyRetried           = "retried"           // statuses that the runtime's retries got

	// image/HOST

	KeyConfigType   = "configType"   // media type of the config
	KeyIndex        = "index"        // true: the name refers to an index
	KeyPlatforms    = "platforms"    // platforms of the index
	KeyPlatform     = "platform"     // platform of the image
	KeyWanted       = "wanted"       // platform of the node
	KeyPublisher    = "publisher"    // true: the fault is in what was published
	KeyEmulated     = "emulated"     // true: another architecture, which the node emulates
	KeyLayers       = "layers"       // number of layers
	KeySize         = "size"         // compressed size
	KeyUnpacked     = "unpacked"     // estimated size on disk
	KeyManifest     = "manifest"     // digest of the manifest that the registry returned
	KeyManifestSize = "manifestSize" // its size

	// blob/HOST

	KeyBlobHost     = "blobHost"     // the host that serves the layers
	KeyLayersSeen   = "layersSeen"   // "3 of 5" layers were found, if each was asked for
	KeyBlobSize     = "blobSize"     // size of the layer by the manifest
	KeyRangeIgnored = "rangeIgnored" // true: the host began to send the whole layer

	// pull

	KeySkipped         = "skipped"         // why there was no test pull
	KeyAttempts        = "attempts"        // how many credentials were tried
	KeyHost            = "host"            // the host in the message
	KeyAddress         = "address"         // the address in the message
	KeySeconds         = "seconds"         // how long the pull took
	KeyTimedOut        = "timedOut"        // true: it was stopped by its deadline
	KeyStopped         = "stopped"         // what else stopped it
	KeyBytes           = "bytes"           // bytes that were pulled
	KeyThroughput      = "throughput"      // bytes a second
	KeyRuntimeHandler  = "runtimeHandler"  // whose snapshotter the runtime unpacks the image with
	KeyImageID         = "imageID"         // id of the image
	KeyEstimateSeconds = "estimateSeconds" // how long the whole pull should take
	KeyPresentMs       = "presentMs"       // how long the image was on the node before it was removed
	KeyRemoved         = "removed"         // true: the image was removed
	KeyLeft            = "left"            // why it was not
	KeyCleanUp         = "cleanUp"         // pending: the journal has it

	// elsewhere/HOST

	KeyFailed      = "failed"      // how many other nodes do not get through to the host
	KeyHow         = "how"         // with which causes those fail
	KeyWhich       = "which"       // the first of the nodes that get through
	KeyFailing     = "failing"     // the first of those that do not
	KeySetsApart   = "setsApart"   // what this node and those that fail as it does have, and no other that checked
	KeyRivals      = "rivals"      // what else would seem the same where no node gets through, or none
	KeySeesAnother = "seesAnother" // what this node sees differently from those that get through: certificate, issuer

	// elsewhere/image

	KeyFoundAt = "foundAt" // hosts at which other nodes found the image
	KeyAround  = "around"  // true: some before and some after this node did not find it

	// control

	KeyAsked   = "asked"   // how many hosts were checked
	KeyReached = "reached" // how many of them answered
	KeyHosts   = "hosts"   // the first of those that answered, or of those that did not
	KeyWeak    = "weak"    // true: too few of them were reached before for a confirmed verdict
)
