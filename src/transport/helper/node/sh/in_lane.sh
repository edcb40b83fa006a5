# An in lane: it joins an owner, whatever that owner's job is.
. ./common.sh
. ./main.sh
. ./reader.sh
. ./attach.sh
begin "$@"
attach
