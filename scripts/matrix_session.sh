#!/usr/bin/env bash
# matrix_session.sh NODE CLI…: a session's life through the API alone. A stand-in takes the plugin's place, because the
# CLI starts no session without one; it prints what the service answered.
set -euo pipefail
node=$1
shift
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# shellcheck disable=SC2016  # for the program that it writes
printf '#!/bin/sh\n[ "$#" -gt 1 ] || { echo 1.2.764.0; exit; }\nprintenv "${1:-}" 2>/dev/null || printf "%%s" "$1"\n' >"$place/session-manager-plugin"
chmod +x "$place/session-manager-plugin"
answer=$(PATH=$place:$PATH "$@" ssm start-session --target "$node" --reason matrix)
id=$(grep -o '"SessionId": *"[^"]*"' <<<"$answer" | cut -d'"' -f4)
[[ -n $id ]]
# the CLI ends the session itself when its plugin is gone; a history entry stays
"$@" ssm describe-sessions --state History --filters "key=SessionId,value=$id" | grep -q '"Reason": "matrix"' ||
    "$@" ssm describe-sessions --state Active --filters "key=SessionId,value=$id" | grep -q '"Reason": "matrix"'
"$@" ssm terminate-session --session-id "$id" | grep -q "$id"
