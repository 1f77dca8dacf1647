package answers

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/probes/httpclient"
)

// HasMore reports whether a list continues after this page.
func HasMore(list *httpclient.Reply) bool { return list.Cut || list.Header.Get("Link") != "" }

// Tags returns the tags of a tag list, of which the end may be cut off.
func Tags(body []byte) []string {
	var list struct {
		Tags []string `json:"tags"`
	}
	ReadList(body, &list)
	return list.Tags
}

// NewestTag returns the tag that was pushed last, by the times that registries of Google add
// to a whole list of tags (go-containerregistry, pkg/v1/google); empty: it has no times.
func NewestTag(body []byte) string {
	var list struct {
		Manifests map[string]struct {
			Tags     []string `json:"tag"`
			Uploaded string   `json:"timeUploadedMs"`
		} `json:"manifest"`
	}
	if json.Unmarshal(body, &list) != nil {
		return ""
	}
	newest, at := "", int64(0)
	for _, m := range list.Manifests {
		uploaded, err := strconv.ParseInt(m.Uploaded, 10, 64)
		if err != nil || len(m.Tags) == 0 {
			continue
		}
		if tag := slices.Max(m.Tags); uploaded > at || uploaded == at && tag > newest {
			newest, at = tag, uploaded
		}
	}
	return newest
}

// ReadList reads a JSON object that ends with a list of strings, of which the
// end may be cut off.
func ReadList(body []byte, into any) {
	if json.Unmarshal(body, into) == nil {
		return
	}
	if i := strings.LastIndex(string(body), `",`); i > 0 {
		_ = json.Unmarshal(append(body[:i+1:i+1], "]}"...), into) // not a list: nothing is read
	}
}
