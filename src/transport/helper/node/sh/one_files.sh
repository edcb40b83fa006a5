# The one lane of a file service, both in and out.
. ./common.sh
. ./main.sh
. ./owner.sh
. ./reader.sh
. ./files.sh
begin "$@"
start_owner
