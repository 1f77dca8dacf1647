package credentials

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The types and keys of pull secrets (k8s.io/api/core/v1).
const (
	typeJSON   = "kubernetes.io/dockerconfigjson"
	keyJSON    = ".dockerconfigjson"
	typeLegacy = "kubernetes.io/dockercfg"
	keyLegacy  = ".dockercfg"
)

// Secret is what a pull secret consists of. Without a namespace it is a file,
// and Name its path.
type Secret struct {
	Namespace, Name, Type string
	Data                  map[string][]byte
}

// File is a docker config.json, taken as a secret of that form.
func File(path string, data []byte) Secret {
	return Secret{Name: path, Type: typeJSON, Data: map[string][]byte{keyJSON: data}}
}

func (s Secret) source() string { return label(s.Namespace, s.Name) }

// label is how people know a secret or a file.
func label(namespace, name string) string {
	if namespace == "" {
		return "file " + name
	}
	return "secret " + namespace + "/" + name
}

// UnusableError says why the kubelet takes nothing from a secret.
type UnusableError struct {
	Secret string // "secret namespace/name" or "file path"
	Reason string // never holds anything out of the secret but names of servers
	// Fatal: the kubelet fails every pull of a pod that names this secret,
	// before it asks a registry. Otherwise it passes the secret over in silence.
	Fatal bool
}

func (e *UnusableError) Error() string { return e.Secret + ": " + e.Reason }

// configJSON is a docker config.json as the kubelet reads it (config.go,
// DockerConfigJSON): whatever else is in it counts for nothing.
type configJSON struct {
	Auths map[string]entry `json:"auths"`
	// Not used, but decoded: something else in its place fails all.
	HTTPHeaders map[string]string `json:"HttpHeaders"`
}

// Decode reads the credentials in a secret, sorted by server, as the kubelet
// does (secrets.go, secretsToTrackedDockerConfigs). The error is an
// *UnusableError.
func Decode(s Secret) ([]Credential, error) {
	unusable := func(fatal bool, format string, a ...any) error {
		return &UnusableError{Secret: s.source(), Reason: fmt.Sprintf(format, a...), Fatal: fatal}
	}
	var auths map[string]entry
	var err error
	switch s.Type {
	case typeJSON:
		if len(s.Data[keyJSON]) == 0 {
			return nil, unusable(false, "key %s is empty", keyJSON)
		}
		var file configJSON
		err = json.Unmarshal(s.Data[keyJSON], &file)
		auths = file.Auths
	case typeLegacy:
		if len(s.Data[keyLegacy]) == 0 {
			return nil, unusable(false, "key %s is empty", keyLegacy)
		}
		err = json.Unmarshal(s.Data[keyLegacy], &auths)
	default:
		return nil, unusable(false, "its type is %q; the kubelet reads only %s and %s", s.Type, typeJSON, typeLegacy)
	}
	switch {
	case err != nil:
		return nil, unusable(true, "%s", describeJSON(err))
	case len(auths) == 0:
		return nil, unusable(false, "it has no entry under \"auths\"")
	}
	out := listed(auths, s.source())
	for i := range out {
		out[i].secret = s.Name
	}
	return out, nil
}

// listed are the entries of a file, sorted by server: where two servers are the
// same but for their spelling, the kubelet's own order is a matter of chance.
func listed(auths map[string]entry, source string) []Credential {
	var out []Credential
	for _, server := range slices.Sorted(maps.Keys(auths)) {
		e := auths[server]
		c := Credential{Server: server, Username: e.Username, Password: e.Password, Source: source}
		if len(e.ignored) > 0 {
			c.Note = "the kubelet ignores its " + strings.Join(e.ignored, " and ")
		}
		out = append(out, c)
	}
	return out
}

// describeJSON says what is wrong without quoting what is in the secret.
func describeJSON(err error) string {
	var bad *authError
	if errors.As(err, &bad) {
		return bad.reason
	}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON (at byte %d)", syntax.Offset)
	case errors.As(err, &typ):
		return fmt.Sprintf("its JSON has a %s where a %s belongs (at byte %d)", typ.Value, typ.Type.Kind(), typ.Offset)
	}
	return "it cannot be decoded"
}

// entry is one server's credential. Only user and password count for the
// kubelet (config.go, DockerConfigEntry).
type entry struct {
	Username, Password string
	ignored            []string // tokens that docker would use
}

// authError says what is wrong with an "auth" field.
type authError struct{ reason string }

func (e *authError) Error() string { return e.reason }

// UnmarshalJSON prefers "auth", which is base64 of user:password, padded or
// not (config.go, decodeDockerConfigFieldAuth). Quotes nothing of it in errors.
func (e *entry) UnmarshalJSON(b []byte) error {
	var raw struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Email    string `json:"email"`
		Auth     string `json:"auth"`
		// As they are: the kubelet does not know them, so nothing in them can fail.
		IdentityToken json.RawMessage `json:"identitytoken"`
		RegistryToken json.RawMessage `json:"registrytoken"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	e.Username, e.Password = raw.Username, raw.Password
	for _, token := range []struct {
		name  string
		value json.RawMessage
	}{{"identitytoken", raw.IdentityToken}, {"registrytoken", raw.RegistryToken}} {
		if v := string(token.value); v != "" && v != `""` && v != "null" {
			e.ignored = append(e.ignored, token.name)
		}
	}
	if raw.Auth == "" {
		return nil
	}
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(strings.TrimSpace(raw.Auth), "=") {
		encoding = base64.StdEncoding
	}
	decoded, err := encoding.DecodeString(raw.Auth)
	if err != nil {
		return &authError{"an \"auth\" field is not base64"}
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return &authError{"an \"auth\" field is not base64 of user:password"}
	}
	e.Username, e.Password = user, password
	return nil
}
