# FlyRPC's commands. "work" is the go command's name for all modules in go.work.

FUZZTIME  ?= 20s
BENCH     ?= .
BENCHTIME ?= 1s
MINCOVER  ?= 85

GO  ?= go
BIN := $(CURDIR)/.bin

# A surrounding workspace, or none, must not change what is tested.
export GOWORK := $(CURDIR)/go.work

.DEFAULT_GOAL := help
.PHONY: help test race lint cover build fuzz bench bench-compare conform chaos nats-chaos tools

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## vet and test every module, with the race detector, and the allocation budgets without it
	$(GO) vet work
	$(GO) test -race work
	$(GO) test -run '^TestBudget' .

race: ## test COUNT (3) times in random order, with the race detector
	$(GO) test -race -shuffle=on -count=$(or $(COUNT),3) work

lint: tools ## check the format, and run go vet and staticcheck
	@files=$$($(BIN)/gofumpt -l .) || exit 1; if [ -n "$$files" ]; then \
		echo "not in gofumpt's format:"; echo "$$files"; exit 1; fi
	$(GO) vet work
	$(BIN)/staticcheck work

cover: ## test, and fail if a package is covered under MINCOVER (85) percent
	$(GO) test -coverprofile=cover.out work
	$(GO) run ./internal/covercheck -min $(MINCOVER) cover.out

build: ## build and vet every module by itself, without the workspace
	@set -e; for dir in $$($(GO) list -m -f '{{.Dir}}'); do \
		echo "build $$dir"; \
		GOWORK=off $(GO) -C "$$dir" build -o /dev/null ./...; \
		GOWORK=off $(GO) -C "$$dir" vet ./...; \
	done

fuzz: ## run each fuzz test for FUZZTIME (20s), one after another
	@GO=$(GO) FUZZTIME=$(FUZZTIME) sh internal/tools/fuzz.sh

bench: ## run the benchmarks of the root package that match BENCH (all), for BENCHTIME (1s) each
	$(GO) test -run '^$$' -bench '$(value BENCH)' -benchtime '$(BENCHTIME)' -benchmem .

bench-compare: tools ## compare the benchmarks that match BENCH with those of REV, in COUNT (10) runs of BENCHTIME (1s) each
	@GO=$(GO) BENCHSTAT=$(BIN)/benchstat REV='$(REV)' BENCH='$(value BENCH)' BENCHTIME='$(BENCHTIME)' COUNT='$(or $(COUNT),10)' \
		sh internal/tools/bench-compare.sh

conform: ## play the conformance scenarios against FlyRPC, or against the server at ADDR (SECTION alone)
	@if [ -n "$(ADDR)" ]; then $(GO) run ./internal/wiretest/cmd -dial '$(ADDR)' -section '$(SECTION)'; \
		else $(GO) test -count=1 -run '^TestConformance' .; fi

nats-chaos: ## restart, kill and cut off brokers and instances of a cluster of three at random, for CHAOSTIME (5m)
	$(GO) test -race -count=1 -v -timeout 0 -run '^TestChaos$$' ./service/natsbus -chaos $(or $(CHAOSTIME),5m)

chaos: ## kill servers for a minute under load, and restart them in order for ten seconds: every call says truly what became of it
	$(GO) run ./examples/chaos -time 60s -limit 90s
	$(GO) run ./examples/chaos -time 10s -limit 30s -every 500ms -orderly

tools:
	@GOWORK=off $(GO) -C internal/tools build -o $(BIN)/ tool
