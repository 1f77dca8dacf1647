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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Provider is one credential provider plugin of the kubelet's configuration.
type Provider kubeletv1.CredentialProvider

// Matches reports whether the kubelet runs this provider for a repository
// (plugin.go, isImageAllowed). The rules are those of a pull secret's server,
// except that a scheme is not dropped, and so never matches.
func (p Provider) Matches(repository string) bool {
	return slices.ContainsFunc(p.MatchImages, func(glob string) bool { return matches(glob, repository) })
}

// NeedsToken reports whether the provider gets a token of the pod's
// ServiceAccount (plugin.go, newServiceAccountProvider).
func (p Provider) NeedsToken() bool {
	return p.TokenAttributes != nil && p.TokenAttributes.ServiceAccountTokenAudience != ""
}

// ProviderConfig is the kubelet's configuration of credential providers.
type ProviderConfig struct {
	Path      string // file or directory; empty: none is configured
	BinDir    string
	Providers []Provider // in the kubelet's order
	// Problem is why the providers are unknown: a file cannot be read or decoded,
	// or is not valid. The kubelet reads the files when it starts, and would refuse
	// to start with these.
	Problem string
	// Unread: only this process may not read the files. The kubelet, being root,
	// can.
	NotPermitted bool
	// Changed is when a file was modified after the kubelet had read it. The
	// kubelet still uses the earlier content.
	Changed time.Time
}

// ProviderConfig reads the configuration that the kubelet was started with:
// --image-credential-provider-config is a file, or a directory whose *.json,
// *.yaml and *.yml files are read in the order of their names
// (plugin/config.go, readCredentialProviderConfig).
func (k Kubelet) ProviderConfig() ProviderConfig {
	var c ProviderConfig
	config, _ := k.flag(flagProviderConfig)
	bin, _ := k.flag(flagProviderBinDir)
	if config == "" || bin == "" {
		return c // the kubelet needs both (kuberuntime_manager.go)
	}
	c.Path, c.BinDir = k.abs(config), k.abs(bin)
	names, err := k.providerFiles(c.Path)
	if err != nil {
		c.Problem, c.NotPermitted = describeFileError(err), errors.Is(err, fs.ErrPermission)
		return c
	}
	if len(names) == 0 {
		c.Problem = "the directory has no *.json, *.yaml or *.yml file"
		return c
	}
	for _, name := range names {
		data, err := k.Files.ReadFile(name)
		if err != nil {
			c.Problem, c.NotPermitted = name+": "+describeFileError(err), errors.Is(err, fs.ErrPermission)
			return c
		}
		list, err := decodeProviders(data, k.strict())
		if err != nil {
			c.Problem = name + ": " + err.Error()
			return c
		}
		c.Providers = append(c.Providers, list...)
		if info, err := k.Files.Stat(name); err == nil && !k.Started.IsZero() {
			if at := info.ModTime(); at.After(k.Started) && at.After(c.Changed) {
				c.Changed = at
			}
		}
	}
	if err := validateProviders(c.Providers); err != nil {
		c.Problem = err.Error()
	}
	return c
}

// providerFiles returns the paths of the configuration files that the kubelet
// reads, in its order.
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

// The apiVersions of the configuration file, and of request and response.
var (
	configVersions   = versions(kubeletv1.GroupName)
	providerVersions = versions(credentialproviderv1.GroupName)
)

func versions(group string) []string {
	return []string{group + "/v1", group + "/v1beta1", group + "/v1alpha1"}
}

// decodeProviders decodes one file, strictly or as kubelets before [strictSince] did. Its
// errors quote only kind and apiVersion.
func decodeProviders(data []byte, strictly bool) ([]Provider, error) {
	var file struct {
		metav1.TypeMeta
		Providers []Provider `json:"providers"`
	}
	toJSON := yaml.YAMLToJSON
	if strictly {
		toJSON = yaml.YAMLToJSONStrict
	}
	asJSON, err := toJSON(data)
	if isJSON := bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")); err != nil || isJSON && !json.Valid(data) {
		return nil, errors.New("it is not valid JSON or YAML, or has a duplicate field")
	}
	strict, err := kjson.UnmarshalStrict(asJSON, &file)
	switch {
	case err != nil:
		return nil, errors.New("a field has a value of the wrong type")
	case file.Kind != "CredentialProviderConfig":
		return nil, fmt.Errorf("its kind is %q, not CredentialProviderConfig", clean(file.Kind))
	case !slices.Contains(configVersions, file.APIVersion):
		return nil, fmt.Errorf("its apiVersion is %q, which the kubelet does not support", clean(file.APIVersion))
	case len(strict) > 0 && strictly:
		return nil, errors.New("it has a field that the kubelet does not know")
	}
	for i := range file.Providers {
		if !strictly {
			file.Providers[i].TokenAttributes = nil // such a kubelet does not know them
		}
	}
	return file.Providers, nil
}

// validateProviders returns an error if the kubelet would not start with these
// providers (plugin/config.go, validateCredentialProviderConfig).
func validateProviders(list []Provider) error {
	if len(list) == 0 {
		return errors.New("it lists no providers")
	}
	seen := map[string]bool{}
	for _, p := range list {
		name := clean(p.Name)
		switch {
		case seen[p.Name]:
			return fmt.Errorf("provider %q is listed twice", name)
		case p.Name == "", p.Name == ".", p.Name == "..", strings.ContainsAny(p.Name, "/ "):
			return fmt.Errorf("provider name %q is not valid", name)
		case !slices.Contains(providerVersions, p.APIVersion):
			return fmt.Errorf("provider %q: the kubelet does not support apiVersion %q", name, clean(p.APIVersion))
		case len(p.MatchImages) == 0:
			return fmt.Errorf("provider %q has no matchImages", name)
		case p.DefaultCacheDuration == nil || p.DefaultCacheDuration.Duration < 0:
			return fmt.Errorf("provider %q has no valid defaultCacheDuration", name)
		case !validToken(p.TokenAttributes, p.APIVersion):
			return fmt.Errorf("provider %q has no valid tokenAttributes", name)
		}
		for _, glob := range p.MatchImages {
			if _, err := url.Parse("https://" + glob); err != nil {
				return fmt.Errorf("provider %q: %q in matchImages is not a valid URL", name, clean(glob))
			}
		}
		seen[p.Name] = true
	}
	return nil
}

// validToken reports whether the kubelet accepts these tokenAttributes of a
// provider.
func validToken(t *kubeletv1.ServiceAccountTokenAttributes, apiVersion string) bool {
	if t == nil {
		return true
	}
	keys := slices.Sorted(slices.Values(slices.Concat(t.RequiredServiceAccountAnnotationKeys, t.OptionalServiceAccountAnnotationKeys)))
	unique := len(slices.Compact(slices.Clone(keys))) == len(keys)
	return unique && t.ServiceAccountTokenAudience != "" && t.RequireServiceAccount != nil && apiVersion == providerVersions[0] &&
		(t.CacheType == kubeletv1.ServiceAccountServiceAccountTokenCacheType || t.CacheType == kubeletv1.TokenServiceAccountTokenCacheType) &&
		(*t.RequireServiceAccount || len(t.RequiredServiceAccountAnnotationKeys) == 0)
}
