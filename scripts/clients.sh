#!/usr/bin/env bash
# The client matrix alone: installs the programs and libraries that people have, and drives each at a gateway. docs/clients.md has more.
#
#   scripts/clients.sh [--only NAME,… | --big] [--check | --write] [--binary FILE] [--json FILE] [--keep-log FILE] [--list]
#
# Without --binary a gateway is built. --write puts what was found into the README; --check wants it to be there.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/setup.sh clients
if [[ " $* " != *" --binary"* && " $* " != *" --list "* && " $* " != *" --help "* ]]; then
    ./scripts/patch.sh
    cargo build --locked --bin portcullis
    set -- --binary "$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/portcullis" "$@"
fi
PYTHONPATH=scripts exec python3 -m clients "$@"
