# What every lane of the node's helper for sh needs (dash, bash, busybox, with coreutils or busybox). It is sent along in
# the session document, never installed.
#
#   out lane <- lock <- encoders <- job <- feeder <- files and FIFO <- reader <- in lane (a raw terminal)
#              <- mouth  <- - - - - - - - - - - - - - - - - - - - - - - reader
#
# The lane process that starts it is the owner: it runs the job (a command, or the file service) in a session of its own
# and everything else in the background, in its own process group. A pure shell can neither keep what the gateway has not
# acknowledged nor take a second out lane, so it is not resumable and says so (r=0 in its hello): a lost out lane is a
# hang-up.
#
# Towards the gateway a record is a line; data is in Base64. From the gateway a record is a line as well; longer data
# follows it as it is, closed by a newline (codec/lines.rs has them all).
#
#   out_command, out_files, out_relay, in_lane, one_command, one_files, one_relay
#                                   a program each: which lane it is, and what it needs
#     main      options, user                       attach   a lane that joins an owner
#     owner     the start, the lease, the end       output   what an owner says
#     reader    the in lane                         settle   an owner's directory
#     command   a command line or a shell           files    the file service
#       terminal                                      answers, attributes, handles
#     no_relay  that there is none
#
# The gateway joins the files that a program names to one text (program.rs says how). All variables are everybody's: what
# a function gives back is in one that is named for it. Nobody waits for a lane in open(): a FIFO is opened for both
# directions, or its other end is started beside it.
set -f
unset ENV CDPATH
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin}
LC_ALL=C
export PATH LC_ALL

die() {
    printf "portcullis: %s\n" "$1" >&2
    exit "${2:-70}"
}

# undoes the percent-encoding of an option, $1: into $decoded
decode() {
    decoded=$1
    case $decoded in *%*) ;; *) return;; esac
    decoded=
    encoded=$1
    while :; do
        case $encoded in *%*) ;; *) break;; esac
        decoded=$decoded${encoded%%"%"*}
        encoded=${encoded#*"%"}
        after=${encoded#??}
        byte=$((0x${encoded%"$after"}))
        encoded=$after
        decoded=$decoded\\$((byte / 64))$((byte / 8 % 8))$((byte % 8))
    done
    # the dot keeps the newlines at the end
    decoded=$(printf "$decoded$encoded.")
    decoded=${decoded%.}
}

# the fields of /proc/$1/stat from the state on: into $stat. The name before them may be any bytes
stat_of() {
    stat=
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null
    stat=${stat##*") "}
}

alive() {
    stat_of "$1"
    case $stat in ""|Z*|X*) return 1;; esac
}

# whether process $1 is the one that started at $2, and not another that got its number
is_still() {
    alive "$1" || return
    set -- "$2" $stat
    [ "${21}" = "$1" ]
}

# exactly $1 bytes
take() {
    dd bs="$1" count=1 iflag=fullblock
}
