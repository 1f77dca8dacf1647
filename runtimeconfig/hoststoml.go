package runtimeconfig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

func loadHostsDir(f Files, dir, version string) (Hosts, *Problem) {
	file := path.Join(dir, "hosts.toml")
	text, err := f.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Hosts{}, unreadable(file, "it", err)
	}
	if len(text) == 0 {
		return loadCertFiles(f, dir)
	}
	if !AtLeast(version, "2.0.0") {
		text = bytes.TrimPrefix(text, []byte("\ufeff")) // as go-toml 1 does
	}
	hosts, unknown, err := parseHosts(dir, text, version)
	if err == nil {
		err = refusedBy(version, text)
	}
	if err != nil {
		config, problem := loadCertFiles(f, dir)
		if problem != nil {
			return config, problem
		}
		return config, &Problem{File: file, Reason: tomlReason(err), Ignored: true}
	}
	return Hosts{List: hosts, File: file, Unknown: unknown, Unused: certFilesIn(f, dir, hosts)}, nil
}

// refusedBy returns why an older containerd refuses a hosts.toml that the newest one
// accepts; nil if it does not. By getSortedHosts and parseHostConfig of
// remotes/docker/config/hosts.go: before 1.7.32 a [host] table is required ("invalid
// `host` tree"), and before 2.2 "referrers" is an unknown capability. TOML 1.1 is for 2.4.
func refusedBy(version string, text []byte) error {
	if !AtLeast(version, toml11Since) && usesTOML11(string(text)) {
		return errTOML11
	}
	var file map[string]any
	if toml.Unmarshal(text, &file) != nil {
		return nil // of another form, which parseHosts accepts
	}
	hosts, isTable := file["host"].(map[string]any)
	if !AtLeast(version, "1.7.32") && !isTable {
		return fmt.Errorf("containerd %s requires a [host] table in it", readable.Clean(version, 20))
	}
	if !AtLeast(version, "2.2.0") && (isReferrer(file) || slices.ContainsFunc(slices.Collect(maps.Values(hosts)), isReferrer)) {
		return fmt.Errorf("containerd %s does not know the capability \"referrers\"", readable.Clean(version, 20))
	}
	return nil
}

// isReferrer reports whether a host's table has the capability "referrers".
func isReferrer(host any) bool {
	list, _ := stringOrList(table(host)["capabilities"], nil)
	return slices.ContainsFunc(list, func(name string) bool { return strings.EqualFold(name, "referrers") })
}

// tomlReason returns where a file does not parse, and why.
func tomlReason(err error) string {
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		row, col := syntax.Position()
		return fmt.Sprintf("line %d, column %d: %s", row, col, readable.Clean(strings.TrimPrefix(syntax.Error(), "toml: "), 120))
	}
	return readable.Clean(err.Error(), 160)
}

// hostTable is one host's table in hosts.toml, and the top level.
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`     // string or list
	Client       any            `toml:"client"` // string, list, or list of pairs
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"` // string or list
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

type hostsTOML struct {
	hostTable
	Server string               `toml:"server"`
	Hosts  map[string]hostTable `toml:"host"`
}

func parseHosts(dir string, text []byte, version string) (hosts []Host, unknown []string, err error) {
	order := hostOrder(text)
	if !AtLeast(version, "2.0.0") {
		order = hostOrderBefore2(text)
		if text, unknown, err = asReadBefore2(text); err != nil {
			return nil, nil, err
		}
	}
	var file hostsTOML
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil, nil, err
	}
	unknown = append(unknown, unknownKeys(text)...)
	for _, server := range order {
		h, err := file.Hosts[server].host(server, dir)
		if err != nil {
			return nil, nil, err
		}
		h.Configured = true
		hosts = append(hosts, h)
	}
	h, err := file.host(file.Server, dir)
	if err != nil {
		return nil, nil, err
	}
	h.Configured = file.Server != ""
	return append(hosts, h), unknown, nil
}

// asReadBefore2 returns a file without the keys that containerd 1 ignores and later
// versions do not, and these keys: dial_timeout, and a key that is neither in lower nor
// in upper case.
func asReadBefore2(text []byte) (out []byte, ignored []string, err error) {
	var file map[string]any
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil, nil, err
	}
	drop := func(t map[string]any, at string, known ...string) {
		for key := range t {
			lower := strings.ToLower(key)
			mixed := key != lower && key != strings.ToUpper(key) && slices.Contains(known, lower)
			if mixed || lower == "dial_timeout" {
				delete(t, key)
				ignored = append(ignored, readable.Clean(at+key, 60))
			}
		}
	}
	known := []string{"capabilities", "ca", "client", "skip_verify", "header", "override_path"}
	drop(file, "", append(known, "server", "host")...)
	for name, host := range table(file["host"]) {
		drop(table(host), "host."+name+".", known...)
	}
	slices.Sort(ignored)
	out, err = toml.Marshal(file)
	return out, ignored, err
}

// unknownKeys returns keys that containerd silently ignores, such as a misspelt one,
// or a "server" below a [host] table, which belongs to that host.
func unknownKeys(text []byte) []string {
	var out []string
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(new(hostsTOML))
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		for _, e := range strict.Errors[:min(len(strict.Errors), 8)] {
			out = append(out, readable.Clean(strings.Join(e.Key(), "."), 60))
		}
	}
	return out
}

// hostOrder returns the names of the [host."…"] tables in the order of the file. A
// host whose tables are not together is listed again, and one that is written inline
// is not listed at all, both as in containerd.
func hostOrder(text []byte) []string {
	var order []string
	var last string
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table {
			continue
		}
		key := nodeKey(e)
		if len(key) < 2 || key[0] != "host" || key[1] == last {
			continue
		}
		last = key[1]
		order = append(order, last)
	}
	return order
}

// hostOrderBefore2 returns the names of the hosts as containerd 1 orders them: each
// once, where the file names it first, in a table's name, a dotted key or an inline
// table.
func hostOrderBefore2(text []byte) []string {
	var order, table []string
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		key := nodeKey(e)
		if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			table = key
		} else {
			key = slices.Concat(table, key)
		}
		if len(key) == 0 || key[0] != "host" {
			continue
		}
		var names []string
		switch {
		case len(key) > 1:
			names = key[1:2]
		case e.Kind == unstable.KeyValue && e.Value().Kind == unstable.InlineTable:
			for it := e.Value().Children(); it.Next(); {
				names = append(names, nodeKey(it.Node())[:1]...)
			}
		}
		for _, name := range names {
			if !slices.Contains(order, name) {
				order = append(order, name)
			}
		}
	}
	return order
}

// nodeKey returns the parts of an expression's key.
func nodeKey(e *unstable.Node) (key []string) {
	for it := e.Key(); it.Next(); {
		key = append(key, string(it.Node().Data))
	}
	return key
}

// host reads one table; if server is empty, finishHosts sets the host.
func (c hostTable) host(server, dir string) (Host, error) {
	var h Host
	if server != "" {
		if !strings.HasPrefix(server, "http") {
			server = "https://" + server
		}
		u, err := url.Parse(server)
		if err != nil {
			return Host{}, fmt.Errorf("the server %q is not a URL", readable.Clean(server, 80))
		}
		h.Scheme, h.Host = u.Scheme, u.Host
		h.Path = u.Path
		if h.Path != "" {
			h.Path = path.Clean(h.Path)
		}
		if !c.OverridePath && !strings.HasSuffix(h.Path, "/v2") {
			h.Path += "/v2"
		}
	}

	var err error
	if h.Capabilities, err = capabilitiesOf(c.Capabilities); err != nil {
		return Host{}, err
	}
	absolute := func(name string) string {
		if path.IsAbs(name) {
			return name
		}
		return path.Join(dir, name)
	}
	if c.CA != nil {
		if h.CAFiles, err = stringOrList(c.CA, absolute); err != nil {
			return Host{}, fmt.Errorf("ca: %w", err)
		}
	}
	if h.clients, err = clientPairs(c.Client, absolute); err != nil {
		return Host{}, fmt.Errorf("client: %w", err)
	}
	if c.Header != nil {
		h.Header = http.Header{}
		for key, value := range c.Header {
			if h.Header[key], err = stringOrList(value, nil); err != nil {
				return Host{}, fmt.Errorf("header %q: %w", readable.Clean(key, 40), err)
			}
		}
	}
	if c.DialTimeout != "" {
		if h.DialTimeout, err = time.ParseDuration(c.DialTimeout); err != nil {
			return Host{}, fmt.Errorf("dial_timeout %q is not a duration", readable.Clean(c.DialTimeout, 40))
		}
	}
	h.ExplicitTLS = c.CA != nil || h.clients != nil || c.SkipVerify != nil
	h.SkipVerify = c.SkipVerify != nil && *c.SkipVerify
	return h, nil
}

// capabilitiesOf reads a list of capabilities; an empty one is all of them.
func capabilitiesOf(names []string) (capability, error) {
	if len(names) == 0 {
		return canAll, nil
	}
	var all capability
	for _, name := range names {
		switch strings.ToLower(name) {
		case "pull":
			all |= canPull
		case "resolve":
			all |= canResolve
		case "push":
			all |= canPush
		case "referrers":
			all |= canReferrers
		default:
			return 0, fmt.Errorf("unknown capability %q", readable.Clean(name, 40))
		}
	}
	return all, nil
}

var errNotText = errors.New("neither a text nor a list of texts")

// stringOrList reads a TOML string or list of strings; change is applied to each,
// unless it is nil.
func stringOrList(v any, change func(string) string) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, len(list))
	for i, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil, errNotText
		}
		if change != nil {
			s = change(s)
		}
		out[i] = s
	}
	return out, nil
}

// clientPairs reads one file with certificate and key, a list of such files, or a
// list of [certificate, key].
func clientPairs(v any, absolute func(string) string) ([][2]string, error) {
	var pairs [][2]string
	switch v := v.(type) {
	case nil:
	case string:
		pairs = [][2]string{{absolute(v), ""}}
	case []any:
		for _, item := range v {
			files, err := stringOrList(item, absolute)
			if err != nil {
				return nil, err
			}
			var pair [2]string
			_, isList := item.([]any)
			if isList != (len(files) == 2) {
				return nil, errors.New("not a pair of certificate and key")
			}
			copy(pair[:], files)
			pairs = append(pairs, pair)
		}
	default:
		return nil, errNotText
	}
	return pairs, nil
}

// loadCertFiles reads a directory in Docker's layout: *.crt are authorities,
// *.cert client certificates with their *.key.
func loadCertFiles(f Files, dir string) (Hosts, *Problem) {
	entries, err := f.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Hosts{}, unreadable(dir, "it", err)
	}
	var h Host
	for _, e := range entries {
		file := path.Join(dir, e.Name())
		switch {
		case e.IsDir():
		case strings.HasSuffix(file, ".crt"):
			h.CAFiles = append(h.CAFiles, file)
		case strings.HasSuffix(file, ".cert"):
			pair := [2]string{file, strings.TrimSuffix(file, ".cert") + ".key"}
			if _, err := f.Stat(pair[1]); errors.Is(err, fs.ErrNotExist) {
				pair[1] = ""
			} else if err != nil {
				return Hosts{}, unreadable(pair[1], "it", err)
			}
			h.clients = append(h.clients, pair)
		}
	}
	h.ExplicitTLS = h.CAFiles != nil || h.clients != nil
	config := Hosts{List: []Host{h}}
	if h.ExplicitTLS {
		config.File = dir
	}
	return config, nil
}

// finishHosts fills in the last host if the file does not name it, and decides on the
// scheme of hosts with http and TLS settings, by the rules of this containerd.
func finishHosts(hosts []Host, domain, version string) {
	if len(hosts) > 0 && hosts[len(hosts)-1].Host == "" {
		last := &hosts[len(hosts)-1]
		last.Scheme, last.Host, last.Path, last.Capabilities = "https", report.ServerOf(domain), "/v2", canAll
		if IsLocalhost(domain) {
			last.asLocalhost(version)
		}
	}
	if !fallsBackToHTTP(version) {
		return
	}
	for i := range hosts {
		h := &hosts[i]
		// containerd 2.0 takes a dial_timeout for a TLS setting.
		explicit := h.ExplicitTLS || h.DialTimeout != 0 && !AtLeast(version, "2.1.0")
		_, port, _ := net.SplitHostPort(h.Host)
		// Before 1.7.24 a host without a port stayed with http (containerd 11032).
		ambiguous := port != "80" && (port != "" || AtLeast(version, "1.7.24"))
		if h.Scheme == "http" && explicit && ambiguous {
			h.Scheme, h.HTTPFallback = "https", true
		}
	}
}

// fallsBackToHTTP reports whether this containerd tries https first at a host with http
// and TLS settings (containerd 9299 and 9300).
func fallsBackToHTTP(version string) bool { return backported(version, "1.6.25", "1.7.8") }

// asLocalhost sets how the runtime contacts a registry on this node.
func (h *Host) asLocalhost(version string) {
	if !AtLeast(version, "1.6.9") {
		return // like any other host (containerd 9157)
	}
	if !fallsBackToHTTP(version) {
		h.Scheme, h.SkipVerify, h.ExplicitTLS = "http", true, true
		return
	}
	_, port, _ := net.SplitHostPort(h.Host)
	if port != "" && port != "443" {
		h.Scheme = "http"
	}
	if port != "80" {
		h.SkipVerify, h.ExplicitTLS = true, true
	}
}

// loadFiles reads the authorities and client certificates of h. With an invalid file
// containerd refuses every pull from the domain.
func (h *Host) loadFiles(f Files) *Problem {
	for _, file := range h.CAFiles {
		text, err := f.ReadFile(file)
		if err != nil {
			return unreadable(file, "the ca file", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return &Problem{File: file, Reason: "the ca file has no certificate in PEM form"}
		}
		h.ExtraCAs = append(append(h.ExtraCAs, text...), '\n')
	}
	for _, pair := range h.clients {
		cert, err := f.ReadFile(pair[0])
		key := cert
		file := pair[0]
		if err == nil && pair[1] != "" {
			file = pair[1]
			key, err = f.ReadFile(file)
		}
		if err != nil {
			return unreadable(file, "the client certificate", err)
		}
		c, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return &Problem{File: file, Reason: "the client certificate and its key do not load"}
		}
		h.Certificates = append(h.Certificates, c)
	}
	return nil
}
