#!/usr/bin/env bash
# Builds the release: target/dist/portcullis, without debug information, and beside it portcullis.debug, where that went.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/setup.sh cc objcopy
./scripts/patch.sh
cargo build --locked --release --bin portcullis

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
mkdir -p "$target/dist"
cd "$target/dist"
# two files as distributions make them: gdb, perf and the backtrace of a panic find the second one by the name and checksum
# that the first one carries, or by the build id that both have
objcopy --only-keep-debug --compress-debug-sections ../release/portcullis portcullis.debug
chmod 0644 portcullis.debug
objcopy --strip-all --add-gnu-debuglink=portcullis.debug ../release/portcullis portcullis
ls -lh portcullis portcullis.debug >&2
