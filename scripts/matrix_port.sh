#!/usr/bin/env bash
# matrix_port.sh DOCUMENT PARAMETERS: forwards a local port with $START and fetches $WORK/www/noise through it.
set -euo pipefail
local_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# what the run before said is no word of this one
: >"$WORK/port.log"
# shellcheck disable=SC2086  # $START is a command and its arguments
setsid $START --document-name "$1" --parameters "$2,localPortNumber=$local_port" >"$WORK/port.log" 2>&1 </dev/null &
trap 'kill -- -$! 2>/dev/null || true' EXIT
# on a busy machine the CLI alone takes half a minute; who connects before the plugin listens is refused
for _ in $(seq 300); do
    grep -q "Waiting for connections" "$WORK/port.log" && break
    sleep 0.2
done
grep -q "Waiting for connections" "$WORK/port.log" || { cat "$WORK/port.log"; exit 1; }
for _ in 1 2 3; do
    curl -sS --max-time 60 "http://127.0.0.1:$local_port/noise" | cmp - "$WORK/www/noise"
done
