# make help lists what there is to do.

.DEFAULT_GOAL := help
.PHONY: help test test-full build lint fmt arch fuzz bench quickstart ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## set up what is missing and run all tests with the race detector (PKG=./bus TESTFLAGS="-run X" narrow it)
	@scripts/test.sh

test-full: ## what a broken world gets, in full size on real servers, with its figures at the end: forty minutes
	@EVENTBUS_FULL=1 TESTTIMEOUT=90m scripts/test.sh

build: ## compile everything
	go build ./...

lint: ## gofmt, go vet, staticcheck
	scripts/gofmt.sh
	go vet ./...
	scripts/staticcheck.sh

fmt: ## format the code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

arch: ## check the repository's own rules: import direction, documentation, what is linked
	go test -count=1 ./internal/arch

fuzz: ## run each fuzz target for 60 s (FUZZTIME=10s, PKG=./schema)
	@scripts/fuzz.sh

bench: ## measure against the raw client libraries and print two tables
	go run ./internal/bench
	go run ./internal/bench -brokers -short

quickstart: ## run the first example, which needs nothing installed
	go run ./examples/quickstart

ci: ## everything that a change has to pass
	@.ci/run

clean: ## remove what the scripts downloaded and built
	rm -rf .cache
