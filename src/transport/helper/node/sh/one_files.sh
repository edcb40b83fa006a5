# The one lane of a file service, both in and out.
. ./common.sh
. ./main.sh
. ./owner.sh
. ./reader.sh
. ./files.sh
begin "$@"
[ -n "$job" ] || die "the sh helper can not go on with another lane" 71
start_owner
