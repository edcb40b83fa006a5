#!/usr/bin/env bash
# setup.sh [PROGRAM...]: installs what the tests drive, on Debian and Ubuntu: OpenSSH's server and clients, the programs
# whose behaviour is compared (tmux, vim, less, rsync, git), and the shells and interpreters that a node may have; or only
# the programs that are named. Does nothing where all of it is there already.
set -euo pipefail

declare -A package=(
    [sshd]=openssh-server [ssh]=openssh-client [sftp]=openssh-client [scp]=openssh-client [rsync]=rsync [git]=git
    [tmux]=tmux [vim]=vim [less]=less [top]=procps [busybox]=busybox [dash]=dash [sudo]=sudo [python3]=python3
    [perl]=perl [plink]=putty-tools [cc]="gcc libc6-dev" [ip]=iproute2
)

is_there() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || return 1
    # Debian has compilers without the C library's headers
    [[ $1 != cc ]] || cc -E -include stdio.h -xc /dev/null >/dev/null 2>&1
}

(($#)) || set -- "${!package[@]}"
missing=()
for program in "$@"; do
    # some programs take two packages
    is_there "$program" || read -ra missing <<<"${missing[*]} ${package[$program]}"
done
((${#missing[@]})) || exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "installing: ${missing[*]}" >&2
root=()
if ((EUID != 0)); then
    root=(sudo)
    command -v sudo >/dev/null || { echo "run this as root, or install: ${missing[*]}" >&2; exit 1; }
fi
export DEBIAN_FRONTEND=noninteractive
# a server that starts by itself is nobody's wish here: the tests start their own
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
    trap '"${root[@]}" rm -f "$policy"' EXIT
fi
"${root[@]}" apt-get update -qq
"${root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
