package lab

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// faultHandler returns a handler that has the fault of the Host header; see Hosts. It
// forwards all other requests to the registry at addr.
func faultHandler(addr string) http.Handler {
	registry := RegistryProxy(addr)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOnly(r.Host)
		switch host {
		case "ratelimit.lab":
			w.Header().Set("Retry-After", "60")
			w.Header().Set("RateLimit-Limit", "100;w=21600")
			w.Header().Set("RateLimit-Remaining", "0;w=21600")
			RegistryError(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit.")
		case "unavailable.lab":
			RegistryError(w, http.StatusServiceUnavailable, "UNAVAILABLE", "service unavailable")
		case "err500.lab":
			RegistryError(w, http.StatusInternalServerError, "UNKNOWN", "internal error")
		case "forbidden.lab":
			RegistryError(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
		case "token401.lab", "token403.lab":
			serveBrokenTokenService(w, r, host)
		case "tokendenied.lab":
			serveUselessToken(w, r)
		case "noaccess.lab":
			serveForbiddenUser(w, r)
		case "stale.lab":
			if at := strings.Index(r.URL.Path, "/manifests/"); at >= 0 && r.URL.Path[at:] != "/manifests/1" {
				RegistryError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
				return
			}
			registry.ServeHTTP(w, r)
		case "hang.lab":
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		case "badblob.lab", "truncblob.lab", "slowblob.lab", "noblob.lab":
			if !IsBlob(r) {
				registry.ServeHTTP(w, r)
				return
			}
			serveSpoiledBlob(w, r, host, addr)
		default:
			RegistryError(w, http.StatusNotFound, "NAME_UNKNOWN", "no fault of this name")
		}
	})
}

// RegistryError writes an error in the format of the distribution specification.
func RegistryError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

func serveBrokenTokenService(w http.ResponseWriter, r *http.Request, host string) {
	switch {
	case r.URL.Path != "/token":
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%[1]s/token",service="%[1]s"`, host))
		RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	case host == "token401.lab":
		RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	default:
		RegistryError(w, http.StatusForbidden, "DENIED", "access denied")
	}
}

// serveUselessToken does what Docker Hub does for a repository that is private or
// missing: it grants an anonymous token that gives no access.
func serveUselessToken(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		writeUselessToken(w)
		return
	}
	challenge := `Bearer realm="https://tokendenied.lab/token",service="tokendenied.lab",scope="repository:app:pull"`
	if r.Header.Get("Authorization") != "" {
		challenge += `,error="insufficient_scope"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// serveForbiddenUser gives the lab's user a token and answers 403 to all its requests.
func serveForbiddenUser(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/token":
		user, password, given := r.BasicAuth()
		if !given { // OAuth 2, containerd's first request
			user, password = r.PostFormValue("username"), r.PostFormValue("password")
		}
		if user != User || password != Password {
			RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
			return
		}
		writeUselessToken(w)
	case r.Header.Get("Authorization") == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://noaccess.lab/token",service="noaccess.lab"`)
		RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	default:
		RegistryError(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
	}
}

func writeUselessToken(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"token":"good-for-nothing","access_token":"good-for-nothing","expires_in":300}`)
}

// serveSpoiledBlob fetches the real blob and serves a broken one.
func serveSpoiledBlob(w http.ResponseWriter, r *http.Request, host, addr string) {
	if host == "noblob.lab" {
		RegistryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+addr+r.URL.Path, nil)
	if err != nil {
		RegistryError(w, http.StatusBadGateway, "UNKNOWN", err.Error())
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		RegistryError(w, http.StatusBadGateway, "UNKNOWN", err.Error())
		return
	}
	defer resp.Body.Close()
	blob, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		RegistryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
	half := blob[:len(blob)/2]
	switch host {
	case "badblob.lab":
		blob[len(half)] ^= 0xff
		w.Write(blob)
	case "truncblob.lab":
		w.Write(half)
		panic(http.ErrAbortHandler)
	case "slowblob.lab":
		w.Write(half)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}
