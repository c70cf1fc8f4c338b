# Two commands do everything on a fresh Debian or Ubuntu machine with Rust:
#   make demo   the living console on a throwaway desk
#   make test   everything that is checked
.PHONY: demo test build lint bench shot

demo:
	@tests/setup.sh build
	cargo build --release --locked
	./target/release/watchfloor demo

test:
	@tests/setup.sh test
	cargo test --locked

build:
	@tests/setup.sh build
	cargo build --release --locked

lint:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

bench:
	@tests/setup.sh test
	cargo bench --locked

# The README's picture, drawn by the console itself.
shot:
	cargo run --release --locked -- screenshot --width 132 --height 36 --keys "j j j t" --out assets/console.svg
