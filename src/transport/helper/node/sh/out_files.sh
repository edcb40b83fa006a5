# The out lane of a file service. It can't be taken over: there is only the one that starts the owner.
. ./common.sh
. ./main.sh
. ./owner.sh
. ./files.sh
begin "$@"
[ -n "$job" ] || die "the sh helper can not go on with another out lane" 71
start_owner
