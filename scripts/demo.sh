#!/usr/bin/env bash
# Installs what the demo takes (Debian, Ubuntu: a C compiler and patch to build it, ssh to try it), then builds and starts it.
# Arguments go to `portcullis demo`.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/setup.sh cc ssh
./scripts/patch.sh
exec cargo run --locked --bin portcullis -- demo "$@"
