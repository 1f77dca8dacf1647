package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const demo = `building

==> create pods  (1 s)

$ kubectl get pod web
NAME  STATUS
web   ErrImagePull

$ kubectl describe pod web
  Warning  pullprobe  cluster-config / TagNotFound (confirmed): tag "v1" < "2" & more

%s
$ kubectl logs web
secret
`

// record returns the recording of text, one line every ten milliseconds.
func record(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	var at time.Duration
	if err := cast(strings.NewReader(text), &out, func() time.Duration { at += 10 * time.Millisecond; return at }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func draw(t *testing.T, text string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(append([]string{"svg"}, args...), bytes.NewReader(record(t, text)), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// shown returns the text of the picture, row by row. It fails if the picture is no XML, or
// can do or load anything.
func shown(t *testing.T, svg string) []string {
	t.Helper()
	var rows []string
	depth := 0
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return rows
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "text":
				depth++
				rows = append(rows, "")
			case "svg", "g", "rect", "tspan", "title", "style":
			default:
				t.Errorf("the picture has an element %s", e.Name.Local)
			}
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" {
					t.Errorf("the picture has an attribute %s", a.Name.Local)
				}
			}
		case xml.EndElement:
			if e.Name.Local == "text" {
				depth--
			}
		case xml.CharData:
			if depth > 0 {
				rows[len(rows)-1] += string(e)
			}
		}
	}
}

func TestShowsFromTo(t *testing.T) {
	rows := shown(t, draw(t, fmt.Sprintf(demo, ""), "-from", "==> create", "-to", "$ kubectl logs"))
	want := []string{
		"==> create pods  (1 s)", "$ kubectl get pod web", "NAME  STATUS", "web   ErrImagePull", "$ kubectl describe pod web",
		`  Warning  pullprobe  cluster-config / TagNotFound (confirmed): tag "v1" < "2" & more`,
	}
	if got := strings.Join(rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestMissingMark(t *testing.T) {
	for _, args := range [][]string{{"-from", "==> other"}, {"-to", "$ other"}} {
		err := run(append([]string{"svg"}, args...), bytes.NewReader(record(t, demo)), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "other") {
			t.Errorf("%q: error %v, want one that names what is missing", args, err)
		}
	}
}

var appears = regexp.MustCompile(`@keyframes f\d+\{0%\{opacity:0\}([\d.]+)%`)

// An output that is longer than the screen is shown in pages, and all within half a minute.
func TestPages(t *testing.T) {
	long := "$ long\n" + strings.Repeat("a word\n", 70)
	svg := draw(t, fmt.Sprintf(demo, long), "-from", "==> create", "-to", "$ kubectl logs")
	if !strings.Contains(svg, "g{animation:30.0s ") {
		t.Error("it does not take 30 s")
	}
	if n := strings.Count(svg, "translateY(-"); n < 3 {
		t.Errorf("it moves %d times, want 3 for 70 lines on 32 rows", n)
	}
	last := -1.0
	for _, m := range appears.FindAllStringSubmatch(svg, -1) {
		at, err := strconv.ParseFloat(m[1], 64)
		if err != nil || at < last || at > 100 {
			t.Errorf("a frame appears at %s %%, after one at %.2f %%", m[1], last)
		}
		last = at
	}
	if last < 50 {
		t.Errorf("the last frame appears at %.2f %%", last)
	}
	if got := strings.Count(strings.Join(shown(t, svg), "\n"), "a word"); got != 70 {
		t.Errorf("%d of 70 lines are shown", got)
	}
}

// The picture in the README is small, and only text.
func TestPictureOfTheDemo(t *testing.T) {
	svg, err := os.ReadFile("../../docs/demo.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(svg) > 300<<10 {
		t.Errorf("docs/demo.svg has %d bytes, want at most 300 KiB", len(svg))
	}
	rows := strings.Join(shown(t, string(svg)), "\n")
	for _, want := range []string{"ImagePullDiagnosed", "TagNotFound (confirmed)", "kubectl -n shop set image"} {
		if !strings.Contains(rows, want) {
			t.Errorf("docs/demo.svg does not show %q", want)
		}
	}
}
