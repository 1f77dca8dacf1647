package credentials

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func secret(typ, key, data string) Secret {
	return Secret{Namespace: "shop", Name: "regcred", Type: typ, Data: map[string][]byte{key: []byte(data)}}
}

func TestDecode(t *testing.T) {
	auth := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	entryOf := func(entry string) Secret { return secret(typeJSON, keyJSON, `{"auths":{"r.example":`+entry+`}}`) }
	tests := []struct {
		name     string
		secret   Secret
		user     string
		password string
		reason   string // part of the error
		fatal    bool
	}{
		{"auth", entryOf(`{"auth":"` + auth("u:p") + `"}`), "u", "p", "", false},
		{"auth without padding", entryOf(`{"auth":"` + strings.TrimRight(auth("u:pw"), "=") + `"}`), "u", "pw", "", false},
		{"password with a colon", entryOf(`{"auth":"` + auth("u:p:q") + `"}`), "u", "p:q", "", false},
		{"user and password", entryOf(`{"username":"u","password":"p"}`), "u", "p", "", false},
		{"auth wins", entryOf(`{"username":"x","password":"y","auth":"` + auth("u:p") + `"}`), "u", "p", "", false},
		{"legacy", secret(typeLegacy, keyLegacy, `{"r.example":{"auth":"`+auth("u:p")+`"}}`), "u", "p", "", false},
		{"identity token is ignored", entryOf(`{"identitytoken":"t"}`), "", "", "", false},

		{"null", entryOf(`null`), "", "", "", false},
		{"user only", entryOf(`{"auth":"` + auth("u:") + `"}`), "u", "", "", false},
		{"password only", entryOf(`{"auth":"` + auth(":p") + `"}`), "", "p", "", false},
		{"field in capitals", secret(typeJSON, keyJSON, `{"AUTHS":{"r.example":{"Auth":"`+auth("u:p")+`"}}}`), "u", "p", "", false},
		{"other fields may be anything",
			secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("u:p")+`","identitytoken":7}},"credsStore":[1]}`), "u", "p", "", false},
		{"headers, unused",
			secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","password":"p"}},"HttpHeaders":{"X":"y"}}`), "u", "p", "", false},
		{"space around auth", entryOf(`{"auth":"` + auth("u:p") + `\n"}`), "u", "p", "", false},

		{"headers of the wrong type",
			secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","password":"p"}},"HttpHeaders":{"X":["y"]}}`), "", "", "array", true},
		{"URL-safe base64",
			entryOf(`{"auth":"` + strings.NewReplacer("+", "-", "/", "_").Replace(auth("u:\xff\xfe\xfb\xff")) + `"}`), "", "", "not base64", true},
		{"auth and space without padding", entryOf(`{"auth":" ` + strings.TrimRight(auth("u:pw"), "=") + `"}`), "", "", "not base64", true},
		{"base64 twice", secret(typeJSON, keyJSON, base64.StdEncoding.EncodeToString([]byte(`{"auths":{}}`))), "", "", "not JSON", true},
		{"email of the wrong type", entryOf(`{"username":"u","email":7}`), "", "", "number", true},
		{"legacy text under the newer type", secret(typeJSON, keyJSON, `{"r.example":{"auth":"`+auth("u:p")+`"}}`), "", "", "no entry", false},
		{"newer text under the legacy type",
			secret(typeLegacy, keyLegacy, `{"auths":{"r.example":{"auth":"`+auth("u:p")+`"}}}`), "", "", "", false},
		{"newer type, key of the legacy one", secret(typeJSON, keyLegacy, `{"r.example":{"auth":"`+auth("u:p")+`"}}`), "", "", "empty", false},
		{"not JSON", secret(typeJSON, keyJSON, `hunter2`), "", "", "not JSON", true},
		{"not base64", entryOf(`{"auth":"!hunter2!"}`), "", "", "not base64", true},
		{"no colon", entryOf(`{"auth":"` + auth("hunter2") + `"}`), "", "", "user:password", true},
		{"wrong JSON type", entryOf(`{"auth":7}`), "", "", "number", true},
		{"one bad entry spoils the rest",
			secret(typeJSON, keyJSON, `{"auths":{"good.example":{"auth":"`+auth("u:p")+`"},"r.example":{"auth":"!"}}}`), "", "", "not base64", true},
		{"empty", secret(typeJSON, keyJSON, ``), "", "", "empty", false},
		{"no entries", secret(typeJSON, keyJSON, `{}`), "", "", "no entry", false},
		{"wrong type", secret("Opaque", keyJSON, `{"auths":{}}`), "", "", "Opaque", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeSecret(tt.secret)
			if tt.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != 1 || got[0].Username != tt.user || got[0].Password != tt.password {
					t.Errorf("got %q %q", got[0].Username, got[0].Password)
				}
				return
			}
			bad, ok := errors.AsType[*UnusableError](err)
			if !ok {
				t.Fatalf("error %v, want an UnusableError", err)
			}
			if bad.Fatal != tt.fatal || !strings.Contains(bad.Reason, tt.reason) {
				t.Errorf("fatal=%v %q", bad.Fatal, bad.Reason)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the secret: %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(typeJSON, []byte(`{"auths":{"r.example":{"auth":"dTpw"}}}`))
	f.Add(typeLegacy, []byte(`{"r.example":{"username":"u"}}`))
	f.Add(typeJSON, []byte(`{"auths":{"https://%zz":null}}`))
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		s := Secret{Namespace: "n", Name: "s", Type: typ, Data: map[string][]byte{keyJSON: data, keyLegacy: data}}
		Resolve("r.example/app", Sources{Secrets: []SecretLookup{{Namespace: "n", Name: "s", Secret: &s}}, Now: time.Unix(1, 0)})
	})
}
