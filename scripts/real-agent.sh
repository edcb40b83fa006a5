#!/usr/bin/env bash
# Runs AWS's own agent as the demo's node:
#
#   portcullis demo --node-command 'scripts/real-agent.sh [--instance] /path/to/agent'
#
# In the agent's container mode: sessions are root's, and commands on a terminal are run without a shell. With --instance as on
# an instance: sessions are ssm-user's, whom the agent makes, with a shell between.
#
# The directory holds amazon-ssm-agent, ssm-agent-worker and ssm-session-worker. It must be run as root: the agent insists
# on files of root's, and gets private mounts, so that it touches nothing of /var, and a private set of process numbers, so
# that its workers, which outlive it on purpose, end with this script.
set -euo pipefail

container_mode=true
[[ ${1:-} != --instance ]] || { container_mode=false; shift; }
binaries=${1:?usage: real-agent.sh [--instance] DIRECTORY-OF-THE-AGENT}
: "${PORTCULLIS_ENDPOINT:?is set by portcullis demo --node-command}"
((EUID == 0)) || { echo "AWS's agent must be run as root" >&2; exit 1; }

home=$PORTCULLIS_NODE_DIR/agent
rm -rf "$home"
mkdir -p "$home/configuration"
cp "$binaries"/{amazon-ssm-agent,ssm-agent-worker,ssm-session-worker,ssm-document-worker,ssm-session-logger} "$home/" 2>/dev/null ||
    cp "$binaries"/{amazon-ssm-agent,ssm-agent-worker,ssm-session-worker} "$home/"
chown -R root:root "$home"
chmod 755 "$home" "$home"/* "$home/configuration"

cat >"$home/configuration/amazon-ssm-agent.json" <<JSON
{
  "Mgs": { "Region": "$PORTCULLIS_REGION", "Endpoint": "$PORTCULLIS_ENDPOINT", "SessionWorkersLimit": 1000 },
  "Ssm": { "Endpoint": "$PORTCULLIS_ENDPOINT" },
  "Mds": { "Endpoint": "$PORTCULLIS_ENDPOINT" },
  "Agent": { "Region": "$PORTCULLIS_REGION", "ContainerMode": $container_mode },
  "Profile": { "ShareCreds": false },
  "Identity": {
    "ConsumptionOrder": ["CustomIdentity"],
    "CustomIdentities": [{ "InstanceID": "$PORTCULLIS_NODE_ID", "Region": "$PORTCULLIS_REGION" }]
  }
}
JSON

export SSL_CERT_FILE=$PORTCULLIS_CA_FILE AWS_EC2_METADATA_DISABLED=true
# shellcheck disable=SC2016 # the inner shell expands
exec unshare --mount --pid --fork --kill-child --mount-proc bash -c '
    set -e
    for place in /var/lib/amazon /var/log/amazon /etc/amazon; do
        mkdir -p "$place"
        mount -t tmpfs -o mode=755 tmpfs "$place"
    done
    if [[ $2 == false ]]; then
        # a user is made in files that are ours alone, and owns nothing that is there already
        layers=$1/layers
        mkdir -p "$layers"
        mount -t tmpfs -o mode=755 tmpfs "$layers"
        for place in etc home; do
            mkdir "$layers/$place" "$layers/$place.work"
            mount -t overlay -o "lowerdir=/$place,upperdir=$layers/$place,workdir=$layers/$place.work" overlay "/$place"
        done
        mkdir -p /etc/sudoers.d
        unset XDG_RUNTIME_DIR
    fi
    cd "$1"
    # as the first process here it must pass the signal on, and reap what the workers leave
    ./amazon-ssm-agent >"$1/agent.log" 2>&1 </dev/null &
    agent=$!
    # the demo holds our standard input: when it is gone, however it went, so are we
    exec 3<&0
    (cat <&3 >/dev/null; kill -TERM "$agent") &
    trap "kill -TERM $agent" TERM INT
    while kill -0 "$agent" 2>/dev/null; do wait || true; done
' bash "$home" "$container_mode"
