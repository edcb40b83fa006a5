# The out lane of a relay, which sh does not have.
. ./common.sh
. ./main.sh
. ./no_relay.sh
begin "$@"
decline
