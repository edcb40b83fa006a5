#!/usr/bin/env bash
# Installs what the tests need (Debian, Ubuntu) and passes all tests. Arguments go to `cargo nextest run`: a part of a name,
# `-p portcullis-protocol`, `-E 'test(/^transport::/)'`, `--run-ignored only`; see .config/nextest.toml and CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")/.."

# a script that starts this in the background ignores SIGINT and SIGQUIT for it, which no shell can undo and everything
# started here would inherit
[[ -n ${PORTCULLIS_TEST_SIGNALS-} ]] || exec env --default-signal PORTCULLIS_TEST_SIGNALS=default ./scripts/test.sh "$@"

./scripts/setup.sh
./scripts/patch.sh
# the same features everywhere (lints, documentation, tests), so that nothing is compiled twice
options=(--locked --workspace --features testing)
# nextest runs no examples of the documentation; who asks for some tests does not ask for those
(($#)) || cargo test "${options[@]}" --doc --quiet
exec cargo nextest run "${options[@]}" "$@"
