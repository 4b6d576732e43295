# CKE: everything a person or a script does with this repository.
# Needs Go 1.26, git, make, curl and jq; the race detector wants a C compiler.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO           ?= go
LINT_VERSION := v2.15.0
LINT         := .cache/bin/golangci-lint-$(LINT_VERSION)/golangci-lint

ETCD_BIN := bin/etcd bin/etcdctl bin/etcdutl
ETCD_SRC := deps/etcd-3.7/go.mod deps/etcd-3.7/go.sum deps/etcd-3.7/cmd/etcd/main.go

# The line of etcd before, for tests of changes from one to the other.
ETCD36_BIN := bin/etcd-3.6/etcd bin/etcd-3.6/etcdctl bin/etcd-3.6/etcdutl

KUBE_VERSION  := 1.37.2
KUBE_PROGRAMS := kube-apiserver kube-controller-manager kubectl
KUBE_BIN      := $(addprefix bin/,$(KUBE_PROGRAMS))
KUBE_LDFLAGS  := -s -w $(foreach kv,gitVersion=v$(KUBE_VERSION) gitMajor=1 gitMinor=37,-X k8s.io/component-base/version.$(kv))

# The version comes out of the build information (debug.ReadBuildInfo), which
# Go takes from git. A tree without git, or one that git distrusts, has none.
VCS := $(if $(shell git rev-parse HEAD 2>/dev/null),true,false)

DEV  := bin/cke dev --dir .cke
TIER := $(GO) run ./test/tier

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: own $(ETCD_BIN) ## build bin/{cke,ckecli,cke-host,etcd,etcdctl,etcdutl}

# cke-host also for each architecture by name: cke installs it on other machines.
.PHONY: own
own:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -buildvcs=$(VCS) -p 2 -trimpath -ldflags '-s -w' -o bin/ ./cmd/...
	@for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -buildvcs=$(VCS) -p 2 -trimpath -ldflags '-s -w' \
			-o bin/cke-host-linux-$$arch ./cmd/cke-host || exit; \
	done

bin/cke:
	@$(MAKE) --no-print-directory own

# Upstream's etcd, unchanged, from the modules pinned in deps/etcd-3.7. Go
# leaves an output alone that is already right, hence the touch.
$(ETCD_BIN) &: $(ETCD_SRC)
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) -C deps/etcd-3.7 build -buildvcs=false -p 2 -trimpath -ldflags '-s -w' -o ../../bin/ \
		./cmd/etcd go.etcd.io/etcd/etcdctl/v3 go.etcd.io/etcd/etcdutl/v3
	@touch $(ETCD_BIN)

$(ETCD36_BIN) &: deps/etcd-3.6/go.mod deps/etcd-3.6/go.sum deps/etcd-3.6/cmd/etcd/main.go
	@mkdir -p bin/etcd-3.6
	CGO_ENABLED=0 $(GO) -C deps/etcd-3.6 build -buildvcs=false -p 2 -trimpath -ldflags '-s -w' -o ../../bin/etcd-3.6/ \
		./cmd/etcd go.etcd.io/etcd/etcdctl/v3 go.etcd.io/etcd/etcdutl/v3
	@touch $(ETCD36_BIN)

.PHONY: build-etcd-3.6
build-etcd-3.6: $(ETCD36_BIN) # the etcd that tests upgrade from, in bin/etcd-3.6

# What only tests run: Kubernetes and CoreDNS, from deps/. Cold they take ten
# minutes and 3 GB of build cache, afterwards seconds.
$(KUBE_BIN) &: deps/kubernetes/go.mod deps/kubernetes/go.sum
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) -C deps/kubernetes build -buildvcs=false -p 2 -trimpath -ldflags '$(KUBE_LDFLAGS)' -o ../../bin/ \
		$(addprefix k8s.io/kubernetes/cmd/,$(KUBE_PROGRAMS))
	@touch $(KUBE_BIN)

bin/coredns: deps/coredns/go.mod deps/coredns/go.sum deps/coredns/cmd/coredns/main.go
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) -C deps/coredns build -buildvcs=false -p 2 -trimpath -tags grpcnotrace -ldflags '-s -w' -o ../../bin/ ./cmd/coredns
	@touch $@

.PHONY: build-kube
build-kube: $(KUBE_BIN) bin/coredns ## build what the Kubernetes tests run (about 10 minutes when nothing is cached)

.PHONY: up
up: build ## start a three-member cluster on 127.0.0.1-3 in the background, under .cke/
	@$(DEV) up

.PHONY: down
down: bin/cke ## stop what `make up` started; the data stays
	@$(DEV) down

.PHONY: clean-dev
clean-dev: bin/cke ## stop it and forget its data
	@$(DEV) forget

# `make lab-up 5` is `make lab-up N=5`: the number is another goal to make, which
# takes no making.
N ?= 3
ifeq (lab-up,$(firstword $(MAKECMDGOALS)))
ifneq (,$(filter $(shell seq 100),$(word 2,$(MAKECMDGOALS))))
N := $(word 2,$(MAKECMDGOALS))
.PHONY: $(N)
$(N): ; @:
endif
endif

.PHONY: lab-up
lab-up: bin/lab ## start N machines (3 unless told: make lab-up 5) with systemd and sshd; root
	@bin/lab up $(LAB_ARGS) $(N)

.PHONY: lab-down
lab-down: bin/lab ## remove them and everything of them
	@bin/lab down

.PHONY: lab-image
lab-image: bin/lab ## make the machines' image, once, ahead of time
	@bin/lab image

.PHONY: bin/lab
bin/lab:
	@mkdir -p bin
	@CGO_ENABLED=0 $(GO) build -o bin/lab ./test/lab/cmd/lab

.PHONY: test
test: build $(ETCD36_BIN) ## unit, golden, CLI and end-to-end tests on local processes; no root
	@$(TIER) test sim

.PHONY: test-sim
test-sim: ## 10,000 random histories of simulated clusters (about 90 s); SIM_ARGS='-sim.seed N' plays one
	@$(if $(SIM_ARGS),$(GO) test ./test/sim -run TestRandomHistories -count=1 -v $(SIM_ARGS),CKE_TEST_SIM=10000 $(TIER) sim)

.PHONY: test-lab
test-lab: build $(ETCD36_BIN) ## the same work on real hosts
	@$(TIER) lab

.PHONY: test-faults
test-faults: build $(ETCD36_BIN) ## clients' histories under random faults and operations; CKE_FAULTS_SEED, CKE_FAULTS_FOR
	@$(TIER) faults

.PHONY: test-kube
test-kube: build $(ETCD36_BIN) build-kube ## with a real Kubernetes API server
	@$(TIER) kube

.PHONY: test-all
test-all: build $(ETCD36_BIN) build-kube ## all of the tiers above
	@CKE_TEST_SIM=10000 $(TIER) test sim lab faults kube

.PHONY: test-long
test-long: build $(ETCD36_BIN) build-kube ## all tiers in their long, seeded forms
	@CKE_TEST_LONG=1 $(TIER) test sim lab faults kube

.PHONY: lint
lint: $(LINT) ## gofmt, go vet and golangci-lint
	@out=$$(gofmt -l bench cmd deps internal test); \
		if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/$(dir $@) CGO_ENABLED=0 $(GO) install -p 2 -trimpath \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

.PHONY: bench
bench: build ## bootstrap against its floor, and the idle cost of cke (about 5 minutes)
	$(GO) run ./bench bootstrap
	$(GO) run ./bench idle

.PHONY: bench-lab
bench-lab: build ## the same on real machines, beside plain ssh, and changes of a cluster that runs (about 20 minutes; root)
	$(GO) run ./bench lab

.PHONY: bench-kube
bench-kube: build build-kube ## how soon Kubernetes and its DNS know of members, and what it is asked (about 10 minutes; root)
	$(GO) run ./bench kube -for 3m
