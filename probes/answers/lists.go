package answers

import (
	"encoding/json"
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
