#!/usr/bin/env bash
# Puts the published russh with the patches of patches/russh into .patched/russh, where Cargo.toml takes it from. Does
# nothing when it is there already. docs/decisions/0005 says why there are patches at all.
set -euo pipefail
cd "$(dirname "$0")/.."

crate=russh-0.65.1
# of the published file, as crates.io's index has it: cargo has verified the download, this pins which one it is
sha256=94be3d86c71b9ed220a675c405e35c7a02565a009bf8da2e9cc13a700320a5c5

# up to date is what this very script made of these very patches
stamp=$(sha256sum scripts/patch.sh patches/russh/*.patch)
if [[ -f .patched/stamp && $(<.patched/stamp) == "$stamp" ]]; then exit 0; fi

# `patch` and not `git apply`: that one goes by the work tree around it, where this folder is ignored
./scripts/setup.sh patch

# The file where cargo keeps it, whichever registry or mirror it came from.
published() {
    local file
    for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$crate.crate"; do
        if sha256sum --status --check <<<"$sha256  $file" 2>/dev/null; then echo "$file" && return; fi
    done
    return 1
}

mkdir -p .patched
work=$(mktemp -d .patched/new.XXXXXX)
trap 'rm -rf "$work"' EXIT
if ! file=$(published); then
    # a workspace of its own: the one around it can't be read before this is done. `info` fetches one crate, and `fetch`
    # would fetch all that it depends on.
    echo '[workspace]' >"$work/Cargo.toml"
    (cd "$work" && cargo info --quiet "${crate%-*}@${crate##*-}" >/dev/null)
    if ! file=$(published); then
        echo "patch.sh: cargo has no $crate.crate with the sha256 $sha256" >&2
        exit 1
    fi
fi

# -m: a file that loses its patch has to look new as well, or cargo would not build it again
tar -xzmf "$file" -C "$work"
for patch in patches/russh/*.patch; do
    if ! patch --directory="$work/$crate" --strip=1 --fuzz=0 --silent <"$patch"; then
        echo "patch.sh: $patch does not apply" >&2
        exit 1
    fi
done
# what cargo does for every crate from a registry: its lints are its authors' business
printf '\n[lints.rust]\nwarnings = "allow"\n' >>"$work/$crate/Cargo.toml"
rm -rf .patched/russh .patched/stamp
mv "$work/$crate" .patched/russh
echo "$stamp" >.patched/stamp
