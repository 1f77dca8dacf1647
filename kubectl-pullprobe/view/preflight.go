package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Preflight is what is known of the images of one workload.
type Preflight struct {
	Name      string `json:"name"` // kind/name
	Namespace string `json:"namespace"`
	Problem   string `json:"problem,omitempty"` // why there is no answer, or not from all nodes

	Kinds        []PreflightKind      `json:"kinds,omitempty"`
	KindsOmitted int                  `json:"kindsOmitted,omitempty"` // kinds that are not checked: there are too many
	Excluded     []preflight.Excluded `json:"excluded,omitempty"`     // nodes where the pod cannot run
}

// PreflightKind is a kind of nodes, with what its node has found so far.
type PreflightKind struct {
	preflight.Kind
	Results []preflight.Result `json:"results,omitempty"`
}

// Faulty reports whether a fault was found.
func (p Preflight) Faulty() bool {
	return slices.ContainsFunc(p.Kinds, func(k PreflightKind) bool { return slices.ContainsFunc(k.Results, preflight.Result.Faulty) })
}

// Healthy reports whether every image was found healthy on every kind of nodes.
func (p Preflight) Healthy() bool {
	sick := func(r preflight.Result) bool { return !r.Healthy() || r.Left > 0 }
	silent := func(k PreflightKind) bool {
		return len(k.Results) == 0 || len(k.Results) < k.Results[0].Of || slices.ContainsFunc(k.Results, sick)
	}
	return p.Problem == "" && p.KindsOmitted == 0 && len(p.Kinds) > 0 && !slices.ContainsFunc(p.Kinds, silent)
}

// WritePreflights adds the table of images and kinds of nodes, the verdicts, and the remarks.
func WritePreflights(t *screen.Text, list []Preflight) {
	v := preflightView{Text: t, list: list}
	v.addColumns()
	v.addRows()
	if len(v.rows) == 0 {
		v.writeKinds()
		return
	}
	v.writeTable()
	v.writeKinds()
	v.writeVerdicts()
	v.writeRemarks()
}

// preflightView is what the parts of the text have in common.
type preflightView struct {
	*screen.Text
	list    []Preflight
	columns []column
	rows    []imageRow
}

// column is one kind of nodes, of all workloads.
type column struct {
	kind  preflight.Kind // without its nodes
	label string
	nodes []string // that checked
	count int      // how many there are
}

// imageRow is one image of one workload.
type imageRow struct {
	workload Preflight
	image    string
	policy   int // of the results of a node: the same image may be there with two pull policies
}

// traits returns what tells a kind from others.
func traits(k preflight.Kind) []string { return []string{k.Arch, k.Pool, k.Zone} }

// addColumns collects the kinds. Each is named by the traits in which they differ.
func (v *preflightView) addColumns() {
	for _, p := range v.list {
		for _, k := range p.Kinds {
			at := slices.IndexFunc(v.columns, func(c column) bool { return slices.Equal(traits(c.kind), traits(k.Kind)) })
			if at < 0 {
				at = len(v.columns)
				v.columns = append(v.columns, column{kind: k.Kind})
			}
			c := &v.columns[at]
			c.count = max(c.count, k.Nodes)
			if k.Node != "" && !slices.Contains(c.nodes, k.Node) {
				c.nodes = append(c.nodes, k.Node)
			}
		}
	}
	for i := range v.columns {
		own := traits(v.columns[i].kind)
		var differs []string
		for n, trait := range own {
			if slices.ContainsFunc(v.columns, func(c column) bool { return traits(c.kind)[n] != trait }) {
				differs = append(differs, cmp.Or(trait, "none"))
			}
		}
		if len(v.columns) == 1 {
			differs = slices.DeleteFunc(own, func(s string) bool { return s == "" })
		}
		v.columns[i].label = cmp.Or(strings.Join(differs, "/"), "all nodes")
	}
}

// addRows collects the images in the order of their pods.
func (v *preflightView) addRows() {
	for _, p := range v.list {
		var seen []int
		for _, k := range p.Kinds {
			for _, r := range k.Results {
				if !slices.Contains(seen, r.Index) {
					seen = append(seen, r.Index)
					v.rows = append(v.rows, imageRow{p, r.Image, r.Index})
				}
			}
		}
	}
}

// result returns what a kind of nodes says about an image. ok is false if it says nothing.
func (v *preflightView) result(r imageRow, c column) (k PreflightKind, found preflight.Result, ok bool) {
	at := slices.IndexFunc(r.workload.Kinds, func(k PreflightKind) bool { return slices.Equal(traits(k.Kind), traits(c.kind)) })
	if at < 0 {
		return k, found, false
	}
	k = r.workload.Kinds[at]
	i := slices.IndexFunc(k.Results, func(x preflight.Result) bool { return x.Index == r.policy })
	if i < 0 {
		return k, found, false
	}
	return k, k.Results[i], true
}

// cell returns what a kind of nodes says about an image, in a word or two.
func (v *preflightView) cell(r imageRow, c column) screen.Cell {
	k, x, ok := v.result(r, c)
	paint := func(f report.Fault) func(string) string { return func(s string) string { return v.Fault(f, s) } }
	switch {
	case ok && x.Healthy():
		return screen.Cell{Text: "ok" + pullTime(x), Paint: paint(report.FaultNone)}
	case ok && x.Faulty():
		return screen.Cell{Text: string(x.Verdict.Cause), Paint: paint(report.FaultNode)}
	case ok:
		return screen.Cell{Text: "undetermined", Paint: paint(report.FaultUndetermined)}
	case k.Nodes == 0: // the pod may not run there
		return screen.Cell{}
	case k.Node == "":
		return screen.Cell{Text: "no agent", Paint: paint(report.FaultUndetermined)}
	}
	return screen.Cell{Text: "no answer", Paint: paint(report.FaultUndetermined)}
}

func pullTime(x preflight.Result) string {
	if x.Seconds == 0 {
		return ""
	}
	return ", " + readable.Roughly(time.Duration(x.Seconds)*time.Second)
}

// maxKinds is how many kinds of nodes may be beside each other.
const maxKinds = 4

// writeTable adds how it is with each image on each kind of nodes.
func (v *preflightView) writeTable() {
	v.Para(v.verdict())
	v.Blank()
	head, rows := []string{"IMAGE", "SIZE"}, [][]screen.Cell{}
	many := len(v.list) > 1
	if many {
		head = append([]string{"WORKLOAD"}, head...)
	}
	wide := len(v.columns) <= maxKinds
	if wide {
		for _, c := range v.columns {
			head = append(head, c.label)
		}
	} else {
		head = append(head, "KIND", "RESULT")
	}
	for _, r := range v.rows {
		first := screen.Cells(r.image, v.size(r))
		if many {
			first = append(screen.Cells(r.workload.Name), first...)
		}
		if wide {
			for _, c := range v.columns {
				first = append(first, v.cell(r, c))
			}
			rows = append(rows, first)
			continue
		}
		for _, c := range v.columns {
			if x := v.cell(r, c); x.Text != "" {
				rows = append(rows, append(slices.Clone(first), screen.Cell{Text: c.label}, x))
			}
		}
	}
	v.Table(head, rows)
}

// size returns the compressed size of an image; the largest if the platforms differ.
func (v *preflightView) size(r imageRow) string {
	size := int64(0)
	for _, c := range v.columns {
		if _, x, ok := v.result(r, c); ok {
			size = max(size, x.Bytes)
		}
	}
	if size == 0 {
		return ""
	}
	return readable.Bytes(size)
}

// verdict returns in one sentence how it is.
func (v *preflightView) verdict() string {
	faulty, sure := 0, 0
	for _, r := range v.rows {
		bad, good := false, true
		for _, c := range v.columns {
			k, x, ok := v.result(r, c)
			bad = bad || ok && x.Faulty()
			good = good && (ok && x.Healthy() || !ok && k.Nodes == 0)
		}
		if bad {
			faulty++
		} else if good {
			sure++
		}
	}
	all := screen.Plural(len(v.rows), "image")
	where := "on " + screen.Plural(len(v.columns), "kind") + " of nodes"
	switch {
	case faulty > 0:
		return fmt.Sprintf("%d of %s cannot be pulled on every kind of nodes. Nothing was pulled.", faulty, all)
	case sure == len(v.rows):
		return fmt.Sprintf("%s can be pulled %s. Nothing was pulled.", all, where)
	}
	return fmt.Sprintf("No fault was found, and %d of %s could not be checked in full %s.", len(v.rows)-sure, all, where)
}

// writeKinds adds the kinds of nodes, and the nodes where a pod cannot run.
func (v *preflightView) writeKinds() {
	rows := make([][]screen.Cell, 0, len(v.columns))
	for _, c := range v.columns {
		by := "no agent reports there"
		if len(c.nodes) > 0 {
			by = readable.Abbreviate(c.nodes)
		}
		rows = append(rows, screen.Cells(c.label, fmt.Sprint(c.count), by))
	}
	if len(rows) > 0 {
		v.Blank()
		v.Table([]string{"KIND", "NODES", "CHECKED BY"}, rows)
	}
	for _, f := range v.leftOut() {
		before := ""
		if len(f.images) < len(v.list) {
			before = readable.Abbreviate(f.images) + ": "
		}
		v.Para(before + f.text)
	}
}

// leftOut returns what is not checked, with the names of the workloads in place of images.
func (v *preflightView) leftOut() (out []*found) {
	for _, p := range v.list {
		add := func(text string) {
			foundIn(&out, func(f *found) bool { return f.text == text }, found{text: text}).add(p.Name, "")
		}
		if n := p.KindsOmitted; n > 0 {
			add(fmt.Sprintf("Not checked: %s of nodes more; at most %d are.", screen.Plural(n, "kind"), preflight.MaxKinds))
		}
		for _, x := range p.Excluded {
			add(fmt.Sprintf("Left out: %s: %s.", screen.Plural(x.Nodes, "node"), x.Why))
		}
		for _, k := range p.Kinds {
			if len(k.Results) > 0 && k.Results[0].Left > 0 {
				add(fmt.Sprintf("Not checked: %s more; at most %d of a pod are.", screen.Plural(k.Results[0].Left, "image"), preflight.MaxImages))
				break
			}
		}
	}
	return out
}

// found is what was found of some images on some kinds of nodes, for one reason.
type found struct {
	verdict report.Verdict
	text    string // of a remark
	images  []string
	on      []string // labels of kinds, with the node that checked
}

// foundIn returns the first of a list that matches, or adds one.
func foundIn(list *[]*found, matches func(*found) bool, otherwise found) *found {
	at := slices.IndexFunc(*list, matches)
	if at < 0 {
		at = len(*list)
		*list = append(*list, &otherwise)
	}
	return (*list)[at]
}

// add adds an image and a kind of nodes.
func (f *found) add(image, on string) {
	if !slices.Contains(f.images, image) {
		f.images = append(f.images, image)
	}
	if !slices.Contains(f.on, on) {
		f.on = append(f.on, on)
	}
}

// each calls f for all results, by image.
func (v *preflightView) each(f func(x preflight.Result, on string)) {
	for _, r := range v.rows {
		for _, c := range v.columns {
			if k, x, ok := v.result(r, c); ok {
				f(x, c.label+" ("+k.Node+")")
			}
		}
	}
}

// writeVerdicts adds the verdicts that are not healthy, those with one reason together.
func (v *preflightView) writeVerdicts() {
	var list []*found
	v.each(func(x preflight.Result, on string) {
		if x.Healthy() {
			return
		}
		same := func(f *found) bool {
			a, b := f.verdict, x.Verdict
			return a.Conclusion() == b.Conclusion() && a.Confidence == b.Confidence && a.Summary == b.Summary && a.Fix == b.Fix
		}
		foundIn(&list, same, found{verdict: x.Verdict}).add(x.Image, on)
	})
	for _, f := range list {
		v.Blank()
		v.Head(f.verdict.Fault, f.verdict.Title(), screen.Plural(len(f.images), "image"))
		v.Field("image", readable.Abbreviate(f.images))
		v.Field("on", strings.Join(f.on, ", "))
		v.Field("why", f.verdict.Summary)
		v.Lines("fix", f.verdict.Fix)
		for _, s := range f.verdict.ToConfirm() {
			v.Lines("to confirm", s)
		}
	}
}

// writeRemarks adds what is no fault and worth knowing.
func (v *preflightView) writeRemarks() {
	var list []*found
	timed := false
	v.each(func(x preflight.Result, on string) {
		timed = timed || x.Healthy() && x.Seconds > 0
		for _, text := range x.Remarks {
			foundIn(&list, func(f *found) bool { return f.text == text }, found{text: text}).add(x.Image, on)
		}
	})
	if len(list) > 0 || timed {
		v.Blank()
		v.Line("%s", v.Bold("Remarks"))
	}
	for _, f := range list {
		where := ""
		if len(f.on) < len(v.columns) {
			where = " on " + strings.Join(f.on, ", ")
		}
		v.Indented("  ", "    ", readable.Abbreviate(f.images)+where+": "+f.text)
	}
	if timed {
		v.Indented("  ", "    ", "a time in the table is that of a pull, at the rate of the last test pull on that node")
	}
}
