package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// workload is an object that makes pods, and what its pods show of that.
type workload struct {
	kind, name string // of the object
	template   string // where its pod template is
	owner      pods.Owner
	container  string
	kindOf     func(*pods.Container) // makes it another kind of container; nil: an ordinary one
}

// TestFixesWorkWhenPasted pastes the commands of fixes into a shell, against a real API
// server: afterwards the template of the pod has the existing tag, or the secret.
func TestFixesWorkWhenPasted(t *testing.T) {
	t.Parallel()
	c := install(t)
	c.must("create", "namespace", "shop")
	const pod = `{metadata: {labels: {app: a}}, spec: {restartPolicy: %s, imagePullSecrets: [{name: have}], ` +
		`initContainers: [{name: setup, image: "registry.lab/app:v9"}], containers: [{name: app, image: "registry.lab/app:v9"}], ` +
		`volumes: [{name: other, emptyDir: {}}, {name: model, image: {reference: "registry.lab/app:v9", pullPolicy: Always}}]}}`
	always, never := fmt.Sprintf(pod, "Always"), fmt.Sprintf(pod, "Never")
	const selected = `replicas: 0, selector: {matchLabels: {app: a}}, template: `
	for _, o := range []struct{ api, kind, name, spec string }{
		{"apps/v1", "Deployment", "web", selected + always},
		{"apps/v1", "ReplicaSet", "set", selected + always},
		{"apps/v1", "StatefulSet", "db", `serviceName: db, ` + selected + always},
		{"apps/v1", "DaemonSet", "log", `selector: {matchLabels: {app: a}}, template: ` + always},
		{"v1", "ReplicationController", "old", `replicas: 0, selector: {app: a}, template: ` + always},
		{"batch/v1", "CronJob", "nightly", `schedule: "0 3 * * *", jobTemplate: {spec: {template: ` + never + `}}`},
	} {
		c.create(o.api, o.kind, o.name, "spec: {"+o.spec+"}")
	}
	c.create("v1", "Pod", "bare", "spec: {automountServiceAccountToken: false, containers: [{name: app, image: \"registry.lab/app:v9\"}]}")

	for _, w := range []workload{
		{kind: "deployment", name: "web", template: ".spec.template.spec", owner: pods.Owner{Name: "deployment/web"}, container: "app"},
		{kind: "deployment", name: "web", template: ".spec.template.spec", owner: pods.Owner{Name: "deployment/web"}, container: "setup"},
		{kind: "replicaset", name: "set", template: ".spec.template.spec", owner: pods.Owner{Name: "replicaset/set"}, container: "app"},
		{kind: "statefulset", name: "db", template: ".spec.template.spec", owner: pods.Owner{Name: "statefulset/db"}, container: "app"},
		{kind: "daemonset", name: "log", template: ".spec.template.spec", owner: pods.Owner{Name: "daemonset/log"}, container: "app"},
		{kind: "replicationcontroller", name: "old", template: ".spec.template.spec", owner: pods.Owner{Name: "replicationcontroller/old"}, container: "app"},
		{
			kind: "cronjob", name: "nightly", template: ".spec.jobTemplate.spec.template.spec",
			owner: pods.Owner{Name: "cronjob/nightly", Job: "nightly-29411520"}, container: "app",
		},
		{kind: "pod", name: "bare", template: ".spec", container: "app"},
	} {
		t.Run(w.kind+"/"+w.container, func(t *testing.T) {
			paste := func(fix string) {
				if w.owner.Job != "" { // the fix deletes it, and makes another
					c.in(t).kubectl("-n", "shop", "delete", "job", "--all")
					c.create("batch/v1", "Job", w.owner.Job, "spec: {suspend: true, template: "+never+"}")
				}
				c.in(t).paste(fix)
			}
			paste(w.fix(report.TagNotFound))
			list := "containers"
			if w.container == "setup" {
				list = "initContainers"
			}
			if got := c.in(t).read(w, "{"+w.template+"."+list+"[?(@.name==\""+w.container+"\")].image}"); got != "registry.lab/app:v8" {
				t.Errorf("the image is %q", got)
			}
			if w.kind == "pod" {
				return // its pull secrets and volumes cannot be changed
			}
			w.kindOf = func(c *pods.Container) {
				c.Image, c.ImageVolumes = "registry.lab/other:1", map[string]pods.ImageVolume{"registry.lab/app:v9": {Name: "model"}}
			}
			paste(w.fix(report.TagNotFound))
			const volumes = "{.name}={.image.reference}/{.image.pullPolicy} "
			if got := c.in(t).read(w, "{range "+w.template+".volumes[*]}"+volumes+"{end}"); got != "other=/ model=registry.lab/app:v8/Always " {
				t.Errorf("the volumes are %q", got)
			}
			w.kindOf = nil
			if w.kind != "daemonset" { // it has a pod on each node
				paste(w.fix(report.PlatformMismatch))
				if got := c.in(t).read(w, `{`+w.template+`.nodeSelector.kubernetes\.io/arch}`); got != "s390x" {
					t.Errorf("the node selector is %q", got)
				}
			}
			fix := strings.NewReplacer("<USER>", "joe", "<PASSWORD>", "secret").Replace(w.fix(report.CredentialsMissing))
			c.in(t).kubectl("-n", "shop", "delete", "secret", "registry-lab")
			paste(fix)
			if got := c.in(t).read(w, "{"+w.template+".imagePullSecrets[*].name}"); !strings.Contains(got, "registry-lab") || !strings.Contains(got, "have") {
				t.Errorf("the pull secrets are %q", got)
			}
		})
	}
	if out, err := c.kubectl("-n", "shop", "get", "job", "nightly-29411520"); err == nil {
		t.Errorf("the Job with the old image is there: %s", out)
	}

	// The fix of a misspelt secret takes its name off the list.
	c.paste(`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"right"},{"$patch":"delete","name":"have"}]}}}}'`)
	named := workload{kind: "deployment", name: "web"}
	if got := c.read(named, "{.spec.template.spec.imagePullSecrets[*].name}"); !strings.Contains(got, "right") || strings.Contains(got, "have") {
		t.Errorf("the pull secrets are %q", got)
	}

	debug := workload{kind: "pod", name: "bare", template: ".spec", container: "debugger", kindOf: func(c *pods.Container) { c.Ephemeral = true }}
	c.paste(debug.fix(report.TagNotFound))
	if got := c.read(debug, "{.spec.ephemeralContainers[*].image}"); got != "registry.lab/app:v8" {
		t.Errorf("the images of ephemeral containers are %q", got)
	}

	web := workload{kind: "deployment", name: "web", template: ".spec.template.spec", owner: pods.Owner{Name: "deployment/web"}, container: "app"}
	for _, cause := range []report.Cause{report.HostNotFound, report.InvalidReference} {
		t.Run(string(cause), func(t *testing.T) {
			image := "registry.lab/" + strings.ToLower(string(cause)) + ":1"
			c.in(t).paste(web.fixOfName(cause, image))
			if got := c.in(t).read(web, "{.spec.template.spec.containers[0].image}"); got != image {
				t.Errorf("the image is %q", got)
			}
		})
	}

	// What still has blanks changes nothing.
	out, err := c.shell(workload{container: "app", owner: pods.Owner{Name: "deployment/web"}}.fix(report.CredentialsMissing))
	if names, _ := c.kubectl("-n", "shop", "get", "secrets", "-o", "name"); err == nil || strings.TrimSpace(names) != "secret/registry-lab" {
		t.Errorf("a fix with blanks ran: %v %s\n%s", err, out, names)
	}
}

// create makes an object of a YAML flow mapping.
func (c *installed) create(api, kind, name, rest string) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), name+".yaml")
	hosttest.Write(c.t, file, "{apiVersion: "+api+", kind: "+kind+", metadata: {name: "+name+", namespace: shop}, "+rest+"}")
	c.must("create", "-f", file)
}

// read returns a part of an object.
func (c *installed) read(w workload, path string) string {
	c.t.Helper()
	out, err := c.kubectl("-n", "shop", "get", w.kind, w.name, "-o", "jsonpath="+path)
	if err != nil {
		c.t.Fatal(out)
	}
	return out
}

// paste runs the commands of a fix, which must all succeed.
func (c *installed) paste(fix string) {
	c.t.Helper()
	if out, err := c.shell(fix); err != nil {
		c.t.Fatalf("%v\n%s\n%s", err, fix, out)
	}
}

// shell runs the commands of a fix as a shell does that they are pasted into.
func (c *installed) shell(fix string) (string, error) {
	c.t.Helper()
	script := "set -e\n"
	for line := range strings.SplitSeq(fix, "\n") {
		if readable.IsCommand(line) && !strings.Contains(line, "delete pod") { // of which there is none
			script += line + "\n"
		}
	}
	cmd := exec.CommandContext(c.t.Context(), "/bin/sh", "-c", script)
	cmd.Dir = c.t.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.config, "PATH="+filepath.Dir(c.kubectlBin)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// fix returns the fix of a pod that the workload made, for a tag that does not exist while
// another one does, for a missing login, or for an image of another platform.
func (w workload) fix(cause report.Cause) string {
	p := pods.Pod{Namespace: "shop", Name: "bare", Owner: w.owner, ServiceAccount: "default"}
	image := pods.PendingImage{
		Container: w.container, Image: "registry.lab/app:v9", Failing: true, Reason: "ImagePullBackOff",
		Message: `Back-off pulling image "registry.lab/app:v9": not found`,
	}
	if w.kindOf != nil {
		container := pods.Container{Name: w.container, Image: image.Image}
		w.kindOf(&container)
		p.Containers = []pods.Container{container}
	}
	evidence := map[string]string{
		report.KeyRepository: "exists", report.KeySuggestTag: "v8", report.KeyStatus: "404", report.KeyListed: "false", report.KeyGetStatus: "404",
	}
	const host = "registry.lab"
	manifest := report.Check{ID: report.ManifestID(host), Kind: report.KindManifest, Host: host, Outcome: report.Fail, Cause: cause}
	platform := report.Check{ID: report.ImageID(host), Kind: report.KindImage, Host: host, Outcome: report.Skipped, BlockedBy: manifest.ID}
	switch cause {
	case report.CredentialsMissing:
		image.Message = "no basic auth credentials"
		evidence = map[string]string{report.KeyStatus: "401", report.KeyAnonymous: report.True, report.KeyAuth: "basic"}
	case report.PlatformMismatch:
		image.Message = "no match for platform in manifest: not found"
		evidence = nil
		manifest.Outcome, manifest.Cause = report.Pass, ""
		platform.Outcome, platform.Cause, platform.BlockedBy = report.Fail, cause, ""
		platform.Evidence = map[string]string{report.KeyPlatforms: "linux/s390x", report.KeyWanted: "linux/amd64"}
	}
	manifest.Evidence = evidence
	return diagnosis.Diagnose([]report.Check{
		{
			ID: report.IDReference, Kind: report.KindReference, Outcome: report.Pass, Target: "registry.lab/app:v9",
			Evidence: map[string]string{report.KeyDomain: "registry.lab", report.KeyPath: "app", report.KeyTag: "v9"},
		},
		pods.Check(p, image, "node-a"),
		{ID: report.RegistryID("registry.lab"), Kind: report.KindRegistry, Outcome: report.Pass, Evidence: map[string]string{report.KeyIsRegistry: report.True}},
		manifest,
		platform,
	}).Fix
}

// fixOfName returns the fix of a pod that the workload made, for a name that does not exist
// while another image is probably meant.
func (w workload) fixOfName(cause report.Cause, meant string) string {
	p := pods.Pod{Namespace: "shop", Name: "web", Owner: w.owner, ServiceAccount: "default"}
	image := pods.PendingImage{
		Container: w.container, Image: "registy.lab/app:1", Failing: true, Reason: "ImagePullBackOff", Message: "no such host",
	}
	name := report.Check{ID: report.IDReference, Kind: report.KindReference, Outcome: report.Pass, Target: image.Image, Evidence: map[string]string{
		report.KeyDomain: "registy.lab", report.KeyPath: "app", report.KeyTag: "1",
	}}
	suggested := report.Check{
		ID: report.IDSuggested, Kind: report.KindReference, Outcome: report.Pass,
		Evidence: map[string]string{report.KeySuggestImage: meant, report.KeySuggestHost: "registry.lab", report.KeyUsedBy: "12"},
	}
	if cause == report.InvalidReference {
		name.Outcome, name.Cause, name.Evidence = report.Fail, cause, suggested.Evidence
		return diagnosis.Diagnose([]report.Check{name, pods.Check(p, image, "node-a")}).Fix
	}
	missing := func(id ...string) report.Check {
		return report.Check{ID: report.DNSID("registy.lab", id...), Kind: report.KindDNS, Host: "registy.lab", Outcome: report.Fail, Cause: cause}
	}
	return diagnosis.Diagnose([]report.Check{
		name, pods.Check(p, image, "node-a"), missing(), missing("10.0.0.2:53"),
		{
			ID: report.ManifestID("registy.lab"), Kind: report.KindManifest, Host: "registy.lab", Outcome: report.Skipped,
			BlockedBy: report.DNSID("registy.lab"),
		},
		suggested,
	}).Fix
}
