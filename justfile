# The commands people and CI run. `just` alone lists them.

_list:
    @just --list --unsorted

# A gateway, a Session Manager and a node on this machine; no AWS account
demo *ARGS:
    cargo run --bin portcullis -- demo {{ARGS}}

# Format, lints, documentation, tests: what CI runs
ci:
    ./.ci/run

# All tests (installs what they need), or those that match
test *ARGS:
    ./scripts/test.sh {{ARGS}}

# The fast loop
check:
    cargo fmt --all
    cargo clippy --workspace --all-targets

# Refresh what is generated from the code
generate:
    PORTCULLIS_UPDATE_SCHEMA=1 cargo test --lib the_schema_in_config_is_fresh

# Licences, bans and sources of every dependency (needs cargo-deny)
deny:
    cargo deny --all-features check bans licenses sources
