# Mesoscope. `make` lists the targets; CONTRIBUTING.md explains them.
GO          ?= go
VERSION     ?= $(shell sed -n 's/^\tVersion *= *"\(.*\)"/\1/p' internal/version/version.go)
COMMIT      ?= $(shell git rev-parse --short HEAD 2>/dev/null)
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.7.0
LDFLAGS      = -s -w -X mesoscope/internal/version.Version=$(VERSION) -X mesoscope/internal/version.Commit=$(COMMIT)
export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help build test e2e bench lint demo docker

help: ## this text
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## ./mesoscope, static and stripped
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o mesoscope .

test: ## vet and all tests that need no network, no Docker and no root
	$(GO) vet ./...
	$(GO) test ./...

e2e: ## tests against real Docker, Elasticsearch and Chromium; root; see .ci/run for what they need
	$(GO) test -tags e2e -p 1 -count 1 -timeout 40m ./...

bench: ## the agent end to end (lines per CPU second, idle, latency), then micro benchmarks; BENCH=-h lists its flags
	$(GO) run ./test/bench $(BENCH)
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
