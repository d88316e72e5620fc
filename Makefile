# make help lists the targets.

GO ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# Of Debian packages, in the order of commits also before the first release.
DEB_VERSION ?= $(if $(filter v%,$(VERSION)),$(subst -,+,$(patsubst v%,%,$(VERSION))),0.0.0~git$(shell git log -1 --format=%cd --date=format:%Y%m%d%H%M%S).$(subst -,+,$(VERSION)))
MAINTAINER ?= tapefs authors <tapefs@example.org>
# Builds depend on the commit, not on the clock.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
ARCH ?= $(shell $(GO) env GOARCH)
PREFIX ?= /usr/local
DESTDIR ?=
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Without cgo: no C compiler is needed, and one binary runs on any Linux. Only the race detector wants it.
export CGO_ENABLED = 0

.PHONY: help build man docs install deb dist package-test deps demo test torture years soak browser fuzz race lint check bench bench-crypto bench-mount bench-recall bench-archive bench-restore bench-rebuild scale clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

build: ## Build ./tapefs
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o tapefs ./cmd/tapefs

man: build ## Write the manual pages into .build/man
	rm -rf .build/man
	./tapefs man .build/man

docs: ## Write docs/configuration.md anew, from the comments of the configuration
	TAPEFS_UPDATE=1 $(GO) test -count=1 -run '^TestConfigurationPage$$' ./cmd/tapefs

install: ## Install below DESTDIR and PREFIX (/usr/local): program, mount.tapefs, manual pages, completion, systemd units
	sh cmd/tapefs/packaging/install '$(GO)' '$(ARCH)' '$(VERSION)' '$(DESTDIR)' '$(PREFIX)'

deb: ## Build dist/tapefs_VERSION_ARCH.deb for this machine's or another ARCH
	rm -rf .build/root-$(ARCH)
	sh cmd/tapefs/packaging/install '$(GO)' '$(ARCH)' '$(VERSION)' .build/root-$(ARCH) /usr
	DEB_VERSION='$(DEB_VERSION)' MAINTAINER='$(MAINTAINER)' sh cmd/tapefs/packaging/debian .build/root-$(ARCH)
	mkdir -p dist
	ARCH=$(ARCH) DEB_VERSION='$(DEB_VERSION)' MAINTAINER='$(MAINTAINER)' $(GO) run $(NFPM) package -f cmd/tapefs/packaging/nfpm.yaml -p deb -t dist/tapefs_$(DEB_VERSION)_$(ARCH).deb

dist: ## Archives and Debian packages for amd64 and arm64 with SHA256SUMS in dist/; the same commit gives the same bytes
	rm -rf dist
	for arch in amd64 arm64; do \
		$(MAKE) deb ARCH=$$arch && sh cmd/tapefs/packaging/tarball '$(GO)' $$arch '$(VERSION)' || exit 1; \
	done
	cd dist && sha256sum tapefs* >SHA256SUMS

package-test: deps ## Builds the packages twice, compares them, asks lintian, and installs, runs and purges one in a fresh Debian
	@sh .ci/deps lintian debootstrap
	TAPEFS_PACKAGE=1 $(GO) test -count=1 -timeout 1h -run '^TestPackage' -v ./cmd/tapefs

deps: ## Install the programs that demo and tests use (Debian)
	@sh .ci/deps

demo: build ## The whole journey with a virtual library; SRC=/some/dir archives that directory
	@sh .ci/deps demo
	./tapefs demo $(if $(SRC),--src '$(SRC)')

test: deps ## Run all tests
	$(GO) test -timeout 80m ./...

torture: deps ## ROUNDS (500; "once": each kind once, four in a row) of kills, full tapes and faults, each followed by a compare; SEED repeats a run, ARCHIVE one archive of it; JOBS (4) archives at a time
	TAPEFS_ROUNDS=$(or $(ROUNDS),500) TAPEFS_SEED=$(SEED) TAPEFS_ARCHIVE=$(ARCHIVE) TAPEFS_KIND='$(KIND)' TAPEFS_REBUILDS=$(REBUILDS) $(GO) test -count=1 -timeout 12h -parallel $(or $(JOBS),4) -run '^TestTorture$$' -v ./cmd/tapefs

mutations: deps ## Small changes to the program, each of which a short test must notice; M=TEXT those with it in their names, M=changed BASE=COMMIT those whose file changed
	TAPEFS_MUTATIONS='$(or $(M),all)' TAPEFS_BASE='$(BASE)' $(GO) test -count=1 -timeout 2h -run '^TestMutations$$' -v ./cmd/tapefs

years: deps ## RUNS (40) of archive with changes, forget, export, killed repacks, retire and new keys between, each compared with a plain model; SEED repeats one
	TAPEFS_YEARS=$(or $(RUNS),40) TAPEFS_SEED='$(SEED)' $(GO) test -count=1 -timeout 2h -run '^TestYears$$' -v ./cmd/tapefs

soak: deps ## TIME (2h) of readers, archive, verify and faults around one mount; RACE=1 under the race detector; PLOT=FILE.svg draws memory and descriptors
	CGO_ENABLED=$(if $(RACE),1,0) GORACE=atexit_sleep_ms=0 TAPEFS_SOAK=$(or $(TIME),2h) TAPEFS_SOAK_PLOT='$(PLOT)' $(GO) test $(if $(RACE),-race) -count=1 -timeout 30h -run '^TestSoak$$' -v ./cmd/tapefs

browser: ## The page in a headless Chromium, which is installed if it is missing; SHOTS=DIR keeps pictures
	sh .ci/deps chromium
	TAPEFS_BROWSER=1 TAPEFS_SCREENSHOTS='$(SHOTS)' $(GO) test -count=1 -timeout 30m -run '^TestBrowser$$' ./cmd/tapefs

fuzz: ## Every fuzz target for TIME (1m) each
	sh .ci/fuzz '$(or $(TIME),1m)'

race: deps ## Run the tests of concurrent packages with the race detector
	CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 $(GO) test -race -short -timeout 40m ./catalog ./changer/... ./crypto ./fs/... ./archiver/...

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

check: lint test ## What a change must pass

bench: ## All benchmarks beside their peers, and their table into docs/performance.md (OUT); QUICK=1 in minutes, QUICK=tiny only shows that they run
	@sh .ci/bench '$(QUICK)' '$(or $(OUT),docs/performance.md)'

bench-crypto: deps ## Benchmarks of the sealed format beside openssl
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./crypto

bench-mount: ## Copying SMALL (20,000) small files, listing N (1,000,000) names and reading SIZE (1GiB) beside the disk, a server without storage, go-fuse's loopback, gocryptfs, restic; WITHOUT='restic gocryptfs' leaves out
	@sh .ci/deps $(filter-out $(WITHOUT),gocryptfs restic)
	TAPEFS_BENCH_SMALL=$(or $(SMALL),20000) TAPEFS_BENCH_NAMES=$(or $(N),1000000) TAPEFS_BENCH_SIZE=$(or $(SIZE),1GiB) TAPEFS_BENCH_WITHOUT='$(WITHOUT)' $(GO) test -count=1 -timeout 6h -run '^TestBench(SmallFiles|Mount)$$' -v ./cmd/tapefs

bench-recall: ## 1,000 reads over 20 tapes on a virtual clock: the queue beside first-come, per-reader order and a lower bound
	TAPEFS_BENCH_RECALL=1 $(GO) test -count=1 -run '^TestBenchRecall$$' -v ./fs/recall

bench-archive: deps ## A second run over N (1,000,000) names beside rsync -an, sealing beside openssl, MIB (2048) over ssh beside rsync -a, sources side by side
	$(GO) test -run '^$$' -bench '^BenchmarkSideBySide$$' -benchtime 5x ./archiver
	TAPEFS_BENCH_NAMES=$(or $(N),1000000) TAPEFS_BENCH_MIB=$(or $(MIB),2048) $(GO) test -count=1 -timeout 3h -run '^TestBench(Unchanged|Seal|Archive)$$' -v ./archiver

bench-restore: deps ## N (20,000) small files restored, beside openssl and tar of the same objects, and rsync
	TAPEFS_BENCH_RESTORE=$(or $(N),20000) $(GO) test -count=1 -timeout 1h -run '^TestBenchRestore$$' -v ./archiver

bench-rebuild: deps ## A catalog of N (1,000,000) files rebuilt from manifests, beside openssl and tar that read them
	TAPEFS_BENCH_REBUILD=$(or $(N),1000000) $(GO) test -count=1 -timeout 3h -run '^TestBenchRebuild$$' -v ./cmd/tapefs

scale: deps ## List and compare N names (1,000,000) in little memory, none and all of them in the catalog
	TAPEFS_SCALE=$(or $(N),1000000) $(GO) test -count=1 -timeout 3h -run '^TestScale$$' -v ./archiver

clean: ## Remove what was built
	rm -rf tapefs .build dist
