# `make` alone explains itself. Two targets do everything on a fresh machine:
# `make run` starts the whole platform, `make test` runs all tests.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

DATA   ?= data
LISTEN ?= 127.0.0.1:8080
OPS    ?= 127.0.0.1:9080

# The race detector needs a C compiler; without one the tests run all the same.
RACE ?= $(if $(shell command -v cc),-race)
# Packages under test, e.g. make test PKG=./pkg/eval
PKG ?= work
# Two packages at once: the tests start brokers, engines and browsers.
TESTFLAGS ?= -p 2 -timeout 15m

TOOL := GOWORK=off GOBIN=$(CURDIR)/bin go -C tools install
MODULES = $(shell go list -m -f '{{.Dir}}')

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: node_modules/.setup ## the whole platform with demo data (DATA=folder LISTEN=address OPS=address)
	go build -o bin/ ./cmd/sluice
	@exec bin/sluice run --demo --data "$(DATA)" --listen "$(LISTEN)" --ops "$(OPS)"

.PHONY: test
test: setup bin/gotestsum ## every test that this machine can run (PKG=./pkg/eval for some)
	bin/gotestsum --format pkgname --format-hide-empty-pkg -- $(RACE) $(TESTFLAGS) $(PKG)
	go test -run Allocat ./pkg/eval

.PHONY: check
check: fmt-check vet lint tidy-check generate-check ## format, vet, lint, go.mod and generated code

.PHONY: setup
setup: node_modules/.setup ## install what running and testing need: engine, SDKs, browser
	@tools/browser.sh
	@tools/python.sh .venv tests/contract/python/requirements.txt

node_modules/.setup: package.json package-lock.json examples/react/package.json tests/contract/js/package.json
	npm ci --no-fund --no-audit
	@touch $@

.PHONY: build
build: ## the binaries, into bin/
	go build -o bin/ ./cmd/sluice
	CGO_ENABLED=0 go build -o bin/ ./services/control/cmd/control ./services/edge/cmd/edge ./services/ingest/cmd/ingest

.PHONY: generate
generate: ## rewrite generated files
	go generate work

.PHONY: generate-check
generate-check: generate
	@git diff --exit-code -- '*.gen.go' '*.gen.ts' || { echo "generated files were out of date: commit what changed" >&2; exit 1; }

.PHONY: fmt
fmt: ## format all Go code
	gofmt -w $$(git ls-files '*.go')

.PHONY: fmt-check
fmt-check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted, run \`make fmt\`:"; echo "$$out"; exit 1; } >&2

.PHONY: vet
vet:
	go vet work
	GOWORK=off go -C tools vet ./modsync
	GOWORK=off go -C tools test ./modsync

.PHONY: lint
lint: bin/golangci-lint ## golangci-lint over every module
	@failed=0; for dir in $(MODULES); do (cd "$$dir" && "$(CURDIR)/bin/golangci-lint" run --allow-parallel-runners --config "$(CURDIR)/.golangci.yaml" ./...) || failed=1; done; exit $$failed

.PHONY: tidy
tidy: ## bring every go.mod in step with the imports
	GOWORK=off go -C tools run ./modsync -root "$(CURDIR)"
	go work sync
	@for dir in $(MODULES); do (cd "$$dir" && GOWORK=off go mod tidy); done
	@for dir in tools tests/bench/eval; do (cd "$$dir" && GOWORK=off go mod tidy); done

.PHONY: tidy-check
tidy-check:
	GOWORK=off go -C tools run ./modsync -check -root "$(CURDIR)"
	@for dir in $(MODULES); do (cd "$$dir" && GOWORK=off go mod tidy -diff) || { echo "$$dir: run \`make tidy\`" >&2; exit 1; }; done

.PHONY: bench
bench: node_modules/.setup ## our numbers beside their floors, in one run
	go run ./tests/bench

.PHONY: bench-ingest
bench-ingest: node_modules/.setup ## loader, decoder, acknowledgement and memory beside their floors (LONG=1: ten minutes of overload)
	go run ./tests/bench/ingest $(if $(LONG),-long)

.PHONY: bench-eval
bench-eval: ## the evaluator beside its published peers, in one run
	GOWORK=off go -C tests/bench/eval run .

.PHONY: bench-results
EVENTS ?= 100000000
bench-results: node_modules/.setup ## reports from facts and from rollups beside a scan (EVENTS=10000000 for a tenth)
	SLUICE_BENCH_EVENTS=$(EVENTS) go test ./services/control/internal/results -run '^$$' -bench '^BenchmarkResults$$' -benchtime 1x -timeout 60m

.PHONY: soak-stats
soak-stats: ## the simulations of docs/statistics.md at full size, three to four minutes
	SLUICE_SOAK=1 go test ./pkg/stats -v -count=1 -timeout 30m -run 'Fixed|Peeking|CUPEDReduces|SampleRatio|CorrectionsKeep'

.PHONY: soak-ingest
soak-ingest: node_modules/.setup ## a hundred kills of all that facts pass through, and the ledger, three minutes (SLUICE_SEED=n)
	SLUICE_ROUNDS=100 go test ./tests/faults -v -count=1 -timeout 30m -run WhicheverPartIsKilled

.PHONY: fuzz
FUZZTIME ?= 10s
fuzz: ## each fuzz target for FUZZTIME
	@go list -f '{{.Dir}}' work | while read -r dir; do \
		for target in $$(grep -hoE '^func (Fuzz[A-Za-z0-9_]+)' "$$dir"/*_test.go 2>/dev/null | awk '{print $$2}'); do \
			echo "$$dir $$target"; (cd "$$dir" && go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) .) || exit 1; \
		done; \
	done

bin/gotestsum: tools/go.mod
	$(TOOL) gotest.tools/gotestsum

bin/golangci-lint: tools/go.mod
	$(TOOL) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
