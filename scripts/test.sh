#!/usr/bin/env bash
# Installs what the tests need (Debian, Ubuntu) and passes all tests. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/setup.sh
exec cargo test --locked --workspace --features portcullis-protocol/testing "$@"
