package credentials

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// However a credential is printed, logged or marshalled, its secrets do not show.
func TestCredentialShowsNoSecret(t *testing.T) {
	c := Credential{
		Server:        "r.example",
		Username:      "user-canary",
		Password:      "password-canary",
		IdentityToken: "token-canary",
		Source:        "secret default/regcred",
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credential", c, "pointer", &c)
	b, err := json.Marshal(map[string]any{"c": c, "p": &c})
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s %q %d %x %v %+v", c, c, c, c, c, c, c, &c, []Credential{c}) + log.String() + string(b)
	for _, secret := range []string{"canary", fmt.Sprintf("%x", "canary")} {
		if strings.Contains(out, secret) {
			t.Errorf("%q shows in %s", secret, out)
		}
	}
	if !strings.Contains(out, c.Source) {
		t.Errorf("the source does not show in %s", out)
	}
}
