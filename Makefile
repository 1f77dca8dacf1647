# Run `make help` for what there is. Everything needs only Go, git and make;
# what else a target needs it installs (Debian packages, as root) or builds.

VERSION ?= v0.1.0
GOARCH  ?= $(shell go env GOARCH)
IMAGE   ?= ghcr.io/pullprobe/pullprobe:$(VERSION)
BIN     := $(CURDIR)/bin
LAB     := $(BIN)/lab
LABBIN  := $(or $(PULLPROBE_LAB_DIR),/var/tmp/pullprobe-lab)/bin
# One setting for all builds and tests: another one would compile everything again.
# Nothing is debugged, and without DWARF that takes a twentieth less.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false -gcflags=all=-dwarf=false
# grpc's request traces bring html/template along, and with it all that
# reflection could reach: a fifth of the binary for a page that nobody serves.
PRODUCT = GOOS=linux GOARCH=$(GOARCH) go build -tags grpcnotrace -ldflags "-s -w -X main.version=$(VERSION)"
BINARY  = bin/pullprobe-linux-$(GOARCH)

export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

# $(call timed,WHAT,COMMAND) runs COMMAND and says how long it took.
timed = @s=$$(date +%s); echo "==> $(1)"; { $(2); } || { echo "==> $(1) FAILED after $$(( $$(date +%s) - s )) s"; exit 1; }; echo "==> $(1): $$(( $$(date +%s) - s )) s"

.DEFAULT_GOAL := help
.PHONY: help
help: ## show this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: ## bin/pullprobe, a static binary
	$(call timed,build pullprobe,$(PRODUCT) -o $(BINARY) . && ln -sf pullprobe-linux-$(GOARCH) bin/pullprobe)

.PHONY: sbom
sbom: build ## bin/pullprobe-linux-ARCH.cdx.json, what the binary is made of (CycloneDX)
	$(call timed,list the modules of $(BINARY),go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -std -noserial -notimestamp -version $(VERSION) -output $(BINARY).cdx.json $(BINARY))

.PHONY: reproducible
reproducible: build ## build once more, elsewhere and from nothing, and compare
	$(call timed,build again,hack/reproducible.sh $(BINARY) $(PRODUCT))

.PHONY: image
image: build buildah ## bin/pullprobe-image.tar, an OCI archive of what the Dockerfile describes
	$(call timed,build the image,hack/image.sh $(IMAGE) $(GOARCH) bin/pullprobe-image.tar)

.PHONY: buildah
buildah:
	@command -v buildah >/dev/null || { echo "==> installing buildah"; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends buildah >/dev/null; }

.PHONY: test
test: lab-build image alerts ## all tests: unit, integration, faults, and end to end on the lab
	$(call timed,build the end-to-end tests,cd lab && go test -c -tags e2e -o /dev/null ./e2e)
	$(call timed,start the lab,$(LAB) down && $(LAB) up)
	$(call timed,all tests,$(MAKE) --no-print-directory -j2 test-on-lab test-beside-lab || { $(LAB) down; exit 1; })
	$(call timed,stop the lab,$(LAB) down)

# The end-to-end tests wait for most of their time, so the others run beside them.
.PHONY: test-on-lab test-beside-lab
test-on-lab:
	$(call timed,end-to-end tests,$(E2E))
test-beside-lab:
	$(call timed,unit and integration tests,PULLPROBE_CONTAINERD=$(LABBIN)/containerd PATH=$(LABBIN):$$PATH go test -parallel 8 ./... && cd lab && go test .)
	$(MATRIX)

MANIFESTS ?= default
E2E = cd lab && go test -tags e2e -count=1 -parallel 16 -timeout 40m -v $(if $(RUN),-run '$(RUN)') ./e2e -manifests=../manifests/$(MANIFESTS) -secrets=$(if $(filter no-secrets,$(MANIFESTS)),false,true) -providers=$(if $(filter hardened,$(MANIFESTS)),false,true)
.PHONY: e2e
e2e: image lab-build ## the end-to-end tests alone; RUN=regexp for some, MANIFESTS=hardened or no-secrets for other manifests
	$(call timed,start the lab,$(LAB) down && $(LAB) up)
	$(call timed,end-to-end tests,$(E2E))

.PHONY: matrix
matrix: build lab-build ## faults on real parts, no cluster; ROW=NAME for one, RECORD=1 keeps the evidence
	$(MATRIX)

define MATRIX
	$(call timed,build the matrix,cd lab && go test -c -tags matrix -o $(BIN)/matrix.test ./matrix)
	$(call timed,fault matrix,cd lab/matrix && $(BIN)/matrix.test -test.parallel 8 -test.run 'TestMatrix/rows/^$(or $(ROW),.*)$$' $(if $(ROW),-test.v) $(if $(RECORD),-record $(CURDIR)/report/testdata/matrix))
endef

.PHONY: unit
unit: ## unit tests only: no root, no lab
	go test ./...

.PHONY: load
load: lab-build ## 1,000 stuck pods on one node against an agent and a real API server; a token that is rotated; two minutes, prints figures
	$(call timed,load test,PATH=$(LABBIN):$$PATH go test -tags load ./agent -count=1 -run 'TestLoad$$|TestRotatedToken' -v)

.PHONY: fuzz
FUZZTIME ?= 2m
fuzz: ## every fuzz target in turn; FUZZTIME=2m each, TARGET=regexp for some
	$(call timed,fuzz,hack/fuzz.sh $(FUZZTIME) '$(value TARGET)')

.PHONY: mutation
mutation: ## take away the rules of a verdict one by one: what turns wrong without each
	go test ./report -count=1 -run TestEveryRuleDecides -v

.PHONY: corpus
CORPUS ?= ../shared/corpus/train.jsonl
corpus: ## measure `pullprobe explain` on labelled messages (CORPUS=file); print the misses
	go test . -count=1 -run TestExplainCorpus -v -corpus $(CORPUS)

# promtool is in Debian's package prometheus; that is taken apart, not installed.
PROMTOOL := $(LABBIN)/promtool
.PHONY: alerts
alerts: $(PROMTOOL) ## docs/alerts.yaml: check the rules, and that each fires when it must and only then
	$(call timed,alerts,$(PROMTOOL) check rules docs/alerts.yaml && cd docs && $(PROMTOOL) test rules alerts_test.yaml)

$(PROMTOOL):
	$(call timed,get promtool,dir=$$(mktemp -d) && trap 'rm -rf '$$dir EXIT && apt-get -qq update && (cd $$dir && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x prometheus_*.deb .) && install -D $$dir/usr/bin/promtool $@)

.PHONY: vet
vet: ## gofmt, go vet
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...

.PHONY: lint
lint: vet ## those, and golangci-lint
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

.PHONY: demo
demo: image lab-build ## start the lab, break some pods, show what pullprobe says
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up)
	@VERSION=$(VERSION) hack/demo.sh

.PHONY: screens
screens: demo ## run the demo and put what it shows into README and docs
	$(call timed,write the screens,hack/screens.sh)

.PHONY: lab-build
lab-build: ## build what the lab consists of
	@cd lab && go build -o $(LAB) ./cmd/lab
	$(call timed,build the lab,$(LAB) build)

.PHONY: lab-up
lab-up: lab-build ## start the lab: a real cluster with two nodes on this machine
	$(call timed,start the lab,$(LAB) up)

.PHONY: lab-down
lab-down: ## stop the lab and remove all of it
	@cd lab && go build -o $(LAB) ./cmd/lab
	$(call timed,stop the lab,$(LAB) down)

.PHONY: bench-verdict
bench-verdict: image lab-build ## time to verdict beside the runtime's own time to fail, as a table
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up)
	cd lab && go test -tags e2e -count=1 -timeout 15m -run '^$$' -bench Verdict -benchtime 1x ./e2e

.PHONY: bench-sweep
bench-sweep: ## a sweep of 100 hosts beside the slowest of them, and what it costs; no lab
	go test ./probes/registry -count=1 -run '^$$' -bench Survey -benchtime 10x

.PHONY: chaos
KILLS ?= 200
chaos: image lab-build ## kills agents, runtimes, kubelets, API server, registries at random; KILLS=200, SEED=n plays a run again
	$(call timed,start the lab,$(LAB) status >/dev/null 2>&1 || $(LAB) up)
	cd lab && go test -tags e2e -count=1 -timeout 60m -v -run TestChaos ./e2e -kills=$(KILLS) -seed=$(or $(SEED),0)

.PHONY: clean
clean: ## remove bin/
	rm -rf bin
