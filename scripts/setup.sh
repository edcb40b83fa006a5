#!/usr/bin/env bash
# setup.sh [PROGRAM...]: installs what the tests drive, on Debian and Ubuntu: OpenSSH's server and clients, the programs
# whose behaviour is compared (tmux, vim, less, rsync, git, Ansible), oathtool for one-time codes, and the shells and interpreters that a node may have, and
# cargo-nextest, which runs the tests, an OpenID provider from npm, and the clients that scripts/clients.sh drives (`clients` names all of
# them); or only the programs that are named, among them shellcheck and ruff, which lint what
# is not Rust, moto_server, which one test starts, ssh-audit, which one test asks, and ocsf,
# the schema that one test checks events with. Does nothing where all of it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

# what .config/nextest.toml was written for. Built without optimization and without its self-update, a minute and a half on
# two cores: it only starts tests
nextest=0.9.143

declare -A package=(
    [sshd]=openssh-server [ssh]=openssh-client [sftp]=openssh-client [scp]=openssh-client [rsync]=rsync [git]=git
    [tmux]=tmux [vim]=vim [less]=less [top]=procps [busybox]=busybox [dash]=dash [sudo]=sudo [python3]=python3
    [postgres]=postgresql [asciinema]=asciinema [rsyslogd]="rsyslog rsyslog-openssl" [perl]=perl [curl]=curl [ansible-playbook]=ansible-core [patch]=patch [plink]=putty-tools [oathtool]=oathtool [cc]="gcc libc6-dev" [objcopy]=binutils [ip]=iproute2 [cargo-nextest]="" [oidc-provider]="nodejs npm"
    [dbclient]=dropbear-bin [lftp]=lftp [rclone]=rclone [sshfs]="sshfs fuse3" [unison]=unison [restic]=restic [sshuttle]=sshuttle [iptables]=iptables
    [go]="golang-go golang-golang-x-crypto-dev golang-github-pkg-sftp-dev" [javac]="default-jdk-headless libjsch-java libtrilead-ssh2-java libjenkins-trilead-ssh2-java libganymed-ssh2-java libpostgresql-jdbc-java"
    [client-libraries]="python3-venv nodejs npm"
)
# what the clients that scripts/clients.sh drives are made of and driven with
clients=(ssh sftp scp plink dbclient curl rsync git unison lftp rclone sshfs restic sshuttle iptables ip ansible-playbook python3 oathtool postgres go javac client-libraries)

is_there() {
    # cargo finds it in its own folder of programs, which need not be in PATH
    if [[ $1 == cargo-nextest ]]; then cargo nextest --version >/dev/null 2>&1; return; fi
    # Debian has none; what is there is the version that is pinned, or it is not there
    if [[ $1 == ruff ]]; then cmp -s scripts/ruff.txt target/ruff/installed; return; fi
    if [[ $1 == moto_server ]]; then cmp -s scripts/moto.txt target/moto/installed; return; fi
    if [[ $1 == ssh-audit ]]; then cmp -s scripts/ssh-audit.txt target/ssh-audit/installed; return; fi
    if [[ $1 == ocsf ]]; then cmp -s scripts/ocsf.txt target/ocsf/installed; return; fi
    if [[ $1 == oidc-provider ]]; then cmp -s tests/oidc/package-lock.json target/oidc/installed && command -v node >/dev/null; return; fi
    if [[ $1 == client-libraries ]]; then cmp -s <(cat scripts/clients.txt tests/clients/package-lock.json) target/clients/installed && command -v node >/dev/null; return; fi
    # with the libraries that are driven
    if [[ $1 == go ]]; then command -v go >/dev/null && [[ -d /usr/share/gocode/src/golang.org/x/crypto/ssh && -d /usr/share/gocode/src/github.com/pkg/sftp ]]; return; fi
    if [[ $1 == javac ]]; then command -v javac >/dev/null && ls /usr/share/java/{jsch,trilead-ssh2,jenkins-trilead-ssh2,ganymed-ssh2,postgresql}.jar >/dev/null 2>&1; return; fi
    # Debian has it beside the PATH, by its version
    if [[ $1 == postgres ]]; then compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; return; fi
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || return 1
    # Debian has compilers without the C library's headers
    [[ $1 != cc ]] || cc -E -include stdio.h -xc /dev/null >/dev/null 2>&1
}

# tests that are run side by side may each be the first to want something
mkdir -p target
exec 9>target/setup.lock
flock 9

(($#)) || set -- "${!package[@]}"
[[ $* != clients ]] || set -- "${clients[@]}"
# only for whoever names them
package+=([shellcheck]=shellcheck [ruff]=python3-venv [moto_server]=python3-venv [ocsf]=python3-venv [ssh-audit]=python3-venv)
missing=() build_nextest='' fetch_ruff='' fetch_moto='' fetch_ocsf='' fetch_audit='' fetch_oidc='' fetch_clients=''
for program in "$@"; do
    is_there "$program" && continue
    [[ $program != cargo-nextest ]] || build_nextest=1
    [[ $program != ruff ]] || fetch_ruff=1
    [[ $program != moto_server ]] || fetch_moto=1
    [[ $program != ocsf ]] || fetch_ocsf=1
    [[ $program != ssh-audit ]] || fetch_audit=1
    if [[ $program == oidc-provider || $program == client-libraries ]]; then
        if [[ $program == oidc-provider ]]; then fetch_oidc=1; else fetch_clients=1; fi
        # not every machine has them from Debian
        if command -v node >/dev/null && command -v npm >/dev/null; then continue; fi
    fi
    # some programs take two packages
    read -ra missing <<<"${missing[*]} ${package[$program]}"
done

install_packages() {
    echo "installing: $*" >&2
    local root=()
    if ((EUID != 0)); then
        root=(sudo)
        command -v sudo >/dev/null || { echo "run this as root, or install: $*" >&2; exit 1; }
    fi
    export DEBIAN_FRONTEND=noninteractive
    # a server that starts by itself is nobody's wish here: the tests start their own
    local policy=/usr/sbin/policy-rc.d made=''
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
        made=1
    fi
    local failed=0
    { "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -qq -y --no-install-recommends "$@" >/dev/null; } || failed=$?
    [[ -z $made ]] || "${root[@]}" rm -f "$policy"
    return "$failed"
}

if ((${#missing[@]})); then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    install_packages "${missing[@]}"
fi
if [[ -n $build_nextest ]]; then
    echo "installing: cargo-nextest $nextest (a few minutes)" >&2
    CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-nextest --locked --version "$nextest" --quiet --debug \
        --no-default-features --features default-no-update
fi
# fetch NAME: programs from PyPI as pinned in scripts/NAME.txt, into target/NAME
fetch() {
    echo "installing: $1 into target/$1" >&2
    rm -rf "target/$1"
    python3 -m venv "target/$1"
    "target/$1/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "scripts/$1.txt"
    cp "scripts/$1.txt" "target/$1/installed"
}
[[ -z $fetch_ruff ]] || fetch ruff
[[ -z $fetch_moto ]] || fetch moto
[[ -z $fetch_ocsf ]] || fetch ocsf
[[ -z $fetch_audit ]] || fetch ssh-audit
# the provider from npm as pinned in tests/oidc, into target/oidc; no script of a package is run
if [[ -n $fetch_oidc ]]; then
    echo "installing: oidc-provider into target/oidc" >&2
    rm -rf target/oidc
    mkdir -p target/oidc
    cp tests/oidc/package.json tests/oidc/package-lock.json target/oidc/
    npm ci --prefix target/oidc --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    cp tests/oidc/package-lock.json target/oidc/installed
fi
# libraries from PyPI and npm, one beside the other; what of them is compiled here is made anew where it is missing
if [[ -n $fetch_clients ]]; then
    fetch clients
    cp tests/clients/package.json tests/clients/package-lock.json target/clients/
    npm ci --prefix target/clients --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error >/dev/null
    cat scripts/clients.txt tests/clients/package-lock.json >target/clients/installed
fi
