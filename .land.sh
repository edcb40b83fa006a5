#!/bin/bash
# lands the branch
set -e
cd /work/wt/app
git rebase -q main
CARGO_TARGET_DIR=/work/wt/target-app CARGO_INCREMENTAL=1 nice -n 5 cargo check -q --tests 2>&1 | grep -E "^error" -A7 && exit 1
git -C /work/main merge -q --ff-only app && git log --oneline -1
