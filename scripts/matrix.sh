#!/usr/bin/env bash
# The embedded Session Manager against programs that nobody here wrote: AWS's session-manager-plugin, CLI and agent.
#
#   scripts/matrix.sh [--plugin FILE] [--aws COMMAND] [--agent DIR] [--quick]
#
# Every step says ok, FAILED or SKIPPED; the exit code is 0 only when nothing failed and nothing had to be skipped (2 when
# something was skipped for want of a program). --quick leaves out the end-to-end tests with AWS's agent.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

plugin='' aws='' agent='' quick=''
while (($#)); do
    case $1 in
        --plugin) plugin=$(realpath "$2"); shift 2 ;;
        --aws) aws=$2; shift 2 ;;
        --agent) agent=$(realpath "$2"); shift 2 ;;
        --quick) quick=1; shift ;;
        *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

./scripts/patch.sh && cargo build --locked --bin portcullis || exit 1
portcullis=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/portcullis

failed=0 skipped=0 passed=0
work=$(mktemp -d)
mkfifo "$work/held"
exec {held}<>"$work/held"
running=()
cleanup() {
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null; done
    # signals do not reach AWS's agent behind unshare: it ends with its standard input
    exec {held}>&-
    for pid in "${running[@]}"; do wait "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap cleanup EXIT

say() { printf '%-9s%s\n' "$1" "$2"; }
skip() { say SKIPPED "$1"; skipped=$((skipped + 1)); }
# check NAME COMMAND…: the command must end with 0 within two minutes
check() {
    local name=$1
    shift
    if timeout 120 "$@" >"$work/out" 2>&1; then
        say ok "$name"
        passed=$((passed + 1))
    else
        say FAILED "$name (exit $?)"
        sed 's/^/         | /' "$work/out" | tail -n 20
        failed=$((failed + 1))
    fi
}

# until_ready PID FILE: waits for the line that starts with ready
until_ready() {
    for _ in $(seq 600); do
        grep -q '^ready' "$2" && return 0
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    echo "not ready:" && cat "$2" "$2.err"
    return 1
}

# a server of the node's machine, for the ports, and a real sshd; both are held at once, so that they are two
read -r port sshd_port < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))')
mkdir "$work/www"
head -c 300000 /dev/urandom >"$work/www/noise"
python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$port" >/dev/null 2>&1 &
running+=($!)

ssh-keygen -q -t ed25519 -N '' -f "$work/host" && ssh-keygen -q -t ed25519 -N '' -f "$work/user"
mkdir -p /run/sshd 2>/dev/null
printf '%s\n' "Port $sshd_port" 'ListenAddress 127.0.0.1' "HostKey $work/host" "AuthorizedKeysFile $work/user.pub" \
    'StrictModes no' 'UsePAM no' 'PidFile none' >"$work/sshd_config"
/usr/sbin/sshd -D -f "$work/sshd_config" 2>"$work/sshd.log" &
running+=($!)

# listening PORT…: waits for them; who connects before is refused, which looks like a fault of what is tried
listening() {
    local port
    for port in "$@"; do
        for _ in $(seq 300); do
            (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue 2
            sleep 0.1
        done
        echo "nothing listens on $port" >&2
        exit 1
    done
}
listening "$port" "$sshd_port"

node=mi-0fedcba9876543210

# service NAME ARGUMENTS…: an emulator, and the environment that AWS's programs need for it
service() {
    local dir=$work/$1
    shift
    mkdir -p "$dir"
    "$portcullis" emulator --listen 127.0.0.1:0 --tls-ca-out "$dir/ca.pem" --keys-out "$dir/keys" "$@" \
        >"$dir/out" 2>"$dir/out.err" &
    running+=($!)
    until_ready $! "$dir/out" || exit 1
    endpoint=$(sed -n 's/^ready: .*\(https:[^ ]*\) in .*/\1/p' "$dir/out")
    export AWS_SHARED_CREDENTIALS_FILE=$dir/keys AWS_CONFIG_FILE=$dir/none AWS_CA_BUNDLE=$dir/ca.pem SSL_CERT_FILE=$dir/ca.pem
    export AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER=
    cli=("$aws" --endpoint-url "$endpoint")
}

api() {
    check "CLI: sts get-caller-identity" "${cli[@]}" sts get-caller-identity
    # shellcheck disable=SC2016  # for the shell that runs it
    check "CLI: describe-instance-information names the node" \
        bash -c '"$@" | grep -q "$0"' "$node" "${cli[@]}" ssm describe-instance-information
    check "CLI: get-connection-status is connected" \
        bash -c '"$@" | grep -q connected' - "${cli[@]}" ssm get-connection-status --target "$node"
    check "CLI: get-document of the preferences" "${cli[@]}" ssm get-document --name SSM-SessionManagerRunShell
    "$portcullis" documents --print | python3 -c 'import json, sys; json.dump(json.load(sys.stdin)["Portcullis-OutLane"], open(sys.argv[1], "w"))' "$work/lane.json"
    check "CLI: create-document of a lane" "${cli[@]}" ssm create-document --document-type Session \
        --name Portcullis-Matrix --content "file://$work/lane.json"
    check "CLI: start, describe, resume and terminate a session" scripts/matrix_session.sh "$node" "${cli[@]}"
    check "CLI: an unknown node is TargetNotConnected" \
        bash -c '"$@" 2>&1 | grep -q TargetNotConnected' - "${cli[@]}" ssm start-session --target mi-00000000000000000
    check "CLI: a wrong key is refused" bash -c 'AWS_SECRET_ACCESS_KEY=wrong AWS_ACCESS_KEY_ID=AKIAWRONGWRONGWRONG1 "$@" 2>&1 |
        grep -qE "InvalidClientTokenId|UnrecognizedClientException|InvalidSignature|IncompleteSignature"' - "${cli[@]}" ssm describe-sessions --state Active
}

through_plugin() {
    export PATH
    PATH=$(dirname "$plugin"):$PATH
    local start=("${cli[@]}" ssm start-session --target "$node")
    export START="${start[*]}" PORT=$port SSHD=$sshd_port WORK=$work
    check "plugin: a shell on a terminal" python3 scripts/matrix_shell.py "${start[@]}"
    # the plugin ends when its input does, so that stays open for a while; AWS's agent may run commands without a shell
    check "plugin: an interactive command" bash -c 'sleep 8 | "$@" --document-name AWS-StartInteractiveCommand \
        --parameters "{\"command\":[\"sh -c \\\"expr 40 + 2\\\"\"]}" | grep -q "^42"' - "${start[@]}"
    check "plugin: a command without a terminal" bash -c 'sleep 8 | "$@" --document-name AWS-StartNonInteractiveCommand \
        --parameters "{\"command\":[\"expr 40 + 2\"]}" | grep -q "^42"' - "${start[@]}"
    check "plugin: ssh to a real sshd (AWS-StartSSHSession)" ssh -F none -o IdentitiesOnly=yes -i "$work/user" \
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o "ProxyCommand $START --document-name AWS-StartSSHSession --parameters portNumber=$sshd_port" \
        "$(id -un)@node" true
    check "plugin: port forwarding" scripts/matrix_port.sh AWS-StartPortForwardingSession "portNumber=$port"
    check "plugin: port forwarding to another host" scripts/matrix_port.sh AWS-StartPortForwardingSessionToRemoteHost \
        "host=localhost,portNumber=$port"
}

both() {
    if [[ -z $aws ]]; then
        skip "$1: AWS's CLI (--aws)"
        skip "$1: the plugin needs the CLI as well (--aws)"
    else
        echo "== $1: AWS's CLI"
        api
        if [[ -z $plugin ]]; then
            skip "$1: session-manager-plugin (--plugin)"
        else
            echo "== $1: session-manager-plugin"
            through_plugin
        fi
    fi
}

# behind_aws_agent MODE OPTIONS-OF-REAL-AGENT…
behind_aws_agent() {
    local mode=$1 whose="AWS's agent, $1 mode" place=$work/$1
    shift
    service "$mode" --node "$node=matrix"
    mkdir -p "$place/node" "$place/run"
    key() { sed -n "/^\[agent\]/,\$s/^$1 = //p" "$place/keys"; }
    env -u AWS_CA_BUNDLE PORTCULLIS_ENDPOINT="$endpoint" PORTCULLIS_REGION=us-east-1 PORTCULLIS_NODE_ID=$node \
        PORTCULLIS_NODE_DIR="$place/node" PORTCULLIS_CA_FILE="$place/ca.pem" XDG_RUNTIME_DIR="$place/run" \
        AWS_ACCESS_KEY_ID="$(key aws_access_key_id)" AWS_SECRET_ACCESS_KEY="$(key aws_secret_access_key)" \
        scripts/real-agent.sh "$@" "$agent" <"$work/held" {held}>&- &
    running+=($!)
    if [[ -n $aws ]]; then
        # shellcheck disable=SC2016  # for the shell that runs it
        check "$whose: it registers" bash -c 'for i in $(seq 60); do "$@" | grep -q "\"connected\"" && exit 0; sleep 1; done; exit 1' \
            - "${cli[@]}" ssm get-connection-status --target "$node"
    fi
    both "embedded service, $whose"

    if [[ -z $quick ]]; then
        echo "== the gateway with $whose: the end-to-end tests"
        unset AWS_CA_BUNDLE SSL_CERT_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CONFIG_FILE AWS_REGION AWS_DEFAULT_REGION
        export PORTCULLIS_E2E_NODE_COMMAND="$PWD/scripts/real-agent.sh $* $agent"
        # As ssm-user only what needs no file of whoever runs the tests. Left out: where the demo is killed, everything that runs
        # under real-agent.sh is killed with it, and the helper, which that test is about, can't clean up.
        local tests=(faults:: tunnels::)
        [[ $mode != container ]] || tests+=(exec:: shell:: screens:: login:: transfer:: limits:: endurance:: --skip after_the_gateways_sudden_death)
        if cargo test --locked --features testing --test e2e -- --test-threads 2 --include-ignored "${tests[@]}"; then
            say ok "the end-to-end tests with $whose"
            passed=$((passed + 1))
        else
            say FAILED "the end-to-end tests with $whose"
            failed=$((failed + 1))
        fi
    fi
}

service embedded --with-node matrix --node-dir "$work/node"
both "embedded service, embedded agent"

if [[ -z $agent ]]; then
    skip "AWS's agent with the embedded service (--agent)"
    skip "the gateway with AWS's agent (--agent)"
else
    # in container mode, and as on an instance: other users, a shell between
    behind_aws_agent container
    behind_aws_agent instance --instance
fi

echo "$passed ok, $failed failed, $skipped skipped"
((failed == 0)) || exit 1
((skipped == 0)) || { echo "not everything was tried: see SKIPPED above" >&2; exit 2; }
