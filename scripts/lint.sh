#!/usr/bin/env bash
# lint.sh: the lints of what is not Rust: the node's helper in Python and in sh, and the scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh shellcheck ruff

ruff=target/ruff/bin/ruff
"$ruff" check --quiet scripts tests/clients tests/differential tests/ocsf docs/formats src/terminal/record src/transport/helper/node/python
"$ruff" format --check --quiet src/transport/helper/node/python

shellcheck -x .ci/run scripts/*.sh
cd src/transport/helper/node/sh
# a program is read with all that it sources: alone, a file would use what nobody defines
shellcheck -x -a ./*_*.sh
