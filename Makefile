# What people run. CI runs `make test` too (.ci/run).

# The GL adapter warns without it.
export XDG_RUNTIME_DIR ?= /tmp

# The members that are not for a browser; capi-test tests the last.
TESTED = -p wgpu-optim -p wgpu-optim-papers -p wgpu-optim-bench -p wgpu-optim-web
NATIVE = $(TESTED) -p wgpu-optim-capi
# All of their features.
FEATURES = --features wgpu-optim/validate,wgpu-optim/export,wgpu-optim/checkpoint,wgpu-optim-web/validate

.PHONY: burn-test demo mpi-test networks networks-test papers test setup test-setup lint doc wasm cargo-test capi-test web-check web web-test bench bench-bundle
.NOTPARALLEL:

# Every rule trains the same network on handwritten digits, on whatever adapter there is.
demo: setup
	cargo run --release --example train

# The experiments of the papers: pictures and a report with a verdict on every claim, in out/papers.
papers: setup
	cargo run --release -p wgpu-optim-papers -- all

# Those with attention, convolutions and LSTMs, into the same report: an hour on two cores; QUICK=--quick takes six minutes. What
# was interrupted goes on.
networks: setup
	scripts/setup-adapter.sh --networks
	cargo run --release --locked --manifest-path papers/networks/Cargo.toml -- all $(QUICK)

# Everything that CI runs. An adapter is required: setup installed one.
test: test-setup lint doc wasm cargo-test capi-test mpi-test web-check web-test

setup:
	scripts/setup-adapter.sh

test-setup:
	scripts/setup-adapter.sh --test

# The modules of the rules are declared inside a macro, where cargo fmt does not look.
lint:
	cargo fmt --all --check
	rustfmt --check --edition 2024 src/rules/*.rs
	cargo clippy --release $(NATIVE) $(FEATURES) --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --release $(NATIVE) $(FEATURES) --no-deps

wasm:
	scripts/check-wasm.sh

cargo-test:
	REQUIRE_GPU=1 cargo test --release $(TESTED) $(FEATURES)
	cargo test --release --no-default-features --features reference --lib --test program --test ranges --test schedules

# The C library, what is exported, and a C++ program on Vulkan.
capi-test:
	scripts/capi-test.sh

# State shared out over one to four MPI ranks.
mpi-test: setup
	scripts/mpi-test.sh

# The bridge to burn: not in `test`, since burn takes a quarter of an hour to compile.
burn-test: setup
	scripts/burn-test.sh

# The papers' networks: not in `test` either.
networks-test: setup
	scripts/networks-test.sh

# The tests of GPUs, in a browser.
web-check:
	scripts/web-check.sh

# The package for browsers and its pages, which are then served.
web:
	scripts/web.sh
	node web/serve.js

# The same, tested in a browser.
web-test:
	scripts/web-test.sh

# What a step costs on every adapter; OUT=docs/benchmarks rewrites the pages there, PEERS=FILE.json puts others beside it.
OUT ?= out/bench
bench: setup
	cargo run --release -p wgpu-optim-bench -- --out $(OUT) $(if $(PEERS),--peers $(PEERS))

# One archive that measures and checks a machine with a Vulkan driver: out/wgpu-optim-bundle.tar.xz.
bench-bundle:
	scripts/bench-bundle.sh
