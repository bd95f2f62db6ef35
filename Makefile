# make test     everything that must hold, after installing what it needs
# make build    the program, as ./strongroom
# make fuzz     every fuzz target for FUZZTIME each
# make engines  the tests of the API, over each store that a server can have
# make bench    the benchmark, over HTTP against a bare handler; BENCHFLAGS are its flags
# make memory   the server's memory, idle and with 100,000 secrets and as many tokens
# make chaos    KILLS kills and CUTS power cuts under load, and a fleet under faults for hours; CHAOSFLAGS are further flags of it
# make package  what is released, into dist/: Debian packages, archives, Helm chart, container image, SHA256SUMS
# make docs     the reference as pages in dist/site; DOCSFLAGS=-addr=127.0.0.1:8080 serves them
# make surface  how much of the Vault HTTP API answers; SURFACEFLAGS=-v lists what does not

SHELL    := bash
GO       ?= go
FUZZTIME ?= 30s
KILLS    ?= 200
CUTS     ?= 50
CHAOSFLAGS ?= -rounds=20 -longest=20s -revocations=50000 -trials=10000 -pauses=200 -ceremony=10m -damages=400

# Packages in which several goroutines meet are also tested with the race detector.
RACED = ./client/... ./internal/store/... ./internal/barrier/... ./internal/seal/... ./internal/audit/... \
        ./internal/schedule/... ./internal/token/... ./internal/mount/... ./internal/gate/... ./internal/wrapping/... ./internal/lease/... ./internal/engine/... \
        ./internal/logging/... ./internal/profile/... ./internal/settings/... ./internal/identity/... ./internal/lockout/... ./internal/quota/... \
        ./internal/mfa/... ./internal/oidc/... ./internal/auth/approle/...

# Packages at once: those that start servers wait more than they work, and two of them would leave two cores idle. What vet looks at has a target of its own.
ABREAST = -p=4 -vet=off

# Those that take longest begin first, so that none of them is left running alone.
LONGEST = ./internal/server ./internal/store/etcd/member ./test/blackbox ./test/script ./test/readme ./bench ./test/compat

# What is tested over the stores that nodes share, in make test and in make engines.
SERVED  = ./test/compat ./internal/server
ENGINED = $(SERVED) ./test/script ./test/blackbox

.PHONY: test build tools format vet unit together alike faults race smoke surface shared engines fuzz bench memory chaos package docs

test: tools format vet unit together alike surface

# runtimesecret: what keys leave on stacks and in the heap is erased (SECURITY.md).
build:
	CGO_ENABLED=0 GOEXPERIMENT=runtimesecret $(GO) build -trimpath -o strongroom .

# tools installs what the tests need where it may, and says what to install where it may not.
tools:
	@test/tools

format:
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))" || exit 1; \
	if [ -n "$$unformatted" ]; then echo "gofmt these files:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

unit:
	@packages="$$($(GO) list ./...)" || exit 1; set -x; \
	$(GO) test $(ABREAST) -count=1 -timeout 15m $(LONGEST) $$(grep -v /test/chaos <<< "$$packages")

# faults waits more than it works, and has its turn with race; so does shared, with smoke.
together:
	$(MAKE) --no-print-directory --output-sync=target -j2 faults race

alike:
	$(MAKE) --no-print-directory --output-sync=target -j2 shared smoke

# faults is the short form of chaos.
faults:
	$(GO) test -vet=off -count=1 -parallel=3 -timeout 15m ./test/chaos

# The short form of engines, without what is the same over every store. They wait more than they work, so both have their turn at the same time.
shared:
	$(MAKE) --no-print-directory --output-sync=target -j2 shared-postgres shared-etcd

shared-%:
	$(GO) run ./test/engine/with $* $(GO) test -vet=off -short -count=1 -timeout 30m $(SERVED)

engines: tools
	for engine in pebble postgres etcd member; do \
		$(GO) run ./test/engine/with $$engine $(GO) test -count=1 -timeout 40m $(ENGINED) || exit 1; \
	done

race:
	CGO_ENABLED=1 $(GO) test -race $(ABREAST) -count=1 -short -timeout 15m $(RACED)

# smoke is the short form of fuzz.
smoke:
	test/fuzz 300x

surface:
	$(GO) run ./test/compat/surface $(SURFACEFLAGS)

fuzz:
	test/fuzz $(FUZZTIME)

bench:
	$(GO) run ./bench $(BENCHFLAGS)

memory:
	$(GO) run ./bench -memory

chaos:
	$(GO) test -v -count=1 -timeout 6h ./test/chaos -kills=$(KILLS) -cuts=$(CUTS) -engines=postgres,etcd,external $(CHAOSFLAGS)

package:
	deploy/package

docs:
	$(GO) run ./internal/reference/site -out dist/site $(DOCSFLAGS)
