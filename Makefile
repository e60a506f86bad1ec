# Mesoscope. `make` lists the targets; CONTRIBUTING.md explains them.
GO          ?= go
VERSION     ?= $(shell sed -n 's/^\tVersion *= *"\(.*\)"/\1/p' internal/version/version.go)
COMMIT      ?= $(shell git rev-parse --short HEAD 2>/dev/null)
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.7.0
LDFLAGS      = -s -w -X mesoscope/internal/version.Version=$(VERSION) -X mesoscope/internal/version.Commit=$(COMMIT)
export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help build test e2e soak soak-mutants bench lint demo docker

help: ## this text
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## ./mesoscope, static and stripped
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o mesoscope .

test: ## vet and all tests that need no network, no Docker and no root
	$(GO) vet ./...
	$(GO) test ./...

e2e: ## tests against real Docker, Elasticsearch and Chromium; root; see .ci/run for what they need
	$(GO) test -tags e2e -p 1 -count 1 -timeout 40m ./...

soak: ## faults against the agent, and each line accounted for: DURATION=30m SEED=n, or CYCLES=1000; SOAK=-h lists the rest
	$(GO) run ./test/soak $(if $(DURATION),-duration $(DURATION)) $(if $(SEED),-seed $(SEED)) $(if $(CYCLES),-cycles $(CYCLES)) $(SOAK)

soak-mutants: ## the agent with one mistake in it each: soak has to find every one
	$(GO) run ./test/soak -mutants

bench: ## the agent end to end (lines per CPU second, idle, latency), then micro benchmarks; PEERS=1 measures other agents too, BENCH=-h lists the flags
	$(GO) run ./test/bench $(if $(PEERS),-peers) $(BENCH)
	$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 60m ./...

lint: ## vet (all platforms) and staticcheck
	$(GO) vet -tags e2e ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null .
	$(GO) run $(STATICCHECK) ./...

demo: build ## a standalone with a sample workload; prints the address of its page
	./mesoscope standalone --demo

docker: build ## the image mesoscope:VERSION from scratch; needs a Docker engine and no network
	docker build -t mesoscope:$(VERSION) -t mesoscope:latest .
