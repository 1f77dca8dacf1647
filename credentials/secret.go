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

// Secret is the content of a pull secret. Without a namespace it is a file, and
// Name is its path.
type Secret struct {
	Namespace, Name, Type string
	Data                  map[string][]byte
}

// SecretFromFile returns a docker config.json as a secret of type dockerconfigjson.
func SecretFromFile(path string, data []byte) Secret {
	return Secret{Name: path, Type: typeJSON, Data: map[string][]byte{keyJSON: data}}
}

// describeSource names a secret or a file, as in Credential.Source:
// "secret NAMESPACE/NAME" or "file PATH".
func describeSource(namespace, name string) string {
	if namespace == "" {
		return "file " + name
	}
	return "secret " + namespace + "/" + name
}

// describePullSecret names a pull secret or a file in a sentence:
// "pull secret NAMESPACE/NAME" or "file PATH".
func describePullSecret(namespace, name string) string {
	if namespace == "" {
		return describeSource(namespace, name)
	}
	return "pull " + describeSource(namespace, name)
}

// UnusableError explains why the kubelet uses nothing of a secret.
type UnusableError struct {
	Secret string // "secret NAMESPACE/NAME" or "file PATH"
	Reason string // contains nothing of the secret's data
	// Fatal: the kubelet fails every pull of a pod that lists this secret, before
	// it contacts a registry. Otherwise it ignores the secret silently.
	Fatal bool
}

func (e *UnusableError) Error() string { return e.Secret + ": " + e.Reason }

// configJSON is a docker config.json as the kubelet decodes it (config.go,
// DockerConfigJSON). The kubelet ignores all other fields.
type configJSON struct {
	Auths map[string]entry `json:"auths"`
	// Not used, but decoded: a value of another type makes the whole file invalid.
	HTTPHeaders map[string]string `json:"HttpHeaders"`
}

// DecodeSecret returns the credentials of a secret, sorted by server, as the kubelet
// decodes them (secrets.go, secretsToTrackedDockerConfigs). The error is an
// *UnusableError.
func DecodeSecret(s Secret) ([]Credential, error) {
	source := describeSource(s.Namespace, s.Name)
	unusable := func(fatal bool, format string, a ...any) error {
		return &UnusableError{Secret: source, Reason: fmt.Sprintf(format, a...), Fatal: fatal}
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
		return nil, unusable(false, "its type is %q, and the kubelet reads only %s and %s", s.Type, typeJSON, typeLegacy)
	}
	switch {
	case err != nil:
		return nil, unusable(true, "%s", describeJSONError(err))
	case len(auths) == 0:
		return nil, unusable(false, `it has no entry under "auths"`)
	}
	out := credentialsOf(auths, source)
	for i := range out {
		out[i].secret = s.Name
	}
	return out, nil
}

// credentialsOf returns the entries of a file, sorted by server. Where two
// servers differ only in their spelling, the kubelet's own order is random.
func credentialsOf(auths map[string]entry, source string) []Credential {
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

// describeJSONError explains a decoding error without quoting the secret.
func describeJSONError(err error) string {
	if bad, ok := errors.AsType[*authError](err); ok {
		return bad.reason
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("it is not JSON (at byte %d)", syntax.Offset)
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		want := typ.Type.Kind().String()
		if want == "struct" || want == "map" {
			want = "object"
		}
		return fmt.Sprintf("its JSON has type %s where %s is expected (at byte %d)", typ.Value, want, typ.Offset)
	}
	return "it cannot be decoded"
}

// entry is the credential of one server. The kubelet uses only user name and
// password (config.go, DockerConfigEntry).
type entry struct {
	Username, Password string
	ignored            []string // names of the tokens that docker would use
}

// authError explains why an "auth" field is not valid.
type authError struct{ reason string }

func (e *authError) Error() string { return e.reason }

// UnmarshalJSON prefers "auth", which is base64 of user:password, with or
// without padding (config.go, decodeDockerConfigFieldAuth). Its errors quote
// nothing of it.
func (e *entry) UnmarshalJSON(b []byte) error {
	var raw struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Email    string `json:"email"`
		Auth     string `json:"auth"`
		// Not decoded: the kubelet does not know them, so no value of them is an error.
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
		return &authError{`an "auth" field is not base64`}
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return &authError{`an "auth" field is not base64 of user:password`}
	}
	e.Username, e.Password = user, password
	return nil
}
