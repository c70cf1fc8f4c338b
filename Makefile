# Two commands do everything on a fresh Debian or Ubuntu machine with Rust:
#   make demo   the living console on a throwaway desk
#   make test   everything that is checked
.PHONY: demo test fuzz build lint bench shot

demo:
	@tests/setup.sh build
	cargo build --release --locked
	./target/release/watchfloor demo

# The same random inputs every time; `make fuzz` tries new ones, and names the seed of what it finds.
test:
	@tests/setup.sh test
	BOLERO_RANDOM_SEED=1 PROPTEST_RNG_SEED=1 cargo test --locked --no-fail-fast

fuzz:
	@tests/setup.sh build
	for round in 1 2 3 4 5 6 7 8; do cargo test --locked --test fuzz || exit 1; done
	cargo test --locked --lib -- text:: model::

build:
	@tests/setup.sh build
	cargo build --release --locked

lint:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

bench:
	@tests/setup.sh test
	cargo bench --locked

# The README's pictures, drawn by the console itself.
shot:
	cargo run --release --locked -- screenshot --width 132 --height 36 --keys "j j j t" --out assets/console.svg
	cargo run --release --locked -- screenshot --width 150 --height 40 --keys "4" --out assets/slo.svg
