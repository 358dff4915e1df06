# Everything a developer types. `make help` lists it. The programs are built without cgo throughout.

# sudo often hides /usr/local/go/bin.
GO        ?= $(or $(shell command -v go),$(wildcard /usr/local/go/bin/go),$(wildcard /usr/lib/go/bin/go),go)
# As root in somebody else's clone git wants to be told that this is meant.
GIT       := git -c safe.directory=$(CURDIR)
VERSION   ?= $(shell $(GIT) describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
CACHE     := $(CURDIR)/.cache
# Pinned: another version finds other things.
STATICCHECK_VERSION := v0.8.2
STATICCHECK := $(CACHE)/staticcheck-$(STATICCHECK_VERSION)
# What tests and the demo use that others wrote: a certificate authority with its DNS server, and a judge of HTTP/2.
PEBBLE_VERSION := v2.10.1
H2SPEC_VERSION := v2.2.1
TOOLS     := $(CACHE)/pebble-$(PEBBLE_VERSION) $(CACHE)/pebble-challtestsrv-$(PEBBLE_VERSION) $(CACHE)/h2spec-$(H2SPEC_VERSION)
# Packages whose tests need no kernel: architecture, documentation, and what is generated from the code.
CHECKS    := ./internal/architecture/... ./scripts/gendocs/...
FUZZTIME  ?= 10s
# What `make test` gives each parser of the proxy; test-long fuzzes all there are.
SHORTFUZZ ?= 2s
LEAKRUNS  ?= 5
SOAK      ?= 60m

export CGO_ENABLED := 0
# The version is passed by the linker; asking git again for each program would only warn about foreign owners.
export GOFLAGS := -buildvcs=false $(filter-out -buildvcs%,$(GOFLAGS))

.DEFAULT_GOAL := help
.PHONY: help deps packages modules build run check test test-long soak bench e2e bare docs clean root-needed

help: ## list these targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: packages modules $(STATICCHECK) $(TOOLS) ## install what is missing: Debian packages, Go modules, staticcheck, test tools

packages:
	@scripts/deps.sh test

modules:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install version $$(sed -n 's/^go //p' go.mod) or later (https://go.dev/dl), or say where it is: make GO=/path/to/go"; exit 1; }
	@$(GO) mod download

$(STATICCHECK): | modules
	@mkdir -p $(CACHE)/bin
	GOBIN=$(CACHE)/bin $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	@mv $(CACHE)/bin/staticcheck $@

$(CACHE)/pebble-$(PEBBLE_VERSION) $(CACHE)/pebble-challtestsrv-$(PEBBLE_VERSION) &: | modules
	@mkdir -p $(CACHE)/bin
	GOBIN=$(CACHE)/bin $(GO) install github.com/letsencrypt/pebble/v2/cmd/pebble@$(PEBBLE_VERSION)
	GOBIN=$(CACHE)/bin $(GO) install github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@$(PEBBLE_VERSION)
	@mv $(CACHE)/bin/pebble $(CACHE)/pebble-$(PEBBLE_VERSION)
	@mv $(CACHE)/bin/pebble-challtestsrv $(CACHE)/pebble-challtestsrv-$(PEBBLE_VERSION)

$(CACHE)/h2spec-$(H2SPEC_VERSION): | modules
	@mkdir -p $(CACHE)/bin
	GOBIN=$(CACHE)/bin $(GO) install github.com/summerwind/h2spec/cmd/h2spec@$(H2SPEC_VERSION)+incompatible
	@mv $(CACHE)/bin/h2spec $@

build: modules ## build bin/platformd, bin/platformctl and what platformctl calls
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

run: build $(TOOLS) ## start platformd in a namespace of its own, with neighbours and a tour (TOUR=0, ONCE=1)
	@scripts/deps.sh run
	@$(GO) build -o $(CACHE)/demo ./scripts/demo
	@exec $(CACHE)/demo -bin bin -tools $(CACHE)

check: $(STATICCHECK) ## gofmt, vet, staticcheck, architecture and documentation tests
	@out=$$($$($(GO) env GOROOT)/bin/gofmt -l $$($(GIT) ls-files -co --exclude-standard '*.go')); test -z "$$out" || { echo "not formatted, run gofmt -w:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) test $(CHECKS)

test: root-needed deps build ## install what is missing and run every test, kernel tests included; fuzz the proxy for a moment
	$(GO) test -p 2 -count=1 -timeout 25m ./...
	GO='$(GO)' scripts/fuzz.sh $(SHORTFUZZ) proxy

test-long: root-needed deps build ## fuzz every target for FUZZTIME, look for leaks LEAKRUNS times, and give the judges and the take-over of the proxy their time
	GO='$(GO)' scripts/fuzz.sh $(FUZZTIME)
	$(GO) test -p 1 -count=$(LEAKRUNS) -timeout 3h -run 'Conformance/nothing_leaks' ./firewall/nft ./firewall/iptables
	PLATFORMD_LONG=1 $(GO) test -p 1 -count=1 -timeout 30m ./internal/judges
	PLATFORMD_LONG=1 $(GO) test -p 1 -count=1 -timeout 30m -v -run 'TakesOverUnderLoad' ./internal/worker

soak: root-needed modules ## hold a mixed load on the proxy for SOAK, say what grows, and write docs/soak.md
	PLATFORMD_SOAK=$(SOAK) PLATFORMD_SOAK_OUT=$(CURDIR)/docs/soak.md $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./cmd/platformd

bench: root-needed build ## print the benchmark tables with peers in the same run, and write docs/benchmarks.md
	@scripts/deps.sh bench
	$(GO) run ./scripts/bench -out docs/benchmarks.md

e2e: root-needed modules ## boot a Debian 12 under emulation, try the units, bans and boot there, and write docs/e2e.md
	@scripts/deps.sh e2e
	GO='$(GO)' scripts/e2e/run.sh

bare: root-needed modules ## try make run, and what make test installs, in a Debian with git and make alone
	@scripts/deps.sh e2e
	GO='$(GO)' scripts/e2e/bare.sh

docs: ## write the generated pages of docs/reference again
	$(GO) run ./scripts/gendocs

clean: ## remove what was built
	rm -rf bin .cache coverage.out

root-needed:
	@test "$$(id -u)" = 0 || { echo "the kernel tests need root: they make network namespaces of their own and touch no other. Run: sudo make $(MAKECMDGOALS)"; exit 1; }
