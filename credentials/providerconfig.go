package credentials

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Provider is one credential provider plugin of the kubelet's configuration
// (k8s.io/kubelet config/v1, CredentialProvider).
type Provider struct {
	Name                 string           `json:"name"`
	MatchImages          []string         `json:"matchImages"`
	DefaultCacheDuration *string          `json:"defaultCacheDuration"` // a Go duration
	APIVersion           string           `json:"apiVersion"`           // of request and response
	Args                 []string         `json:"args"`
	Env                  []EnvVar         `json:"env"`
	TokenAttributes      *TokenAttributes `json:"tokenAttributes"`
}

// EnvVar is set for a provider beside the kubelet's own environment.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TokenAttributes make the kubelet hand the provider a token of the pod's
// ServiceAccount.
type TokenAttributes struct {
	ServiceAccountTokenAudience          string   `json:"serviceAccountTokenAudience"`
	CacheType                            string   `json:"cacheType"`
	RequireServiceAccount                *bool    `json:"requireServiceAccount"`
	RequiredServiceAccountAnnotationKeys []string `json:"requiredServiceAccountAnnotationKeys"`
	OptionalServiceAccountAnnotationKeys []string `json:"optionalServiceAccountAnnotationKeys"`
}

func (t *TokenAttributes) valid(apiVersion string) bool {
	return t == nil || t.ServiceAccountTokenAudience != "" && t.RequireServiceAccount != nil && apiVersion == providerVersions[0] &&
		(t.CacheType == "ServiceAccount" || t.CacheType == "Token") &&
		(*t.RequireServiceAccount || len(t.RequiredServiceAccountAnnotationKeys) == 0)
}

// Matches reports whether the kubelet asks this provider for a repository
// (plugin.go, isImageAllowed). The rules are those of a pull secret's server,
// but a scheme is not dropped, and so never matches.
func (p Provider) Matches(repository string) bool {
	return slices.ContainsFunc(p.MatchImages, func(glob string) bool { return matches(glob, repository) })
}

// NeedsToken reports whether the provider works with a ServiceAccount's token
// (plugin.go, newServiceAccountProvider).
func (p Provider) NeedsToken() bool {
	return p.TokenAttributes != nil && p.TokenAttributes.ServiceAccountTokenAudience != ""
}

// ProviderConfig is what the kubelet was told about credential providers.
type ProviderConfig struct {
	Path      string // file or directory; empty: it has none
	BinDir    string
	Providers []Provider // in the kubelet's order
	// Problem says why nothing is known of them: the files cannot be read or
	// decoded. The kubelet reads them when it starts and would refuse to start
	// with these.
	Problem string
	// Unread says that Problem is this process's own: the kubelet, being root, can
	// read what is closed here.
	Unread bool
	// Changed is when a file was changed after the kubelet had read it; it runs
	// with what was there before.
	Changed time.Time
}

// ProviderConfig reads the configuration that the kubelet was started with:
// --image-credential-provider-config is a file, or a directory of which the
// files *.json, *.yaml and *.yml count, by name (plugin/config.go,
// readCredentialProviderConfig).
func (k Kubelet) ProviderConfig() ProviderConfig {
	var c ProviderConfig
	config, _ := k.flag("image-credential-provider-config")
	bin, _ := k.flag("image-credential-provider-bin-dir")
	if config == "" || bin == "" {
		return c // the kubelet takes both or none (kuberuntime_manager.go)
	}
	c.Path, c.BinDir = k.abs(config), k.abs(bin)
	names, err := k.providerFiles(c.Path)
	if err != nil {
		c.Problem, c.Unread = fileProblem(err), errors.Is(err, fs.ErrPermission)
		return c
	}
	if len(names) == 0 {
		c.Problem = "the directory holds no *.json, *.yaml or *.yml"
		return c
	}
	for _, name := range names {
		data, err := k.Files.ReadFile(name)
		if err != nil {
			c.Problem, c.Unread = name+": "+fileProblem(err), errors.Is(err, fs.ErrPermission)
			return c
		}
		list, err := decodeProviders(data)
		if err != nil {
			c.Problem = name + ": " + err.Error()
			return c
		}
		c.Providers = append(c.Providers, list...)
		if info, err := k.Files.Stat(name); err == nil && !k.Started.IsZero() && info.ModTime().After(k.Started) && info.ModTime().After(c.Changed) {
			c.Changed = info.ModTime()
		}
	}
	if err := validProviders(c.Providers); err != nil {
		c.Problem = err.Error()
	}
	return c
}

func (k Kubelet) providerFiles(name string) ([]string, error) {
	info, err := k.Files.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := k.Files.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if ext := path.Ext(e.Name()); !e.IsDir() && (ext == ".json" || ext == ".yaml" || ext == ".yml") {
			names = append(names, path.Join(name, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// The versions of the configuration file and of what is said to a provider.
var (
	configVersions   = []string{"kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1", "kubelet.config.k8s.io/v1alpha1"}
	providerVersions = []string{"credentialprovider.kubelet.k8s.io/v1", "credentialprovider.kubelet.k8s.io/v1beta1", "credentialprovider.kubelet.k8s.io/v1alpha1"}
)

// decodeProviders reads one file, strictly: the kubelet takes no unknown or
// doubled field. Errors quote nothing but names of fields.
func decodeProviders(data []byte) ([]Provider, error) {
	var file struct {
		Kind       string     `json:"kind"`
		APIVersion string     `json:"apiVersion"`
		Providers  []Provider `json:"providers"`
	}
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if looksJSON := bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")); err != nil || looksJSON && !json.Valid(data) {
		return nil, errors.New("it is neither JSON nor YAML, or names a field twice")
	}
	strict, err := kjson.UnmarshalStrict(asJSON, &file)
	switch {
	case err != nil:
		return nil, errors.New("a field has the wrong type")
	case file.Kind != "CredentialProviderConfig":
		return nil, fmt.Errorf("its kind is %q, not CredentialProviderConfig", clean(file.Kind))
	case !slices.Contains(configVersions, file.APIVersion):
		return nil, fmt.Errorf("its apiVersion is %q, which the kubelet does not know", clean(file.APIVersion))
	case len(strict) > 0:
		return nil, errors.New("it has a field that the kubelet does not know")
	}
	return file.Providers, nil
}

// validProviders says what the kubelet would not start with
// (plugin/config.go, validateCredentialProviderConfig).
func validProviders(list []Provider) error {
	if len(list) == 0 {
		return errors.New("it lists no providers")
	}
	seen := map[string]bool{}
	for _, p := range list {
		name := clean(p.Name)
		_, durationErr := duration(p.DefaultCacheDuration)
		switch {
		case seen[p.Name]:
			return fmt.Errorf("provider %q is there twice", name)
		case p.Name == "", p.Name == ".", p.Name == "..", strings.ContainsAny(p.Name, "/ "):
			return fmt.Errorf("%q cannot be the name of a provider", name)
		case !slices.Contains(providerVersions, p.APIVersion):
			return fmt.Errorf("provider %q: the kubelet does not know apiVersion %q", name, clean(p.APIVersion))
		case len(p.MatchImages) == 0:
			return fmt.Errorf("provider %q has no matchImages", name)
		case p.DefaultCacheDuration == nil || durationErr != nil:
			return fmt.Errorf("provider %q has no valid defaultCacheDuration", name)
		case !p.TokenAttributes.valid(p.APIVersion):
			return fmt.Errorf("provider %q has no valid tokenAttributes", name)
		}
		for _, glob := range p.MatchImages {
			if _, err := url.Parse("https://" + glob); err != nil {
				return fmt.Errorf("provider %q: matchImages has %q, which is no URL", name, clean(glob))
			}
		}
		seen[p.Name] = true
	}
	return nil
}

// duration reads a metav1.Duration.
func duration(s *string) (time.Duration, error) {
	if s == nil {
		return 0, nil
	}
	d, err := time.ParseDuration(*s)
	if err == nil && d < 0 {
		err = fs.ErrInvalid
	}
	return d, err
}
