# `make help` lists the targets. They need only Go, git and make. Everything else
# they install (Debian packages, as root) or build.

VERSION ?= v0.1.0
GOARCH  ?= $(shell go env GOARCH)
IMAGE   ?= ghcr.io/pullprobe/pullprobe:$(VERSION)
BIN     := $(CURDIR)/bin
LAB     := $(BIN)/lab
LABBIN  := $(or $(PULLPROBE_LAB_DIR),/var/tmp/pullprobe-lab)/bin
PROMTOOL := $(LABBIN)/promtool
PROMETHEUS := $(LABBIN)/prometheus
# The same flags for all builds and tests: different ones would compile everything
# again. Without DWARF, which no one needs here, that is 5 % faster.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false -gcflags=all=-dwarf=false
# The date is that of the commit: a second build gives the same bytes.
COMMIT  = $(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null)
DATE    = $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
# grpc's request traces import html/template, and with it everything reachable by
# reflection: a fifth of the binary, for a page that is never served.
PRODUCT = GOOS=linux GOARCH=$(GOARCH) go build -tags grpcnotrace -ldflags "$(LDFLAGS)"
BINARY  = bin/pullprobe-linux-$(GOARCH)
FLEET   = bin/pullprobe-fleet-linux-$(GOARCH)

# The lab's Kubernetes and containerd: KUBERNETES=1.33 CONTAINERD=1.7; without, those of
# lab/build.go. Each version has a module file below lab/tools.
LABVERSIONS = $(if $(KUBERNETES),-kubernetes $(KUBERNETES)) $(if $(CONTAINERD),-containerd $(CONTAINERD))

export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

# $(call timed,WHAT,COMMAND) runs COMMAND and prints how long it took.
timed = @s=$$(date +%s); echo "==> $(1)"; { $(2); } || { echo "==> $(1) FAILED after $$(( $$(date +%s) - s )) s"; exit 1; }; echo "==> $(1): $$(( $$(date +%s) - s )) s"

.DEFAULT_GOAL := help
.PHONY: help
help: ## show this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/pullprobe and bin/pullprobe-fleet, static binaries
	$(call timed,build pullprobe,$(PRODUCT) -o $(BINARY) . $(if $(filter bin/%-$(shell go env GOHOSTARCH),$(BINARY)),&& ln -sf $(notdir $(BINARY)) bin/pullprobe))
	$(call timed,build pullprobe-fleet,$(PRODUCT) -o $(FLEET) ./fleet/cmd/pullprobe-fleet $(if $(filter bin/%-$(shell go env GOHOSTARCH),$(FLEET)),&& ln -sf $(notdir $(FLEET)) bin/pullprobe-fleet))

PLUGIN = bin/kubectl-pullprobe
.PHONY: plugin
plugin: ## build the plugin, bin/kubectl-pullprobe; GOOS=, GOARCH= and PLUGIN=FILE for another platform
	$(call timed,build $(notdir $(PLUGIN)),cd kubectl-pullprobe && GOOS=$(GOOS) GOARCH=$(GOARCH) go build -ldflags "-s -w -X main.version=$(VERSION)" -o $(abspath $(PLUGIN)) .)

PLATFORMS := linux-amd64 linux-arm64 darwin-amd64 darwin-arm64 windows-amd64 windows-arm64
.PHONY: plugins
plugins: $(PLATFORMS:%=plugin-%) ## build the plugin for each platform: bin/plugin/OS-ARCH/
plugin-%:
	@$(MAKE) --no-print-directory plugin GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) PLUGIN=bin/plugin/$*/kubectl-pullprobe$(if $(filter windows-%,$*),.exe)

.PHONY: page-check
page-check: ## open the pages of kubectl pullprobe export in Chromium, and check them with axe-core; needs chromium and npm
	$(call timed,check the pages,hack/page-check/run.sh)

.PHONY: sbom
sbom: build ## list the modules of the binaries in bin/NAME-linux-ARCH.cdx.json (CycloneDX)
	$(call timed,list the modules,for binary in $(BINARY) $(FLEET); do env -u GOARCH go tool -modfile=hack/release/go.mod cyclonedx-gomod bin -json -std -noserial -notimestamp -version $(VERSION) -output $$binary.cdx.json $$binary; done)

.PHONY: reproducible
reproducible: build ## build again in another directory with an empty cache, and compare
	$(call timed,build again,hack/reproducible.sh $(BINARY) $(PRODUCT))

.PHONY: image
image: build buildah ## build the image as an OCI archive, bin/pullprobe-image.tar
	$(call timed,build the image,hack/image.sh $(IMAGE) $(GOARCH) bin/pullprobe-image.tar)

.PHONY: image-all
image-all: ## build the image for amd64 and arm64 as one OCI index, in bin/all/pullprobe-image.tar
	$(call timed,build the image for amd64 and arm64,hack/image-all.sh $(VERSION) bin/all)

.PHONY: buildah
buildah:
	@command -v buildah >/dev/null || { echo "==> installing buildah"; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends buildah >/dev/null; }

.PHONY: release
release: ## make everything of a release in dist/: make release VERSION=v0.2.0
	$(call timed,make the release $(VERSION),hack/release.sh $(VERSION))

REGISTRIES ?= ghcr.io/pullprobe quay.io/pullprobe
.PHONY: publish
publish: ## push the image and the chart of dist/ to REGISTRIES
	$(call timed,push $(VERSION),hack/publish.sh $(VERSION) $(REGISTRIES))

.PHONY: sign
sign: ## sign the pushed images and charts with cosign, keyless
	hack/sign.sh $(VERSION) $(REGISTRIES)

.PHONY: github-release
github-release: ## make the GitHub release VERSION from dist/
	gh release create $(VERSION) dist/* --verify-tag --title $(VERSION) --notes-file dist/release-notes.md

.PHONY: workflows
workflows: ## check the workflows of GitHub
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: test
test: lab-build image plugin alerts ## run all tests: unit, integration, fault matrix, and end-to-end on the lab
	$(call timed,build the end-to-end tests,cd lab && go test -c -tags e2e -o /dev/null ./e2e)
	$(call timed,start the lab,$(LAB) down && $(LAB) up $(LABVERSIONS))
	$(call timed,all tests,$(MAKE) --no-print-directory -j2 test-on-lab test-beside-lab || { $(LAB) down; exit 1; })
	$(call timed,stop the lab,$(LAB) down)
	@cd lab && go test -v -run TestOld ./compatibility | sed -n '/compatibility.md/,/^---/{/^---/!p}'

# The end-to-end tests mostly wait, so the other tests run in parallel.
.PHONY: test-on-lab test-beside-lab
test-on-lab:
	$(call timed,chart on the lab,$(CHART) -tags e2e -v -run 'TestAccepted|TestLifecycle' ./chart)
	$(call timed,end-to-end tests,$(E2E))
test-beside-lab:
	$(call timed,unit and integration tests,PULLPROBE_CONTAINERD=$(LABBIN)/containerd PATH=$(LABBIN):$$PATH go test -parallel 8 ./... && (cd kubectl-pullprobe && PATH=$(LABBIN):$$PATH go test ./...) && (cd hack/krew && go test ./...) && (cd parity && go test ./...) && (cd hack/recording && go test ./...) && cd lab && go test . ./compatibility && go test -count=1 ./chart)
	$(MATRIX)

MANIFESTS ?= default
E2E = cd lab && go test -tags e2e -count=1 -parallel 16 -timeout 40m -v $(if $(RUN),-run '$(RUN)') ./e2e -manifests=../manifests/$(MANIFESTS) -secrets=$(if $(filter no-secrets,$(MANIFESTS)),false,true) -providers=$(if $(filter hardened,$(MANIFESTS)),false,true)
.PHONY: e2e
e2e: image lab-build plugin ## run the end-to-end tests; RUN=regexp for some, MANIFESTS=hardened or no-secrets, KUBERNETES=1.33, CONTAINERD=1.7
	$(call timed,start the lab,$(LAB) down && $(LAB) up $(LABVERSIONS))
	$(call timed,end-to-end tests,$(E2E))

CHART = cd lab && go test -count=1 -timeout 10m
.PHONY: chart
chart: lab-build ## check the Helm chart: lint, values, and that it renders to the same objects as the kustomization
	$(call timed,check the chart,$(CHART) ./chart)

.PHONY: chart-on-lab
chart-on-lab: image lab-build $(PROMETHEUS) ## the chart on the lab: its life, the Prometheus operator, and dist/ if it was made; RUN=regexp for some
	$(call timed,start the lab,$(LAB) down && $(LAB) up $(LABVERSIONS))
	$(call timed,chart on the lab,$(CHART) -tags e2e -v $(if $(RUN),-run '$(RUN)') ./chart)

.PHONY: matrix
matrix: build lab-build ## run the fault matrix on real parts, no cluster; ROW=NAME for one, CONTAINERD=1.7, RECORD=1 records the checks
	$(MATRIX)

define MATRIX
	$(call timed,build the matrix,cd lab && go test -c -tags matrix -o $(BIN)/matrix.test ./matrix)
	$(call timed,fault matrix,cd lab/matrix && $(BIN)/matrix.test -test.parallel 8 -test.run 'TestMatrix/rows/^$(or $(ROW),.*)$$' $(if $(ROW)$(VERBOSE),-test.v) $(if $(CONTAINERD),-containerd $(CONTAINERD)) $(if $(RECORD),-record $(CURDIR)/diagnosis/testdata/matrix))
endef

.PHONY: versions
versions: ## run the end-to-end tests and the matrix beside other versions of Kubernetes and containerd, and write docs/compatibility.md; ONLY=regexp for some (e2e-1.33-1.7, matrix-2.1)
	cd lab && go run ./cmd/versions $(if $(ONLY),-only '$(ONLY)')

# One version of containerd per module file: NAME.mod is of lab/tools/readers/v1 or v2.
READERS   := $(or $(PULLPROBE_LAB_DIR),/var/tmp/pullprobe-lab)/readers
CONTAINERDS := 1.6.20 1.6 1.7 2.0 2.1 2.2 2.3 2.4
.PHONY: readers
readers: $(addprefix $(READERS)/containerd-,$(CONTAINERDS)) ## ask each minor version of containerd how it reads its configuration, and record that; SHAPE=NAME for one file of testdata/shapes; root
	$(call timed,record the answers,PULLPROBE_READERS=$(READERS) go test ./runtimeconfig -count=1 -run LikeEveryContainerd -record $(if $(SHAPE),-shape=$(SHAPE)) && cd parity && PULLPROBE_READERS=$(READERS) go test . -count=1 -run LikeEveryContainerd -record)

# go build takes a few minutes the first time, so it is done once per version.
$(READERS)/containerd-%: lab/tools/readers/v1/main.go lab/tools/readers/v2/main.go
	$(call timed,build containerd $*,cd lab/tools/readers/v$(firstword $(subst ., ,$*)) && export GOWORK=off && \
		go build -modfile=$*.mod -ldflags "-s -w" -o $(READERS)/readhosts-$* . && \
		go build -modfile=$*.mod -ldflags "-s -w" -tags "no_btrfs no_devmapper no_zfs" -o $@ github.com/containerd/containerd/$(if $(filter 2.%,$*),v2/)cmd/containerd)

.PHONY: unit
unit: ## run the unit tests only: no root, no lab
	go test ./...
	cd kubectl-pullprobe && go test ./...
	cd hack/krew && go test ./...
	cd parity && go test ./...
	cd hack/release && go test ./...
	cd hack/recording && go test ./...
	cd hack/dashboard && go test ./...

# These tests start their own binary as another program, as kubelet or provider. Only a
# kernel that knows qemu (binfmt_misc) can do that for another architecture.
NATIVE_TESTS := TestCommandLine TestColorsOnATerminal TestProgress TestCompletion TestAgentUsesAccountToken TestRunProvider \
	TestAnswersAreCached TestProviderWithoutChroot TestProviderToken TestTokenOncePerCachedResponse TestNodeCredentials \
	TestPullOfPod TestSharesMounts TestSocketOfRunningKubelet TestHostile
space := $(subst ,, )
.PHONY: unit-arm64
unit-arm64: ## run the unit tests for arm64 under qemu-user-static; those that start their own binary are skipped
	@command -v qemu-aarch64-static >/dev/null || { echo "==> installing qemu-user-static"; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends qemu-user-static >/dev/null; }
	$(call timed,unit tests for arm64,export GOARCH=arm64; \
		go test -exec qemu-aarch64-static -timeout 30m -skip '^($(subst $(space),|,$(NATIVE_TESTS)))$$' ./... && \
		cd parity && go test -exec qemu-aarch64-static -timeout 30m ./...)

.PHONY: load
load: lab-build ## load test: one agent, a real API server, 1,000 stuck pods, a rotated token; two minutes
	$(call timed,load test,PATH=$(LABBIN):$$PATH go test -tags load ./agent -count=1 -run 'TestLoad$$|TestRotatedToken' -v)

.PHONY: fuzz
FUZZTIME ?= 2m
fuzz: ## run every fuzz target, FUZZTIME=2m each; TARGET=regexp for some
	$(call timed,fuzz,hack/fuzz.sh $(FUZZTIME) '$(value TARGET)')

.PHONY: mutation
mutation: ## leave out each rule of the verdict in turn, and list the verdicts that become wrong
	go test ./diagnosis ./compare -count=1 -run TestEveryRuleDecides -v

.PHONY: corpus
CORPUS ?= ../shared/corpus/train.jsonl
corpus: ## measure `pullprobe explain` on labelled messages (CORPUS=file), and list the misses
	go test . -count=1 -run TestExplainCorpus -v -corpus $(CORPUS)

.PHONY: alerts
alerts: $(PROMTOOL) ## check docs/alerts.yaml, and that each alert fires only when it must
	$(call timed,alerts,$(PROMTOOL) check rules docs/alerts.yaml && cd docs && $(PROMTOOL) test rules alerts_test.yaml)

.PHONY: dashboard
dashboard: ## write the Grafana dashboard into the component and the chart
	cd hack/dashboard && go run . ../../manifests/components/dashboard/pullprobe.json ../../charts/pullprobe/dashboard.json

# Both are in Debian's package prometheus. It is unpacked, not installed.
$(PROMTOOL) $(PROMETHEUS) &:
	$(call timed,get promtool and prometheus,dir=$$(mktemp -d) && trap 'rm -rf '$$dir EXIT && apt-get -qq update && (cd $$dir && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x prometheus_*.deb .) && install -D -t $(LABBIN) $$dir/usr/bin/prometheus $$dir/usr/bin/promtool)

.PHONY: vet
vet: ## run gofmt and go vet
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	cd kubectl-pullprobe && go vet ./...
	cd hack/krew && go vet ./...
	cd parity && go vet ./...
	cd hack/dashboard && go vet ./...

.PHONY: lint
lint: vet ## run gofmt, go vet and golangci-lint
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

.PHONY: demo
demo: image lab-build ## start the lab, make pods stuck, and show their diagnoses
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up $(LABVERSIONS))
	@VERSION=$(VERSION) hack/demo.sh

.PHONY: screens
screens: demo ## run the demo, and update the screens in README and docs
	$(call timed,write the screens,hack/screens.sh)

.PHONY: plugin-screens
plugin-screens: image lab-build plugin ## drive the plugin on the lab in a terminal, and update its screens in docs; needs tmux
	$(call timed,start the lab,$(LAB) down && $(LAB) up)
	$(call timed,drive the plugin,VERSION=$(VERSION) hack/plugin-screens.sh)
	$(call timed,stop the lab,$(LAB) down)

# The picture begins where the pods are stuck, and ends before the second report.
.PHONY: recording
recording: ## run the demo, and draw docs/demo.svg from its output
	cd hack/recording && go build -o $(BIN)/recording .
	$(call timed,record the demo,$(MAKE) --no-print-directory demo | $(BIN)/recording cast >$(BIN)/demo.cast)
	$(BIN)/recording svg -title 'A terminal: a pod is stuck, it is annotated, and its Event says why' \
		-from '$$ kubectl get pod -n shop web' -to '$$ kubectl get cm -n pullprobe pullprobe-node-a' <$(BIN)/demo.cast >$(BIN)/demo.svg
	mv $(BIN)/demo.svg docs/demo.svg

.PHONY: lab-build
lab-build: ## build the parts of the lab
	@cd lab && go build -o $(LAB) ./cmd/lab
	$(call timed,build the lab,$(LAB) build $(LABVERSIONS))

.PHONY: lab-up
lab-up: lab-build ## start the lab: a real cluster on this machine, two nodes or more
	$(call timed,start the lab,$(LAB) up $(LABVERSIONS))

.PHONY: lab-down
lab-down: ## stop the lab and remove it
	@cd lab && go build -o $(LAB) ./cmd/lab
	$(call timed,stop the lab,$(LAB) down)

.PHONY: bench-verdict
bench-verdict: image lab-build ## measure the time to verdict and the runtime's own time to fail
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up $(LABVERSIONS))
	cd lab && go test -tags e2e -count=1 -timeout 15m -run '^$$' -bench Verdict -benchtime 1x ./e2e

.PHONY: bench-report
bench-report: image lab-build ## measure the report of a node with many stuck pods, and its agent's memory
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up $(LABVERSIONS))
	cd lab && go test -tags e2e -count=1 -timeout 15m -run '^$$' -bench Report -benchtime 1x ./e2e

.PHONY: bench-sweep
bench-sweep: ## measure a sweep of 100 hosts and its slowest host; no lab
	go test ./probes/registry -count=1 -run '^$$' -bench Survey -benchtime 10x

.PHONY: bench-fleet
NODES ?= 100,1000,5000
bench-fleet: lab-build ## measure fleets of NODES=100,1000,5000 hollow agents against a real API server; an hour
	PULLPROBE_KUBE_APISERVER=$(LABBIN)/kube-apiserver go test -tags hollow -count=1 -timeout 3h -run '^$$' -bench Fleet -benchtime 1x ./fleet -nodes=$(NODES)

.PHONY: chaos
KILLS ?= 200
chaos: image lab-build ## kill agents, runtimes, kubelets, API server and registries at random; KILLS=200, SEED=n repeats a run
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up $(LABVERSIONS))
	cd lab && go test -tags e2e -count=1 -timeout 60m -v -run TestChaos ./e2e -kills=$(KILLS) -seed=$(or $(SEED),0)

.PHONY: clean
clean: ## remove bin/ and dist/
	rm -rf bin dist
