package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

const docs = "https://github.com/pullprobe/pullprobe/blob/main/docs/"

// board is the dashboard while it is built.
type board struct {
	*dashboard.DashboardBuilder
	panels uint32 // and rows, so far
}

// build returns the dashboard.
func build() (dashboard.Dashboard, error) {
	b := board{DashboardBuilder: dashboard.NewDashboardBuilder("pullprobe: image pulls").
		Uid("pullprobe").
		Description("Why images cannot be pulled on the nodes of this cluster, and who must act. From the metrics of pullprobe.").
		Tags([]string{"kubernetes", "pullprobe"}).
		Time("now-3h", "now").
		Refresh("1m").
		Readonly().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(link("Runbooks", docs+"runbooks.md")).
		Link(link("Causes", docs+"causes.md")).
		Link(link("Metrics", docs+"metrics.md")).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(labelVariable("node", `pullprobe_build_info`)).
		WithVariable(labelVariable("registry", `{__name__=~"pullprobe_registry_reachable|pullprobe_pod_images_total",node=~"$node"}`))}
	b.addBroken()
	b.addReach()
	b.addComing()
	b.addPulls()
	b.addNodes()
	b.addAgent()
	return b.Build()
}

func link(title, url string) cog.Builder[dashboard.DashboardLink] {
	return dashboard.NewDashboardLinkBuilder(title).Type(dashboard.DashboardLinkTypeLink).Url(url).TargetBlank(true)
}

// labelVariable returns a variable of the values that a label has in these series. "All"
// also matches series without the label.
func labelVariable(label, series string) cog.Builder[dashboard.VariableModel] {
	all := dashboard.VariableOption{
		Text:  dashboard.StringOrArrayOfString{String: new("All")},
		Value: dashboard.StringOrArrayOfString{String: new("$__all")},
	}
	return dashboard.NewQueryVariableBuilder(label).
		Datasource(datasource()).
		Query(dashboard.StringOrMap{String: new("label_values(" + series + ", " + label + ")")}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).
		IncludeAll(true).
		AllValue(".*").
		Current(all)
}

func datasource() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}
}

// panel is what all kinds of panels have in common.
type panel struct {
	title       string
	description string // what it shows, and what to do
	width       uint32 // of 24
	height      uint32
}

// finished is a panel that has been built.
type finished dashboard.Panel

// Build implements [cog.Builder].
func (f finished) Build() (dashboard.Panel, error) { return dashboard.Panel(f), nil }

// row begins a row of panels.
func (b *board) row(title string) {
	b.panels++
	b.WithRow(dashboard.NewRowBuilder(title).Id(b.panels))
}

// add adds a panel of one kind with its queries.
func (b *board) add(p panel, kind cog.Builder[dashboard.Panel], queries ...*prometheus.DataqueryBuilder) {
	built, err := kind.Build()
	if err != nil {
		b.RecordError(p.title, err)
		return
	}
	b.panels++
	built.Id = new(b.panels)
	built.Title, built.Description = &p.title, &p.description
	built.GridPos = &dashboard.GridPos{W: p.width, H: p.height}
	built.Datasource = new(datasource())
	for i, q := range queries {
		target, err := q.RefId(string(rune('A' + i))).Datasource(datasource()).Build()
		if err != nil {
			b.RecordError(p.title, err)
			return
		}
		built.Targets = append(built.Targets, target)
	}
	b.WithPanel(finished(built))
}

// chosen puts the choice of the user into an expression: NODES, or HOSTS, which are the
// registries on these nodes.
var chosen = strings.NewReplacer("NODES", `node=~"$node"`, "HOSTS", `node=~"$node",registry=~"$registry"`)

// over returns a query over the time range. Its series are named by the legend.
func over(legend, expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(chosen.Replace(expr)).LegendFormat(legend).Range()
}

// now returns a query for the end of the time range. Its series are named by the legend.
func now(legend, expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(chosen.Replace(expr)).LegendFormat(legend).Instant()
}

// rows returns a query for the end of the time range, as a table with a column for each
// label and the column "Value".
func rows(expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(chosen.Replace(expr)).Instant().Format(prometheus.PromQueryFormatTable)
}

// thresholds returns the color below the first value, then values with the color from
// there on.
func thresholds(below string, from ...dashboard.Threshold) dashboard.ThresholdsConfig {
	return dashboard.ThresholdsConfig{
		Mode:  dashboard.ThresholdsModeAbsolute,
		Steps: append([]dashboard.Threshold{{Color: below}}, from...),
	}
}

// steps is thresholds for a whole panel.
func steps(below string, from ...dashboard.Threshold) cog.Builder[dashboard.ThresholdsConfig] {
	t := thresholds(below, from...)
	return dashboard.NewThresholdsConfigBuilder().Mode(t.Mode).Steps(t.Steps)
}

func from(value float64, color string) dashboard.Threshold {
	return dashboard.Threshold{Value: &value, Color: color}
}

// text returns a mapping of values to texts with a color.
func text(of map[string]dashboard.ValueMappingResult) []dashboard.ValueMapping {
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: of}}}
}

func shown(as, color string) dashboard.ValueMappingResult {
	return dashboard.ValueMappingResult{Text: &as, Color: &color}
}

// byThreshold colors by the thresholds.
func byThreshold() cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)
}

// columns renames and orders the columns of a table: label, title, label, title, … What is
// not named comes last; the time is left out.
func columns(titles ...string) dashboard.DataTransformerConfig {
	rename, index := map[string]string{}, map[string]int{}
	for i := 0; i+1 < len(titles); i += 2 {
		rename[titles[i]], index[titles[i]] = titles[i+1], i/2
	}
	return dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
		"excludeByName": map[string]bool{"Time": true}, "renameByName": rename, "indexByName": index,
	}}
}
