package refusal

// Other is a reason of a token service's 401 to a login beside the plain one: a service
// behind it that fails, a clock, a locked account.
const Other = "other"

// plainRejections are texts of a 401 that rejects a login as such: distribution, Docker
// Hub, Harbor, Quay, GitLab, ECR, ACR, Artifactory, Nexus, Keycloak and Dex.
var plainRejections = []string{
	"unauthorized", "not authorized", "unauthenticated", "not authenticated", "authentication required", "authentication failed",
	"authentication is required", "login required", "access denied", "denied", "forbidden", "permission",
	"incorrect", "invalid user", "invalid password", "invalid credential", "invalid client", "invalid_client", "invalid grant",
	"invalid_grant", "invalid token", "invalid_token", "invalid login", "bad credentials", "wrong user", "wrong password",
	"wrong credential", "login failed", "could not find robot", "could not find user", "unknown user", "no such user",
	"username or password", "user name or password", "user or password", "supplied password", "insufficient scope", "insufficient_scope",
	"token has expired", "token is expired", "token expired", "token is not valid", "revoked", "no access",
}

// hintsOfTrouble are words of a text that is not, or not only, about the login.
var hintsOfTrouble = []string{
	"clock", "time", "times", "minute", "minutes", "second", "seconds", "hours", "skew", "early", "late", "future", "past", "valid until",
	"attempts", "attempt", "again", "later", "wait", "many", "retry", "temporarily", "temporary", "unavailable", "unreachable",
	"reachable", "reach", "connect", "connection", "connecting", "refused", "timeout", "timed", "dial", "tcp", "lookup", "dns", "tls",
	"certificate", "x509", "ldap", "directory", "backend", "upstream", "provider", "database", "redis", "server", "internal",
	"service", "failure", "fails", "unexpected", "exception", "panic", "down", "offline", "mfa", "2fa", "factor", "sso",
}

// ReasonOfLogin returns why a token service answers 401 to a login, by the text of its
// answer: [None] if it rejects the login and gives no other reason, or no text; [Other] if
// it has words of another one; empty if it was not understood.
func ReasonOfLogin(text string) string {
	message, plain := refusalMessage(text)
	switch {
	case !plain:
		return "" // a page, or cut off
	case hints(message), hasWord(message, hintsOfTrouble):
		return Other
	case message == "", containsAny(message, plainRejections):
		return None
	}
	return ""
}
