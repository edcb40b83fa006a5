# The commands people and CI run. `just` alone lists them.

_list:
    @just --list --unsorted

# A gateway, a Session Manager and a node on this machine; no AWS account
demo *ARGS:
    ./scripts/demo.sh {{ARGS}}

# Format, lints, documentation, tests: what CI runs
ci:
    ./.ci/run

# All tests (installs what they need), or those that match: arguments go to `cargo nextest run`
test *ARGS:
    ./scripts/test.sh {{ARGS}}

# russh with our patches, into .patched; whatever builds does this first
patch:
    ./scripts/patch.sh

# Lints of the node's helper (Python, sh) and of the scripts
lint:
    ./scripts/lint.sh

# The fast loop
check: patch
    cargo fmt --all
    cargo clippy --locked --workspace --all-targets --features testing

# Refresh what is generated from the code
generate: patch
    PORTCULLIS_UPDATE_SCHEMA=1 cargo test --locked --features testing --lib the_schema_in_config_is_fresh
    PORTCULLIS_UPDATE_DOCUMENTS=1 cargo test --locked --features testing --test e2e deployed_documents_are_fresh

# Everything against AWS's own programs, whose paths are given
matrix *ARGS:
    ./scripts/matrix.sh {{ARGS}}

# The clients that people have, each driven at a gateway: --only NAME, --write, --list
clients *ARGS:
    ./scripts/clients.sh {{ARGS}}

# The figures, as a table
figures *ARGS:
    ./scripts/figures.py {{ARGS}}

# Ten thousand sequences of SFTP requests beside OpenSSH's own server, of a demo that runs (needs root); HELPER is what it serves by
differential HELPER="python" CONFIG="~/.portcullis-demo/ssh_config" *ARGS="--sequences 10000":
    tests/differential/sftp.py --ours "ssh -F {{CONFIG}} demo -s sftp" --helper {{HELPER}} {{ARGS}}

# Switch off one guard at a time; its own test must notice
guards *ARGS:
    ./scripts/guards.py {{ARGS}}

# Licences, bans and sources of every dependency (needs cargo-deny)
deny: patch
    cargo deny --all-features check bans licenses sources
