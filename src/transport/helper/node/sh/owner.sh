# The owner of one job: the start, what the job hears, the lease, and the end. It never asks which job it has:
#
#   prepare_job  comes before anything from the gateway does
#   has_stderr   whether the job has two streams
#   run_job      runs it to its end with its ends of the FIFOs in, out and err; its status is the job's

. ./output.sh
. ./settle.sh

own() {
    id=$(id -u)
    entry=$(getent passwd "$id" 2>/dev/null) || while read -r entry; do
        rest=${entry#*:*:}
        [ "${rest%%:*}" = "$id" ] && break
        entry=
    done </etc/passwd
    IFS=:
    set -- $entry
    IFS=$ifs
    user=${1:-$id}
    home=${6:-/}
    shell=${7:-/bin/sh}
    [ -x "$shell" ] || shell=/bin/sh

    wide=-w0
    base64 -w0 </dev/null >/dev/null 2>&1 || wide=
    [ -n "$wide" ] || base64 </dev/null >/dev/null 2>&1 || die "this node has no base64" 71
    dd bs=1 count=1 iflag=fullblock </dev/null >/dev/null 2>&1 || die "this node has too old a dd" 71
    make_directory
    mkfifo mutex credit feed told go in out err || die "no FIFO could be made in $where"
    exec 3<&0 4>&1 5<>feed 6<>told 7<>credit 8<>mutex 9<>go
    true >lease
    true >seen
    given_credit=0
    give_credit "$credit"
    echo >&8
    [ "$role" != both ] || { stty raw -echo -iexten cs8 -parenb || stty raw -echo; } 2>/dev/null

    exec 0</dev/null 1>/dev/null 2>/dev/null

    eval "me=\$\$"
    stat_of "$me"
    set -- $stat
    parent=$2
    tick=2
    [ "$lease" -gt 8 ] || tick=1
    trap "" PIPE
    mouth <&6 &
    feeder=
    if [ "$no_input" != 1 ]; then
        feeder <&5 >in &
        feeder=$!
    fi
    encoder o O <out &
    stdout=$!
    stderr=
    if has_stderr; then
        encoder e E <err &
        stderr=$!
    fi
    watch 4>&- &
    watcher=$!
    stat_of "$watcher"
    set -- $stat
    printf "%s %s %s\n" "$watcher" "${20}" "$(uname -n)" >owner

    named=$where
    case $where in
    *[!A-Za-z0-9/._-]*) named=$(printf "%s" "$where" | od -An -v -tx1 | tr -d "\n" | tr " " "%");;
    esac
    printf "PCL1\n" >&4
    say "H v=1;h=sh;r=0;d=$named;u=$id"

    prepare_job
    [ "$role" != both ] || { { hear <&3; true >bye; } & }
    trap - PIPE
    run_job
    code=$?
    trap "" PIPE
    # the number of a group that is no more may soon be that of another
    for file in pid leader; do
        group=
        { read -r group <$file; } 2>/dev/null
        [ -z "$group" ] || kill -0 "-$group" || rm -f "$file"
    done
    say "X $code"
    wait "$stdout" $stderr
    [ -e bad ] || say Q
    trap "" TERM
    kill -s TERM 0
    leave
    exit 0
}

# its standard output is the standard input of the job
feeder() {
    last=0
    fed=1048576
    told=$fed
    open=1
    while read -r kind number cost data; do
        if [ "$number" -le "$last" ]; then
            [ "$kind" != i ] || rm -f "$data"
            continue
        fi
        last=$number
        case $kind in
        t) [ -z "$open" ] || printf "$data" || open=;;
        i)
            [ -z "$open" ] || cat "$data" || open=
            rm -f "$data"
            ;;
        I) [ -n "$pty" ] || open=;;
        esac
        # nobody reads any more: what comes is taken and thrown away, so that the lane goes on
        [ -n "$open" ] || exec >/dev/null
        fed=$((fed + cost))
        if [ $((fed - told)) -ge 131072 ]; then
            told=$fed
            say "A $number $fed"
        fi
    done
}

# the processes of the job that do not ignore SIGHUP (what was detached on purpose does): into $left
members() {
    left=
    groups=" "
    for file in pid leader; do
        group=
        { read -r group <$file; } 2>/dev/null
        [ -z "$group" ] || groups="$groups$group "
    done
    [ "$groups" != " " ] || return
    set +f
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        stat_of "$pid"
        set -f
        set -- $stat
        set +f
        case $1 in ""|Z|X) continue;; esac
        case $groups in *" $3 "*) ;; *) continue;; esac
        ignored=
        while read -r field ignored; do
            [ "$field" = SigIgn: ] && break
        done 2>/dev/null <"$process/status"
        # SIGHUP is the lowest bit
        case $ignored in *[13579bdf]) ;; *) left="$left $pid";; esac
    done
    set -f
}

# hangs up when the lease lapses, the gateway says so or the owner has gone
watch() {
    quiet=0
    while :; do
        sleep "$tick"
        quiet=$((quiet + tick))
        if [ lease -nt seen ]; then
            true >seen
            quiet=0
        fi
        alive "$me" || break
        set -- $stat
        # the agent's worker, which is the parent, has gone: so has the lane
        [ "$2" = "$parent" ] || break
        [ ! -e bye ] || break
        [ "$quiet" -lt "$lease" ] || break
    done
    if [ -n "$feeder" ] && alive "$feeder"; then
        set -- $stat
        [ "$3" != "$me" ] || kill "$feeder"
    fi
    for signal in HUP TERM KILL; do
        members
        for pid in $left; do
            kill -s "$signal" "$pid"
        done
        for pause in 1 1 1 1; do
            # what is stopped must run to hear of it
            [ "$signal" != HUP ] || for pid in $left; do
                kill -s CONT "$pid"
            done
            members
            [ -n "$left" ] || break 2
            sleep "$pause"
        done
    done
    leave
    kill -s KILL 0
}
