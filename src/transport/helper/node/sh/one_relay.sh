# The one lane of a relay, which sh does not have.
. ./common.sh
. ./main.sh
. ./no_relay.sh
begin "$@"
# what the terminal would make of line ends
stty raw -echo 2>/dev/null
decline
