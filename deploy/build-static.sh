#!/usr/bin/env bash
# Builds the static binary for this machine's architecture into target/static/petrel and says how large it is.
# Needs rustup and musl-gcc (Debian: apt-get install musl-tools), since two dependencies are partly in C.
set -euo pipefail
cd "$(dirname "$0")/.."

triple="$(uname -m)-unknown-linux-musl"
rustup target add "$triple"
command -v musl-gcc >/dev/null || { echo "musl-gcc is missing: install musl-tools" >&2; exit 1; }
export "CC_${triple//-/_}=musl-gcc"
cargo build --release --locked --target "$triple" --bin petrel

built="${CARGO_TARGET_DIR:-target}/$triple/release/petrel"
if readelf -l "$built" | grep INTERP >/dev/null; then echo "$built is not static" >&2; exit 1; fi
mkdir -p target/static
# Names of functions stay in `built`, for who has a backtrace to read.
strip -o target/static/petrel "$built"
ls -l "$built" target/static/petrel | awk '{ printf "%s: %.1f MiB\n", $NF, $5 / 1048576 }'
target/static/petrel --version
