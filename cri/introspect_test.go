package cri

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// pluginsAnswer is a PluginsResponse with one plugin that exports one value.
func pluginsAnswer(key, value string) []byte {
	field := func(to []byte, n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), b)
	}
	entry := field(field(nil, 1, []byte(key)), 2, []byte(value))
	return field(nil, 1, field(field(nil, 2, []byte("images")), 5, entry))
}

func TestExported(t *testing.T) {
	if got := exported(pluginsAnswer("RegistryConfigPath", "/certs.d"), "RegistryConfigPath"); got == nil || *got != "/certs.d" {
		t.Errorf("got %v", got)
	}
	if got := exported(pluginsAnswer("Another", "/certs.d"), "RegistryConfigPath"); got != nil {
		t.Errorf("got %q of another export", *got)
	}
}

func FuzzExported(f *testing.F) {
	f.Add(pluginsAnswer("RegistryConfigPath", "/certs.d"), "RegistryConfigPath")
	f.Add([]byte("\x0a\xff\xff\xff\xff\x0f"), "")
	f.Fuzz(func(t *testing.T, response []byte, name string) {
		if got := exported(response, name); got != nil && len(*got) > len(response) {
			t.Errorf("%q", *got)
		}
	})
}
