package answers

import (
	"encoding/xml"
	"net/http"

	"encoding/json"
	"strings"

	"github.com/pullprobe/pullprobe/probes/httpclient"
)

// ErrorCode returns the first error code in a registry's JSON answer, such as
// MANIFEST_UNKNOWN; empty if there is none. The error's message is not read.
func ErrorCode(body []byte) string {
	var answer struct {
		Errors []struct {
			Code json.RawMessage `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	var code string
	if json.Unmarshal(answer.Errors[0].Code, &code) != nil || len(code) > 40 ||
		strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
		return ""
	}
	return code
}

// StoreCode returns the error code of a registry, or of an object store (the
// element Code of S3's, Azure's and Google's answers).
func StoreCode(body []byte) string {
	if code := ErrorCode(body); code != "" {
		return code
	}
	var answer struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
	}
	// The end may be cut off: what was read before it counts.
	_ = xml.Unmarshal(body, &answer)
	if len(answer.Code) > 40 || strings.Trim(strings.ToLower(answer.Code), "abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return answer.Code
}

// NoRepository reports whether the answer to a list of tags means that the repository
// does not exist. NOT_FOUND is Harbor's; in the answer to a manifest, unlike to a list
// of tags, it would tell nothing about the repository.
func NoRepository(rep *httpclient.Reply) bool {
	if rep.Status != http.StatusNotFound {
		return false
	}
	switch ErrorCode(rep.Body) {
	case "NAME_UNKNOWN", "NAME_INVALID", "REPOSITORY_UNKNOWN", "NOT_FOUND":
		return true
	}
	return false
}
