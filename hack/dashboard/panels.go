package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// addBroken adds what is broken now, and who must act.
func (b *board) addBroken() {
	b.row("What is broken, and who must act")
	b.add(panel{"Pods that wait for an image",
		"Each is stuck until someone acts. The table below says who. For the fix of one pod: kubectl describe pod " +
			"POD, the Event ImagePullDiagnosed.", 6, 4},
		count(), now("", `sum(pullprobe_stuck_pods{NODES})`))
	b.add(panel{"Registries not reached",
		"Registries, mirrors and token services that one node or more cannot reach now. If it is all nodes, ask " +
			"who runs the registry; if it is some, compare them in the row Reach.", 6, 4},
		count(), now("", `count(count by (registry) (
  pullprobe_registry_reachable{HOSTS} == 0
    and on (node, registry) pullprobe_registry_role{role!="control"}
)) or 0 * count(pullprobe_build_info{NODES})`))
	b.add(panel{"Nodes with a fault",
		"Nodes whose disk, runtime, clock or network failed a check. Pulls fail there, whatever the registry. Who " +
			"runs the nodes repairs what the table below names.", 6, 4},
		count(), now("", `count(count by (node) (pullprobe_node_fault{NODES})) or 0 * count(pullprobe_build_info{NODES})`))
	b.add(panel{"Agents not scraped",
		"What this dashboard shows of their nodes is old or missing. Look at the agent's pod, and at the error on " +
			"Prometheus' page /targets.", 6, 4},
		count(), now("", `count(up{job="pullprobe",NODES} == 0) or 0 * count(up{job="pullprobe",NODES})`))

	b.add(panel{"Waiting pods: who must act",
		"The pods that wait now, by the worst verdict of each. cluster-config: who owns the manifest. " +
			"node-infrastructure: who runs the nodes. registry: who runs the registry. undetermined: the pod's Event " +
			"says what would decide it.", 12, 7},
		rowsPanel().NoValue("no pod waits").WithTransformation(columns("fault", "who must act", "cause", "cause", "Value", "pods")).
			SortBy(descending("pods")),
		rows(`sum by (fault, cause) (pullprobe_stuck_pods_by_cause{NODES})`))
	b.add(panel{"Registries and nodes: who must act",
		"Each registry, and each check of a node, that fails now, and on how many nodes. The causes are explained " +
			"in causes.md; a node's report has the fix: kubectl get cm -n pullprobe pullprobe-NODE.", 12, 7},
		rowsPanel().NoValue("nothing fails").
			WithTransformation(columns("fault", "who must act", "cause", "cause", "subject", "registry or check", "Value", "nodes")).
			SortBy(descending("nodes")),
		rows(`count by (fault, cause, subject) (
  label_replace(pullprobe_registry_fault{HOSTS}, "subject", "$1", "registry", "(.*)")
    or label_replace(pullprobe_node_fault{NODES}, "subject", "$1", "check", "(.*)")
)`))
}

// count returns a panel with one number, which should be 0.
func count() *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		ColorMode(common.BigValueColorModeBackground).
		GraphMode(common.BigValueGraphModeNone).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		NoValue("no metrics").
		Thresholds(steps("green", from(1, "red")))
}

// rowsPanel returns a table.
func rowsPanel() *table.PanelBuilder {
	return table.NewPanelBuilder().Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{}))
}

func descending(column string) []cog.Builder[common.TableSortByFieldState] {
	return []cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(column).Desc(true)}
}

func ascending(column string) []cog.Builder[common.TableSortByFieldState] {
	return []cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(column)}
}

// addReach adds which registries are reached, when, and from where.
func (b *board) addReach() {
	b.row("Reach")
	b.add(panel{"Reach of each registry",
		"The share of the nodes that reach it. Red: none does, so begin with the registry or the cluster's way " +
			"out. Orange: some do, so begin with what the others have in common. Look for a change at the time when " +
			"it began.", 24, 9},
		timeline(), over("{{registry}}", `avg by (registry) (pullprobe_registry_reachable{HOSTS})`))
	b.add(panel{"Nodes and registries",
		"A red column is a registry that no node reaches: begin with who runs it, or with the cluster's way out. A " +
			"red row is a node that reaches nothing: begin with the node. Single red cells: compare subnet, resolver " +
			"and proxy. Empty: the node does not use it.", 12, 9},
		rowsPanel().
			WithTransformation(dashboard.DataTransformerConfig{Id: "groupingToMatrix", Options: map[string]string{
				"columnField": "registry", "rowField": "node", "valueField": "Value", "emptyValue": "null",
			}}).
			CellOptions(background()).ColorScheme(byThreshold()).Thresholds(steps("transparent")). // for names and empty cells
			Mappings(text(map[string]dashboard.ValueMappingResult{"0": shown("no", "red"), "1": shown("yes", "green")})),
		rows(`min by (node, registry) (pullprobe_registry_reachable{HOSTS})`))
	b.add(panel{"Not reached now",
		"Since when, and why. The cause says where it ends: name, connection, TLS or answer. To check again at " +
			"once: kubectl annotate -n pullprobe pod AGENT probe=now, with the agent's pod on that node.", 12, 9},
		rowsPanel().NoValue("every registry is reached").Unit(units.Seconds).
			WithTransformation(columns("node", "node", "registry", "registry", "cause", "cause", "fault", "who must act", "Value", "for")).
			SortBy(descending("for")),
		rows(`max by (node, registry, cause, fault) (
  (time() - pullprobe_registry_state_since_timestamp_seconds{HOSTS})
    * on (node, registry) group_right ()
  (pullprobe_registry_fault and on (node, registry) (pullprobe_registry_reachable == 0))
)`))
}

// timeline returns a panel of states between 0 and 1 over time.
func timeline() *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().
		Unit(units.PercentUnit).Min(0).Max(1).Decimals(0).
		MergeValues(true).ShowValue(common.VisibilityModeNever).RowHeight(0.8).PerPage(25).
		ColorScheme(byThreshold()).Thresholds(steps("red", from(0.001, "orange"), from(1, "green")))
}

// background colors the whole cell.
func background() common.TableCellOptions {
	return common.TableCellOptions{TableColoredBackgroundCellOptions: &common.TableColoredBackgroundCellOptions{
		Type: common.TableCellDisplayModeColorBackground, Mode: new(common.TableCellBackgroundDisplayModeBasic),
	}}
}

// addComing adds what may break next.
func (b *board) addComing() {
	const day = 24 * 3600
	b.row("What may break next")
	b.add(panel{"Latency by phase",
		"How long the phases of a check take on the slowest 5 % of nodes and registries. dns: look at the " +
			"resolvers. dial and tls: the network, or a proxy. http: the registry is slow.", 12, 8},
		lines().Unit(units.Seconds).Min(0),
		over("{{phase}}", `quantile by (phase) (0.95, pullprobe_registry_latency_seconds{HOSTS})`))
	b.add(panel{"Certificates: time left",
		"Who runs the registry renews its certificate before the time is over. After that, no node can pull from " +
			"it.", 12, 8},
		rowsPanel().Unit(units.Seconds).NoValue("no certificate was seen").
			WithTransformation(columns("registry", "registry", "Value", "expires in")).SortBy(ascending("expires in")).
			OverrideByName("expires in", colored(from(14*day, "orange"), from(30*day, "green"))),
		rows(`min by (registry) (pullprobe_registry_certificate_expiry_timestamp_seconds{HOSTS}) - time()`))
	b.add(panel{"Quota left",
		"The share of its quota of pulls that a registry still allows, on the node with the least. At 0 pulls " +
			"fail with 429. Add a pull secret or a mirror before. Known only where pods had to wait for an image " +
			"within the last hour.", 12, 7},
		bargauge.NewPanelBuilder().Unit(units.PercentUnit).Min(0).Max(1).NoValue("no registry has announced a quota").
			Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).
			ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
			ColorScheme(byThreshold()).Thresholds(steps("red", from(0.1, "orange"), from(0.3, "green"))),
		now("{{registry}}", `min by (registry) (
  pullprobe_registry_quota_remaining{HOSTS}
    / pullprobe_registry_quota_limit{HOSTS}
)`))
	b.add(panel{"Pull credentials: time left",
		"Pull secrets and logins of a node that are tokens with an expiry. Renew the secret before. Below 0 it " +
			"has expired, and pulls with it fail. Known only where pods had to wait for an image within the last " +
			"hour.", 12, 7},
		rowsPanel().Unit(units.Seconds).NoValue("no credential with an expiry was seen").
			WithTransformation(columns("registry", "registry", "Value", "expires in")).SortBy(ascending("expires in")).
			OverrideByName("expires in", colored(from(day, "orange"), from(7*day, "green"))),
		rows(`min by (registry) (pullprobe_credential_expiry_timestamp_seconds{HOSTS}) - time()`))
}

// colored has the numbers of a column in red, and in other colors from these values on.
func colored(from ...dashboard.Threshold) []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{
		{Id: "custom.cellOptions", Value: common.TableColorTextCellOptions{Type: common.TableCellDisplayModeColorText}},
		{Id: "color", Value: dashboard.FieldColor{Mode: dashboard.FieldColorModeIdThresholds}},
		{Id: "thresholds", Value: thresholds("red", from...)},
	}
}

func lines() *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).
			Placement(common.LegendPlacementBottom).Calcs([]string{})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
}

// addPulls adds what the kubelets' own pulls come to.
func (b *board) addPulls() {
	b.row("Pulls")
	b.add(panel{"Failures by cause",
		"Failed pulls of the kubelets, by the cause in their message. One cause from many pods at once is a " +
			"change of a registry, a login or the network. TagNotFound and RepositoryNotFound are a rollout with a " +
			"wrong name.", 12, 8},
		lines().Interval("1m").Min(0).DrawStyle(common.GraphDrawStyleBars).FillOpacity(80).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal)),
		over("{{cause}}", `sum by (cause) (increase(pullprobe_pod_image_failures_total{HOSTS}[$__rate_interval]))`))
	b.add(panel{"Share of images that fail",
		"Of the images that pods needed, by registry. Above 5 % for some minutes, the alert PullprobePullsFail " +
			"fires: its runbook begins with the causes on the left.", 12, 8},
		lines().Interval("1m").Unit(units.PercentUnit).Min(0).Max(1),
		over("{{registry}}", `sum by (registry) (increase(pullprobe_pod_images_total{HOSTS,result="failed"}[$__rate_interval]))
  / (sum by (registry) (increase(pullprobe_pod_images_total{HOSTS}[$__rate_interval])) > 0)`))
	b.add(panel{"Wait for an image",
		"From when the kubelet began with a container until its start: mostly the pull. If it grows, compare the " +
			"rate of test pulls, the latency, and the size of new images; a mirror near the nodes helps.", 12, 8},
		lines().Interval("1m").Unit(units.Seconds).Min(0),
		over("p50", waitQuantile("0.5")), over("p95", waitQuantile("0.95")))
	b.add(panel{"Rate of test pulls",
		"Bytes a second of the last test pull of each registry, on the slowest node. A low rate makes every large " +
			"image slow: look at the network to the registry, at a proxy, and at the node's disk.", 12, 8},
		lines().Unit(units.BytesPerSecondIEC).Min(0).ShowPoints(common.VisibilityModeAlways),
		over("{{registry}}", `min by (registry) (pullprobe_test_pull_bytes_per_second{HOSTS})`))
}

func waitQuantile(q string) string {
	return `histogram_quantile(` + q + `, sum by (le) (rate(pullprobe_container_start_wait_seconds_bucket{HOSTS}[$__rate_interval])))`
}

// addNodes adds the nodes' disks and resolvers.
func (b *board) addNodes() {
	b.row("Nodes")
	b.add(panel{"Free space for images",
		"The share of the file system with the images that is free. When it is short, the kubelet removes images " +
			"and evicts pods, and at 0 pulls fail. Remove what is not needed (crictl rmi --prune), or enlarge the " +
			"disk.", 12, 8},
		lines().Unit(units.PercentUnit).Min(0).Max(1),
		over("{{node}}", `min by (node) (pullprobe_image_filesystem_available_bytes{NODES} / pullprobe_image_filesystem_size_bytes{NODES})`))
	b.add(panel{"Resolvers",
		"The share of the nodes for which a resolver answers. Red: it answers no node, so repair it or remove it " +
			"from /etc/resolv.conf. Orange: some nodes do not get through to it on UDP and TCP port 53.", 12, 8},
		timeline(), over("{{resolver}}", `avg by (resolver) (pullprobe_resolver_up{NODES})`))
}

// addAgent adds whether pullprobe itself works.
func (b *board) addAgent() {
	b.row("pullprobe itself")
	b.add(panel{"Age of the oldest report and sweep",
		"Above half an hour, an agent no longer writes its report, and the alert PullprobeSilent fires. Its log " +
			"has the reason: kubectl -n pullprobe logs POD.", 12, 7},
		lines().Unit(units.Seconds).Min(0),
		over("report", `max(time() - pullprobe_report_written_timestamp_seconds{NODES})`),
		over("sweep", `max(time() - pullprobe_sweep_timestamp_seconds{NODES})`))
	b.add(panel{"Errors towards the API server",
		"Failed attempts to write a report or an Event, and to watch the pods. A few at a restart of the API " +
			"server are normal. If they go on, the agents' log has the answer: RBAC, the admission policy, or the " +
			"network.", 12, 7},
		lines().Interval("1m").Min(0),
		over("report and Events", `sum(increase(pullprobe_publish_errors_total{NODES}[$__rate_interval]))`),
		over("watch of pods", `sum(increase(pullprobe_watch_errors_total{NODES}[$__rate_interval]))`))
}
