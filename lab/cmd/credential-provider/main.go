// Credential-provider is a kubelet credential provider plugin that works or fails
// in a chosen mode.
//
//	credential-provider MODE|@FILE
//
// MODE, or the content of FILE, is one of:
//
//	works      returns the user and password in $PROVIDER_USER and $PROVIDER_PASSWORD
//	           for $PROVIDER_KEY, or for the image's registry; they may be cached for
//	           $PROVIDER_CACHE, or not at all
//	nothing    returns no credentials
//	hangs      never answers
//	exit       writes to standard error and exits with status 3
//	garbage    writes something that is not a response
//	version    answers in another version than the request's
//	cachekey   answers with an unknown cacheKeyType
//	unknown    answers with a field that does not exist
//	huge       writes over 32 MiB
//	child      answers, and a child process keeps its output open
//	token      works, if the request has a ServiceAccount's token; else exits with status 4
//	returns    returns the ServiceAccount's token as the password
//	echo       returns the request as the user name, and its working directory and
//	           the variable $HOME as the password
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

type request struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Image      string `json:"image"`

	ServiceAccountToken string `json:"serviceAccountToken"`
}

func main() {
	mode := "works"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	if file, ok := strings.CutPrefix(mode, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			exitWithError(err)
		}
		mode = strings.TrimSpace(string(b))
	}
	if mode == "hangs" {
		time.Sleep(time.Hour)
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		exitWithError(err)
	}
	var r request
	if err := json.Unmarshal(input, &r); err != nil || r.Kind != "CredentialProviderRequest" {
		exitWithError(fmt.Errorf("standard input has no request: %w", err))
	}
	user, password := os.Getenv("PROVIDER_USER"), os.Getenv("PROVIDER_PASSWORD")
	key := os.Getenv("PROVIDER_KEY")
	if key == "" {
		key, _, _ = strings.Cut(r.Image, "/")
	}
	answer := map[string]any{
		"kind": "CredentialProviderResponse", "apiVersion": r.APIVersion, "cacheKeyType": "Image",
		"cacheDuration": cmp.Or(os.Getenv("PROVIDER_CACHE"), "0s"),
		"auth":          map[string]any{key: map[string]string{"username": user, "password": password}},
	}
	switch mode {
	case "works":
	case "token":
		if r.ServiceAccountToken == "" {
			os.Exit(4)
		}
	case "returns":
		answer["auth"] = map[string]any{key: map[string]string{"username": user, "password": r.ServiceAccountToken}}
	case "nothing":
		answer["auth"] = nil
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot log in with", password)
		os.Exit(3)
	case "garbage":
		fmt.Println("token:", password)
		return
	case "version":
		answer["apiVersion"] = "credentialprovider.kubelet.k8s.io/v1beta1"
	case "cachekey":
		answer["cacheKeyType"] = "Everything"
	case "unknown":
		answer["token"] = password
	case "huge":
		line := strings.Repeat(password+" ", 1000)
		for n := 0; n < 32<<20; n += len(line) { // bounded, because the kubelet keeps all of it in memory
			if _, err := fmt.Println(line); err != nil {
				os.Exit(1)
			}
		}
		return
	case "child":
		cmd := exec.Command(os.Args[0], "hangs")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stdout
		if err := cmd.Start(); err != nil {
			exitWithError(err)
		}
	case "echo":
		dir, _ := os.Getwd()
		answer["auth"] = map[string]any{key: map[string]string{"username": string(input), "password": dir + " " + os.Getenv("HOME")}}
	default:
		exitWithError(fmt.Errorf("unknown mode %q", mode))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		exitWithError(err)
	}
}

func exitWithError(err error) {
	fmt.Fprintln(os.Stderr, "credential-provider:", err)
	os.Exit(1)
}
