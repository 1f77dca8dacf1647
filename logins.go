package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/credentials"
)

// loginFile returns the file of a value of --auth-file: a path, or the file in which
// docker or podman keeps the logins of this user (docker-config(1),
// containers-auth.json(5)).
func loginFile(value string, getenv func(string) string) (path string, err error) {
	home := getenv("HOME")
	var paths []string
	switch value {
	default:
		return value, nil
	case "docker":
		if dir := getenv("DOCKER_CONFIG"); dir != "" {
			paths = []string{filepath.Join(dir, "config.json")}
		} else if home != "" {
			paths = []string{filepath.Join(home, ".docker/config.json")}
		}
	case "podman":
		if file := getenv("REGISTRY_AUTH_FILE"); file != "" {
			paths = []string{file}
			break
		}
		if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
			paths = append(paths, filepath.Join(dir, "containers/auth.json"))
		} else {
			paths = append(paths, fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid()))
		}
		if home != "" {
			paths = append(paths, filepath.Join(home, ".config/containers/auth.json"))
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
	}
	if len(paths) == 0 {
		return "", fmt.Errorf("HOME is not set: name the file, --auth-file=PATH")
	}
	return "", fmt.Errorf("%s has no logins at %s: run %s login, or name the file", value, strings.Join(paths, " or "), value)
}

// readLogins reads the files of --auth-file. A file that cannot be decoded is a result of
// the check, as with a pull secret.
func readLogins(values []string, getenv func(string) string) (out []credentials.SecretLookup, warnings []string, err error) {
	for _, value := range values {
		path, err := loginFile(value, getenv)
		if err != nil {
			return nil, nil, fmt.Errorf("--auth-file=%s: %w", value, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("--auth-file=%s: %w", value, err)
		}
		if helpers := helpersOf(data); len(helpers) > 0 {
			warnings = append(warnings, fmt.Sprintf("%s: logins that %s keeps are not read", path, strings.Join(helpers, ", ")))
		}
		secret := credentials.SecretFromFile(path, data)
		out = append(out, credentials.SecretLookup{Name: path, Secret: &secret})
	}
	return out, warnings, nil
}

// helpersOf returns the programs that keep logins in place of the file.
func helpersOf(data []byte) (out []string) {
	var config struct {
		Store   string            `json:"credsStore"`
		Helpers map[string]string `json:"credHelpers"`
	}
	if json.Unmarshal(data, &config) != nil {
		return nil
	}
	for _, name := range append(slices.Sorted(maps.Values(config.Helpers)), config.Store) {
		if program := "docker-credential-" + name; name != "" && !slices.Contains(out, program) {
			out = append(out, program)
		}
	}
	return out
}
