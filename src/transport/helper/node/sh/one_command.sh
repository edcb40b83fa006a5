# The one lane of a command, both in and out.
. ./common.sh
. ./main.sh
. ./owner.sh
. ./reader.sh
. ./command.sh
begin "$@"
start_owner
