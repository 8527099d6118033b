# Each target is one line of `make help`. The work is done by scripts: tests/run, dpdk-config/install, dpdk-config/demo,
# bench/run, bench/kernel.

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
DURATION ?=
QUICK ?=
OVS ?=
ROWS ?=

.DEFAULT_GOAL := help
.PHONY: help run test build lint unit e2e conformance fuzz-smoke bench bench-kernel install-packages clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' Makefile

run: build ## The demo: a VLAN host and a remote VTEP talk through the gateway (DURATION=5 ends it after 5 s)
	@DURATION=$(DURATION) dpdk-config/demo

test: ## Every test but the slow ones; says which part failed and why
	@dpdk-config/install build run test
	@tests/run

build: ## The release binaries, target/release/vtepd and vtepctl
	@dpdk-config/install build run
	@echo '[build] cargo build --release'
	@cargo build --locked --release

lint: ## Formatting, clippy with and without DPDK, shellcheck
	@dpdk-config/install build test
	@tests/run lint

unit: ## Unit, fixture, property and loom tests, and DPDK's software drivers
	@dpdk-config/install build
	@tests/run unit

e2e: build ## End to end in network namespaces against the kernel's vxlan (root)
	@dpdk-config/install run test
	@tests/run e2e

conformance: build ## Every row of the conformance table against the gateway and the kernel; writes docs/conformance.* (root)
	@dpdk-config/install run test
	@cd tests/e2e && $(if $(filter 0,$(shell id -u)),,sudo) /usr/bin/python3 -m conformance $(if $(ROWS),--only $(ROWS))

fuzz-smoke: ## Slow: each fuzz target for a minute
	@tests/run fuzz

bench: ## Cycles per packet beside plain io and Open vSwitch (QUICK=1: two minutes; OVS=1 installs it, OVS=0 does not)
	@dpdk-config/install build run
	@OVS=$(OVS) bench/run $(if $(QUICK),--quick)

bench-kernel: build ## TCP, UDP and round trips over TAP, AF_XDP and AF_PACKET beside the kernel's vxlan (QUICK=1: a minute; root)
	@dpdk-config/install test
	@bench/kernel $(if $(QUICK),--quick)

install-packages: ## Installs the Debian packages that are missing
	@dpdk-config/install

clean: ## Removes what was built
	cargo clean
