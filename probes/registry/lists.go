package registry

import (
	"encoding/json"
	"strings"
)

// hasMore reports whether a list continues after this page.
func hasMore(list *reply) bool { return list.cut || list.header.Get("Link") != "" }

// tagsIn returns the tags of a tag list, of which the end may be cut off.
func tagsIn(body []byte) []string {
	var list struct {
		Tags []string `json:"tags"`
	}
	readList(body, &list)
	return list.Tags
}

// readList reads a JSON object that ends with a list of strings, of which the
// end may be cut off.
func readList(body []byte, into any) {
	if json.Unmarshal(body, into) == nil {
		return
	}
	if i := strings.LastIndex(string(body), `",`); i > 0 {
		_ = json.Unmarshal(append(body[:i+1:i+1], "]}"...), into) // not a list: nothing is read
	}
}
