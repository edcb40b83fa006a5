# The Portcullis node helper for sh (dash, bash, busybox) and coreutils or busybox. It is sent along in the session
# document, never installed.
#
#   out lane <- lock <- encoders <- command <- feeder <- files and FIFO <- reader <- in lane (a raw terminal)
#              <- mouth  <- - - - - - - - - - - - - - - - - - - - - - - - reader
#
# The lane process that starts it is the owner: it runs the command in a session of its own and everything else in the
# background, in its own process group. A pure shell can neither keep what the gateway has not acknowledged nor take a
# second out lane, so it is not resumable and says so (r=0 in its hello): when the out lane is lost, the command is hung up.
#
# Towards the gateway a record is a line; data is in Base64. From the gateway a record is a line as well; longer data
# follows it as it is, closed by a newline. A FIFO that holds one newline is the lock under which a line is written, and
# one that holds a newline for each 48 KiB is the credit. Nothing here waits for a lane in open(): a FIFO is opened for
# both directions, or its other end is started beside it.
# This text is quoted with apostrophes in the document, so it has none, and no double braces or double dollars.
set -f
unset ENV CDPATH
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin}
LC_ALL=C
export PATH LC_ALL

die() {
    printf "portcullis: %s\n" "$1" >&2
    exit "${2:-70}"
}

# undoes the percent-encoding of an option: $1 into $v
dec() {
    v=$1
    y=
    case $v in *%*) ;; *) return;; esac
    while :; do
        case $v in *%*) ;; *) break;; esac
        y=$y${v%%"%"*}
        v=${v#*"%"}
        s=${v#??}
        n=$((0x${v%"$s"}))
        v=$s
        y=$y\\$((n / 64))$((n / 8 % 8))$((n % 8))
    done
    v=$(printf "$y$v.")
    v=${v%.}
}

# $1 as one word for another shell: into $v
quote() {
    v=
    s=$1
    while :; do
        case $s in *"$q"*) ;; *) break;; esac
        v=$v${s%%"$q"*}$q\\$q$q
        s=${s#*"$q"}
    done
    v=$q$v$s$q
}

# the fields of /proc/$1/stat from the state on: into $v
stat_of() {
    v=
    { read -r v <"/proc/$1/stat"; } 2>/dev/null
    v=${v##*") "}
}

alive() {
    stat_of "$1"
    case $v in ""|Z*|X*) return 1;; esac
}

# --- the owner: what it says

say() {
    read -r z <&8
    printf "%s\n" "$1" >&4 || true >bye
    echo >&8
}

# one read, one line, so that nothing is held back; empty means the end, and only if dd itself says so
encoder() {
    total=0
    room=0
    while :; do
        if [ "$room" -lt 4096 ]; then
            read -r z <&7
            room=$((room + 49152))
        fi
        most=$room
        [ "$most" -le 49152 ] || most=49152
        b=$({ dd bs="$most" count=1 2>/dev/null || true >bad; } | base64 $wide) || true >bad
        if [ -e bad ]; then
            say "F a program that the helper needs failed while it read the output; memory or processes may have run out"
            return
        fi
        [ -n "$b" ] || break
        [ -n "$wide" ] || b=$(printf "%s" $b)
        n=$((${#b} / 4 * 3))
        case $b in *==) n=$((n - 2));; *=) n=$((n - 1));; esac
        total=$((total + n))
        room=$((room - n))
        say "$1 $b"
    done
    say "$2 $total"
}

# says for others what they may not wait for, and turns the credit given into newlines
mouth() {
    while read -r k a b c; do
        if [ "$k" = S ]; then
            while [ $(((given + 1) * 49152)) -le "$c" ]; do
                given=$((given + 1))
                echo >&7
            done
            say "P $a $b"
        else
            say "$k $a $b $c"
        fi
    done
}

# --- the owner: what it hears

# its standard output is the standard input of the command
feeder() {
    last=0
    fed=1048576
    told=$fed
    open=1
    while read -r k n c a; do
        if [ "$n" -le "$last" ]; then
            [ "$k" != i ] || rm -f "$a"
            continue
        fi
        last=$n
        case $k in
        t) [ -z "$open" ] || printf "$a" || open=;;
        i)
            [ -z "$open" ] || cat "$a" || open=
            rm -f "$a"
            ;;
        I) [ -n "$pty" ] || open=;;
        esac
        # nobody reads any more: what comes is taken and thrown away, so that the lane goes on
        [ -n "$open" ] || exec >/dev/null
        fed=$((fed + c))
        if [ $((fed - told)) -ge 131072 ]; then
            told=$fed
            say "A $n $fed"
        fi
    done
}

fault() {
    printf "F %s\n" "$1" >&6
}

# reads the in lane; never waits for the command
reader() {
    got=
    { read -r got <got; } 2>/dev/null
    printf "R %s\n" "${got:=0}" >&6
    # a lane that was killed may have handed on a record and not noted it; what the feeder has seen it does not take again
    first=1
    while read -r k n a b c d; do
        case $n in ""|*[!0-9]*) fault "a malformed record came from the gateway"; return;; esac
        if [ "$k" = S ]; then
            true >lease
            printf "S %s %s %s\n" "$n" "$got" "$b" >&6
            continue
        fi
        new=
        if [ "$n" -gt "$got" ]; then
            new=1
            { [ -n "$first" ] || [ "$n" -eq $((got + 1)) ]; } || { fault "records from the gateway are missing"; return; }
            first=
        fi
        case $k in
        i|c)
            to=/dev/null
            # another lane may have handed on the same record under its own name
            [ -z "$new" ] || to=q.$n.$me
            if [ "$b" -gt 0 ]; then
                take "$b" >"$to" || { fault "input could not be stored on the node; its disk may be full"; return; }
            fi
            z=-
            read -r z || return
            [ -z "$z" ] || { fault "a malformed record came from the gateway"; return; }
            [ -z "$new" ] || stored "$k" "$n" "$a" "$b" "$to"
            ;;
        t|I) [ -z "$new" ] || printf "%s %s %s %s\n" "$k" "$n" "$a" "$b" >&5;;
        W)
            printf "%s %s\n" "$a" "$b" >size
            t=
            { read -r t <tty; } 2>/dev/null
            [ -z "$t" ] || stty cols "$a" rows "$b" <"$t"
            ;;
        K) [ -z "$new" ] || send_signal "$a";;
        B)
            true >bye
            p=
            { read -r p <pid; } 2>/dev/null
            [ -z "$p" ] || kill -s HUP -- "-$p"
            ;;
        *) fault "an unknown record came from the gateway"; return;;
        esac
        if [ -n "$new" ]; then
            got=$n
            printf "%s\n" "$got" >got
        fi
    done
}

# from a terminal bash reads more than the line that it was asked for
hear() {
    if [ -n "${BASH_VERSION:-}" ]; then
        cat | reader
    else
        reader
    fi
}

# exactly $1 bytes
take() {
    if [ -n "$full" ]; then
        dd bs="$1" count=1 iflag=fullblock
    else
        dd bs=1 count="$1"
    fi
}

stored() {
    if [ "$1" = i ]; then
        printf "i %s %s %s\n" "$2" "$3" "$5" >&5
        return
    fi
    if [ "$4" -gt 0 ]; then
        cat "$5" >>line
        rm -f "$5"
        return
    fi
    read -r want <want
    have=$(sha256sum <line)
    if [ "${have%% *}" = "$want" ]; then
        echo >go
    else
        fault "the command that came over the lane is not the one that was announced"
    fi
}

send_signal() {
    case $1 in ""|*[!A-Z0-9]*) return;; esac
    p=
    if [ -e leader ]; then
        # a terminal: its foreground group
        { read -r p <leader; } 2>/dev/null
        stat_of "$p"
        set -- "$1" $v
        p=$7
    else
        { read -r p <pid; } 2>/dev/null
    fi
    case $p in ""|0|-*) return;; esac
    kill -s "$1" -- "-$p"
}

# --- the owner: the end

# the processes of the command that do not ignore SIGHUP (what was detached on purpose does): into $left
members() {
    left=
    groups=" "
    for f in pid leader; do
        p=
        { read -r p <$f; } 2>/dev/null
        [ -z "$p" ] || groups="$groups$p "
    done
    [ "$groups" != " " ] || return
    set +f
    for f in /proc/[0-9]*; do
        p=${f#/proc/}
        stat_of "$p"
        set -f
        set -- $v
        set +f
        case $1 in ""|Z|X) continue;; esac
        case $groups in *" $3 "*) ;; *) continue;; esac
        b=
        while read -r a b; do
            [ "$a" = SigIgn: ] && break
        done 2>/dev/null <"$f/status"
        case $b in *[13579bdf]) ;; *) left="$left $p";; esac
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
        set -- $v
        [ "$2" = "$parent" ] || break
        [ ! -e bye ] || break
        [ "$quiet" -lt "$l" ] || break
    done
    [ -z "$feeder" ] || kill "$feeder"
    for s in HUP TERM KILL; do
        members
        for p in $left; do
            kill -s "$s" "$p"
        done
        for t in 1 1 1 1; do
            [ "$s" != HUP ] || for p in $left; do
                kill -s CONT "$p"
            done
            members
            [ -n "$left" ] || break 2
            sleep $t
        done
    done
    leave
    kill -s KILL 0
}

leave() {
    p=
    { read -r p <lane; } 2>/dev/null
    [ -z "$p" ] || kill "$p"
    cd /
    # whoever still writes there makes rm fail
    for t in 1 1 1 1; do
        rm -rf "$D"
        [ -e "$D" ] || return
        sleep $t
    done
}

# removes what dead helpers of this user left in $1
sweep() {
    set +f
    for f in "$1"/.portcullis-*; do
        set -f
        { [ -d "$f" ] && [ ! -h "$f" ] && [ -O "$f" ]; } || continue
        if [ -s "$f/owner" ]; then
            read -r p t <"$f/owner"
            if alive "$p"; then
                set -- "$1" $v
                [ "${21}" != "$t" ] || continue
            fi
            rm -rf "$f"
        elif [ -z "$(find "$f" -prune -mmin +1 2>/dev/null)" ]; then
            # a young one may be about to take its lock
            continue
        elif [ -e "$f/lock" ]; then
            # the Python helper holds a lock while it lives
            flock -n "$f/lock" rm -rf "$f" 2>/dev/null
        else
            rm -rf "$f"
        fi
    done
    set -f
}

# --- the owner: the start

make_directory() {
    for base in "${XDG_RUNTIME_DIR:-}" "${HOME:-}" "$home" /tmp; do
        case $base in /*) ;; *) continue;; esac
        if [ "$base" != /tmp ]; then
            { [ -d "$base" ] && [ ! -h "$base" ] && [ -O "$base" ] && [ -w "$base" ] && [ -x "$base" ]; } || continue
        fi
        D=$base/.portcullis-$d
        { [ ! -e "$D" ] && [ ! -h "$D" ]; } || die "$D is there already"
        # a full disk is no reason to fail where another will do
        if mkdir -m 700 "$D" 2>/dev/null; then
            sweep "$base"
            if cd "$D" && { echo x >size; } 2>/dev/null && rm size; then
                return
            fi
            cd /
            rmdir "$D"
        fi
    done
    die "no directory for the helper could be made: the disk may be full"
}

# the terminal modes of RFC 4254, section 8, in the words of stty: into $modes
set_modes() {
    modes=
    IFS=,
    for x in $m; do
        n=${x%%:*}
        x=${x#*:}
        w=
        case $n in
        1) w=intr;; 2) w=quit;; 3) w=erase;; 4) w=kill;; 5) w=eof;; 6) w=eol;; 7) w=eol2;; 8) w=start;; 9) w=stop;;
        10) w=susp;; 12) w=rprnt;; 13) w=werase;; 14) w=lnext;; 16) w=swtch;; 18) w=discard;;
        esac
        if [ -n "$w" ]; then
            if [ "$x" = 0 ] || [ "$x" = 255 ]; then
                x=undef
            elif [ "$x" = 127 ]; then
                x="^?"
            elif [ "$x" -lt 32 ]; then
                x=$((x + 64))
                x=^$(printf "\\$((x / 64))$((x / 8 % 8))$((x % 8))")
            fi
            modes="$modes,$w $x"
            continue
        fi
        case $n in
        30) w=ignpar;; 31) w=parmrk;; 32) w=inpck;; 33) w=istrip;; 34) w=inlcr;; 35) w=igncr;; 36) w=icrnl;; 37) w=iuclc;;
        38) w=ixon;; 39) w=ixany;; 40) w=ixoff;; 41) w=imaxbel;; 42) w=iutf8;; 50) w=isig;; 51) w=icanon;; 52) w=xcase;;
        53) w=echo;; 54) w=echoe;; 55) w=echok;; 56) w=echonl;; 57) w=noflsh;; 58) w=tostop;; 59) w=iexten;; 60) w=echoctl;;
        61) w=echoke;; 70) w=opost;; 71) w=olcuc;; 72) w=onlcr;; 73) w=ocrnl;; 74) w=onocr;; 75) w=onlret;; 92) w=parenb;;
        93) w=parodd;; 90|91) [ "$x" = 0 ] || modes="$modes,cs$((n - 83))";;
        esac
        [ -z "$w" ] || { [ "$x" != 0 ] || w=-$w; modes="$modes,$w"; }
    done
    modes=${modes#,}
    IFS=$ifs
}

# runs the command to its end; the words of its environment and its program are the arguments
run_piped() {
    set -- setsid sh -c "echo \$\$ >pid; cd \"\$0\" 2>/dev/null || cd /; exec env -i \"\$@\"" "$home" "$@"
    if [ "$n_" = 1 ]; then
        "$@" </dev/null >out 2>err 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    else
        "$@" <in >out 2>err 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    fi
}

# inside the new terminal: sane modes, the modes of the client, the size, and only then the command
in_terminal="t=\$(tty); d=\$PWD; { echo \$\$ >leader; stty sane; IFS=\", \"; [ -z \"\$1\" ] || stty \$1 || { IFS=,; for x in \$1; do IFS=\" \"
stty \$x; done; }; IFS=\" \"; echo \"\$t\" >tty; s=\"\$2 \$3\"; stty cols \${s% *} rows \${s#* }; while [ -s size ]; do
read -r x <size; [ \"\$x\" != \"\$s\" ] || break; s=\$x; stty cols \${s% *} rows \${s#* }; done; cd \"\$0\" || cd /
} 2>/dev/null; shift 3; unset IFS; "

run_in_terminal() {
    q=$(printf "\\047")
    set_modes
    IFS=,
    set -- "$home" "$modes" $pty "$@"
    IFS=$ifs
    # what script(1) gets: home, modes, columns, rows, and two pixel sizes that stty can not set
    h=$1 a=$2 b=$3 c=$4
    shift 6
    coded=
    case $(script -V 2>/dev/null) in
    *util-linux*) e=e; in_terminal="${in_terminal}exec env -i SSH_TTY=\"\$t\" \"\$@\"";;
    *) e=; coded=1; in_terminal="${in_terminal}env -i SSH_TTY=\"\$t\" \"\$@\"; echo \"\$?\" >\"\$d/code\"";;
    esac
    line="exec sh -c"
    for x in "$in_terminal" "$h" "$a" "$b" "$c" "$@"; do
        quote "$x"
        line="$line $v"
    done
    SHELL=/bin/sh setsid sh -c "echo \$\$ >pid; exec \"\$@\"" sh script -qf${e}c "$line" /dev/null \
        <in >out 2>/dev/null 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    code=$?
    if [ -n "$coded" ]; then
        code=129
        { read -r code <code; } 2>/dev/null
    fi
    return "$code"
}

own() {
    id=$(id -u)
    entry=$(getent passwd "$id" 2>/dev/null) || while read -r entry; do
        x=${entry#*:*:}
        [ "${x%%:*}" = "$id" ] && break
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
    [ -n "$wide" ] || base64 </dev/null >/dev/null 2>&1 || die "base64 (of coreutils or busybox) is missing on this node" 71
    full=
    ! dd bs=1 count=1 iflag=fullblock </dev/null >/dev/null 2>&1 || full=1
    make_directory
    mkfifo mutex credit feed told go in out err || die "no FIFO could be made in $D"
    exec 3<&0 4>&1 5<>feed 6<>told 7<>credit 8<>mutex 9<>go
    true >lease
    true >seen
    given=0
    while [ $(((given + 1) * 49152)) -le "$c" ]; do
        given=$((given + 1))
        echo
    done >&7
    echo >&8
    [ "$r" != both ] || { stty raw -echo -iexten cs8 -parenb || stty raw -echo; } 2>/dev/null

    exec 0</dev/null 1>/dev/null 2>/dev/null

    eval "me=\$\$"
    stat_of "$me"
    set -- $v
    parent=$2
    tick=2
    [ "$l" -gt 8 ] || tick=1
    trap "" PIPE
    mouth <&6 &
    feeder=
    if [ "$n_" != 1 ]; then
        feeder <&5 >in &
        feeder=$!
    fi
    encoder o O <out &
    stdout=$!
    stderr=
    if [ -z "$pty" ] && [ "$w" != files ]; then
        encoder e E <err &
        stderr=$!
    fi
    watch 4>&- &
    watcher=$!
    stat_of "$watcher"
    set -- "$2" $v
    printf "%s %s\n" "$watcher" "${21}" >owner

    where=$D
    case $D in
    *[!A-Za-z0-9/._-]*) where=$(printf "%s" "$D" | od -An -v -tx1 | tr -d "\n" | tr " " "%");;
    esac
    printf "PCL1\n" >&4
    say "H v=1;h=sh;r=0;d=$where;u=$id"

    line=$given_command
    case $line in
    sha256:*)
        printf "%s\n" "${line#sha256:}" >want
        true >line
        ;;
    esac
    [ "$r" != both ] || { { hear <&3; true >bye; } & }
    case $line in
    sha256:*)
        read -r z <&9
        line=$(cat line; echo .)
        line=${line%.}
        rm line
        ;;
    base64:*)
        line=$(printf "%s" "${line#base64:}" | base64 -d; echo .)
        line=${line%.}
        ;;
    esac
    trap - PIPE
    if [ -n "$pty" ] && ! command -v script >/dev/null; then
        say "F this node has neither python3 nor script(1), one of which a terminal needs; install either (script is in util-linux or bsdutils)"
        exec sleep "$l"
    fi
    if [ "$w" = files ]; then (serve) <in >out; else start; fi
    code=$?
    trap "" PIPE
    say "X $code"
    wait "$stdout" $stderr
    [ -e bad ] || say Q
    trap "" TERM
    kill -s TERM 0
    leave
    exit 0
}

start() {
    set -- USER="$user" LOGNAME="$user" HOME="$home" SHELL="$shell" PATH="$PATH"
    [ -z "${LANG+x}" ] || set -- "$@" LANG="$LANG"
    [ -z "${TZ+x}" ] || set -- "$@" TZ="$TZ"
    [ -z "${XDG_RUNTIME_DIR+x}" ] || set -- "$@" XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR"
    IFS=,
    for x in $e; do
        dec "${x%%:*}"
        s=$v
        y=${x#*:}
        x=$s
        dec "$y"
        set -- "$@" "$x=$v"
    done
    IFS=$ifs
    if [ -n "$pty" ]; then
        dec "${tn:-dumb}"
        set -- "$@" TERM="$v"
    fi
    case $w in
    shell) set -- "$@" "$shell" -l;;
    *) set -- "$@" "$shell" -c "$line";;
    esac
    if [ -n "$pty" ]; then
        run_in_terminal "$@"
    else
        run_piped "$@"
    fi
}

# --- file operations: a request is length, id, operation, arguments; an answer length, id, errno, result

# $1 in octal for printf, as 32 and as 64 bits: into $v
u32() {
    v="\\$(($1 >> 30 & 3))$(($1 >> 27 & 7))$(($1 >> 24 & 7))\\$(($1 >> 22 & 3))$(($1 >> 19 & 7))$(($1 >> 16 & 7))"
    v="$v\\$(($1 >> 14 & 3))$(($1 >> 11 & 7))$(($1 >> 8 & 7))\\$(($1 >> 6 & 3))$(($1 >> 3 & 7))$(($1 & 7))"
}

u64() {
    u32 $(($1 >> 32))
    h=$v
    u32 $(($1 & 4294967295))
    v=$h$v
}

# answers request $id: length of the result, the result as a format, what fills the format
answer() {
    u32 $(($1 + 8))
    f=$v$id\\000\\000\\000\\000$2
    shift 2
    printf "$f" "$@"
}

# an errno from what a program said last, $1
fail() {
    for x in "1 Operation not permitted" "6 No such device or address" "9 Bad file descriptor" \
        "12 Cannot allocate memory" "13 Permission denied" "16 Device or resource busy" "17 File exists" \
        "18 Invalid cross-device link" "20 Not a directory" "21 Is a directory" "21 is a directory" "22 Invalid argument" \
        "24 Too many open files" "26 Text file busy" "27 File too large" "28 No space left on device" \
        "30 Read-only file system" "31 Too many links" "36 File name too long" "39 Directory not empty" \
        "40 Too many levels of symbolic links" "95 Operation not supported" "116 Stale file handle" \
        "122 Disk quota exceeded" "2 No such file or directory" "2 No such file" "2 no such file" "2 nonexistent" \
        "2 nonexistent directory" "17 overwrite existing file" "5 "; do
        case $1 in *"${x#* }") break;; esac
    done
    case ${x%% *} in
    2) x="2 No such file or directory";;
    5) x="5 Input/output error";;
    17) x="17 File exists";;
    21) x="21 Is a directory";;
    esac
    set -- "${x%% *}" "${x#* }"
    u32 "$1"
    x=$v
    u32 $((${#2} + 8))
    printf "$v$id$x%s" "$2"
}

# a program that does all of an operation
run() {
    if x=$("$@" 2>&1 </dev/null); then answer 0 ""; else fail "${x:-failed}"; fi
}

# a path that readlink has said, and a dot
answer_path() {
    set -- "${1%?.}"
    answer ${#1} "%s" "$1"
}

# the bytes of a request, as numbers, by their kinds (u 32 bits, q 64, t text, p path): into $a1, $a2, and so on
arguments() {
    kinds=$1
    shift
    k=0
    while [ -n "$kinds" ]; do
        k=$((k + 1))
        kind=${kinds%"${kinds#?}"}
        if [ "$kind" = q ]; then
            [ $# -ge 8 ] || return
            v=$(($1 << 56 | $2 << 48 | $3 << 40 | $4 << 32 | $5 << 24 | $6 << 16 | $7 << 8 | $8))
            shift 8
        else
            [ $# -ge 4 ] || return
            v=$(($1 << 24 | $2 << 16 | $3 << 8 | $4))
            shift 4
        fi
        if [ "$kind" = p ] || [ "$kind" = t ]; then
            n=$v
            [ $# -ge "$n" ] || return
            v=
            while [ "$n" -gt 0 ]; do
                [ "$1" != 0 ] || return
                v=$v\\$(($1 >> 6))$(($1 >> 3 & 7))$(($1 & 7))
                n=$((n - 1))
                shift
            done
            v=$(printf "$v.")
            v=${v%.}
            case $kind$v in t*|p/*|p) ;; *) v=./$v;; esac
        fi
        eval "a$k=\$v"
        kinds=${kinds#?}
    done
}

numbers() {
    take "$1" 2>/dev/null | od -An -v -tu1
}

exists() {
    [ -e "$1" ] || [ -h "$1" ]
}

serve() {
    exec 3<&- 4>&- 5<&0 6>&- 8>&- 9>&-
    mkfifo done
    exec 7<>done
    cd "$home" 2>/dev/null || cd /
    unset GLOBIGNORE
    nl=$(printf "\\n.")
    nl=${nl%.}
    handles=0
    holders=
    while :; do
        set -- $(numbers 9)
        [ $# = 9 ] || break
        size=$((($1 << 24 | $2 << 16 | $3 << 8 | $4) - 5))
        u32 $(($5 << 24 | $6 << 16 | $7 << 8 | $8))
        id=$v
        op=$9
        case $op in
        1) kinds=puu;; 2) kinds=uqu;; 3) kinds=uq;; 8|22) kinds=puquuuqq;; 9) kinds=uuquuuqq;; 13) kinds=pu;; 16) kinds=ppu;;
        5|6|10|12|14|15|17|21) kinds=p;; 18) kinds=tp;; 19) kinds=pp;; 23) kinds=t;; *) kinds=u;;
        esac
        n=$size
        if [ "$op" = 3 ]; then
            n=12
            size=$((size - 12))
        fi
        set -- $(numbers "$n")
        a1= a2= a3= a4= a5= a6= a7= a8=
        arguments "$kinds" "$@"
        if [ -n "$kinds" ]; then fail "Invalid argument"; else operation; fi
    done
    [ -z "$holders" ] || kill $holders
}

operation() {
    case $op in
    1|10)
        handles=$((handles + 1))
        mkfifo "$D/h.$handles"
        if [ "$op" = 1 ]; then holder <&5 & else lister & fi
        holders="$holders $!"
        read -r x <&7
        [ -z "$x" ] || rm -f "$D/h.$handles"
        ;;
    2|3|4|7|9|11|20|24)
        if [ -p "$D/h.$a1" ]; then
            printf "%s\n" "$op $id $a2 $a3 $a4 $a5 $a6 $a7 $a8 $size" >"$D/h.$a1"
            read -r x <&7
            [ "$op" != 4 ] || rm -f "$D/h.$a1"
        else
            [ "$op" != 3 ] || take "$size" >/dev/null 2>&1
            fail "Invalid argument"
        fi
        ;;
    5) status -L "$a1";;
    6) status "" "$a1";;
    8) change "$a1" "" "$a2" "$a3" "$a4" "$a5" "$a6" "$a7" "$a8";;
    22) change "$a1" -h "$a2" "$a3" "$a4" "$a5" "$a6" "$a7" "$a8";;
    12) run rm "$a1";;
    13)
        octal $((a2 & ~0$(umask)))
        run mkdir -m "$v" "$a1"
        ;;
    14) run rmdir "$a1";;
    15) real_path "$a1";;
    16) rename "$a1" "$a2" "$a3";;
    17)
        if [ -h "$a1" ]; then
            answer_path "$(readlink "$a1"; echo .)"
        elif x=$(stat "$a1" 2>&1); then
            fail "Invalid argument"
        else
            fail "$x"
        fi
        ;;
    18) if exists "$a2"; then fail "File exists"; else run ln -s -- "$a1" "$a2"; fi;;
    19) if exists "$a2"; then fail "File exists"; else run ln "$a1" "$a2"; fi;;
    21) system "$a1";;
    23) expand "$a1";;
    *) fail "Operation not supported";;
    esac
}

# permission bits: into $v
octal() {
    v=$(($1 >> 9 & 7))$(($1 >> 6 & 7))$(($1 >> 3 & 7))$(($1 & 7))
}

# rename(2), which mv is not where there is a directory
rename() {
    if ! x=$(stat "$1" 2>&1); then
        fail "$x"
    elif [ "$3" = 0 ] && exists "$2"; then
        fail "File exists"
    elif [ -d "$2" ] && [ ! -h "$2" ] && { [ ! -d "$1" ] || [ -h "$1" ]; }; then
        fail "Is a directory"
    elif [ -d "$1" ] && [ ! -h "$1" ] && exists "$2" && { [ ! -d "$2" ] || [ -h "$2" ]; }; then
        fail "Not a directory"
    else
        run mv -f -T "$1" "$2"
    fi
}

expand() {
    case $1 in
    "~"*)
        x=${1%%/*}
        y=$home
        if [ "$x" != "~" ]; then
            y=$(getent passwd "${x#?}" 2>/dev/null || grep "^${x#?}:" /etc/passwd)
            y=${y#*:*:*:*:*:}
            y=${y%%:*}
        fi
        if [ -n "$y" ]; then real_path "$y${1#"$x"}"; else fail "No such file"; fi
        ;;
    /*) real_path "$1";;
    *) real_path "./$1";;
    esac
}

# the last component need not exist, the others must
real_path() {
    if x=$(readlink -f "$1" 2>/dev/null && echo .); then
        answer_path "$x"
    elif x=$(stat "${1%/*}/." 2>&1); then
        fail "No such file"
    else
        fail "$x"
    fi
}

# size, owner, group, mode in hexadecimal, times: as the attributes of an answer, into $attributes
attributes() {
    u64 "$1"
    attributes=$v
    for y in "$2" "$3" $((0x$4)); do
        u32 "$y"
        attributes=$attributes$v
    done
    for y in "$5" "$6"; do
        u64 "$y"
        attributes=$attributes$v
    done
}

status() {
    if x=$(stat $1 -c "%s %u %g %f %X %Y" "$2" 2>&1); then
        attributes $x
        answer 36 "$attributes"
    else
        fail "$x"
    fi
}

system() {
    if x=$(stat -f -c "%s %S %b %f %a %c %d %d 0x%i 0 %l" "$1" 2>&1); then
        y=
        for x in $x; do
            u64 "$x"
            y=$y$v
        done
        answer 88 "$y"
    else
        fail "$x"
    fi
}

# mask (1 size, 2 owner, 4 mode, 8 times), size, owner, group, mode, times of $1, or of the link itself if $2 is -h; goes
# on after an error and answers the last one
change() {
    y=
    if [ $(($3 & 1)) != 0 ]; then
        if [ -n "$2" ]; then
            y="Operation not supported"
        elif [ -d "$1" ]; then
            y="Is a directory"
        elif x=$(stat -L "$1" 2>&1); then
            x=$(dd if=/dev/null of="$1" bs=1 seek="$4" count=0 2>&1) || y=${x%%"$nl"*}
        else
            y=$x
        fi
    fi
    if [ $(($3 & 4)) != 0 ]; then
        octal "$7"
        if [ -n "$2" ]; then y="Operation not supported"; else x=$(chmod "$v" "$1" 2>&1) || y=$x; fi
    fi
    if [ $(($3 & 8)) != 0 ]; then
        x=$({ exists "$1" || stat "$1"; } 2>&1 && touch $2 -c -a -d "@$8" "$1" 2>&1 && touch $2 -c -m -d "@$9" "$1" 2>&1) ||
            y=$x
    fi
    if [ $(($3 & 2)) != 0 ]; then
        x=$(chown $2 "$5:$6" "$1" 2>&1) || y=$x
    fi
    if [ -n "$y" ]; then fail "$y"; else answer 0 ""; fi
}

# an open file: a process that has it as descriptor 9, so that its name no longer matters; reads $op and so on from a
# FIFO of its own, answers by itself and says when it has
holder() {
    if ! open_file; then
        fail "${y:-failed}"
        echo failed >&7
        return
    fi
    at=0
    append=$((a2 & 4))
    exec 8<>"$D/h.$handles"
    opened "$(readlink /proc/self/fd/9; echo .)"
    while read -r op id a b c d e f g h <&8; do
        case $op in
        2) read_file "$a" "$b";;
        3) write_file "$a" "$b";;
        4) answer 0 "";;
        7) status -L /proc/self/fd/9;;
        9) change /proc/self/fd/9 "" "$a" "$b" "$c" "$d" "$e" "$f" "$g";;
        20)
            sync /proc/self/fd/9 2>/dev/null || sync
            answer 0 ""
            ;;
        24) system /proc/self/fd/9;;
        *) fail "Invalid argument";;
        esac
        echo >&7
        [ "$op" != 4 ] || return
    done
}

opened() {
    x=${1%?.}
    u32 "$handles"
    y=$v
    u32 ${#x}
    answer $((8 + ${#x})) "$y$v%s" "$x"
    echo >&7
}

# opens $a1 with flags $a2 (1 read, 2 write, 4 append, 8 create, 16 truncate, 32 exclusive) and mode $a3, or says why not
# in $y
open_file() {
    y="Is a directory"
    [ ! -d "$a1" ] || return 1
    fresh=
    exclusive=
    if ! [ -e "$a1" ]; then
        fresh=1
        [ $((a2 & 8)) != 0 ] || { y=$(stat -L "$a1" 2>&1) || return 1; }
    fi
    if [ $((a2 & 40)) = 40 ]; then
        exclusive=1
        y="File exists"
        ! exists "$a1" || return 1
    fi
    how="<>"
    case $((a2 & 7)) in
    4|5|6|7) how=">>";;
    1) [ -p "$a1" ] || [ -n "$fresh" ] || how="<";;
    2) [ -z "$fresh" ] && [ $((a2 & 16)) = 0 ] || how=">";;
    esac
    mask=$(umask)
    if [ "$a3" != 4294967295 ]; then
        octal $((0$mask | (~a3 & 0777)))
        umask "$v"
    fi
    y=
    { [ -z "$exclusive" ] || set -C; } 2>/dev/null
    if [ "$how" != ">" ] && [ $((a2 & 48)) != 0 ] && [ $((a2 & 6)) != 0 ]; then
        { true >"$a1"; } 2>"$D/said" || y=$(cat "$D/said"; echo failed)
        set +C
    fi
    [ -n "$y" ] || { eval "command exec 9$how\"\$a1\""; } 2>"$D/said" || y=$(cat "$D/said"; echo failed)
    set +C
    umask "$mask"
    y=${y%"$nl"failed}
    [ -z "$y" ] || return 1
    if [ -n "$fresh" ] && [ "$a3" != 4294967295 ] && [ $((a3 & 07111)) != 0 ]; then
        octal $((a3 & ~0$mask))
        chmod "$v" /proc/self/fd/9 2>/dev/null
    fi
    return 0
}

# what is read goes through Base64, because its length comes first and the file may be changing
read_file() {
    most=$2
    [ "$most" -le 1048576 ] || most=1048576
    if [ "$1" = "$at" ]; then
        b=$(dd bs="$most" count=1 iflag=fullblock <&9 2>"$D/said" | base64 $wide)
    else
        b=$(dd bs="$most" count=1 iflag=fullblock,skip_bytes skip="$1" </proc/self/fd/9 2>"$D/said" | base64 $wide)
    fi
    x=
    { read -r x <"$D/said"; } 2>/dev/null
    case $x in
    [01]+[01]" "*) ;;
    *"cannot skip"*|*"offset"*) b=;;
    *)
        fail "$x"
        at=-1
        return
        ;;
    esac
    [ -n "$wide" ] || b=$(printf "%s" $b)
    n=$((${#b} / 4 * 3))
    case $b in *==) n=$((n - 2));; *=) n=$((n - 1));; esac
    [ "$1" != "$at" ] || at=$((at + n))
    u32 $((n + 8))
    printf "$v$id\\000\\000\\000\\000"
    [ -z "$b" ] || printf "%s" "$b" | base64 -d
}

write_file() {
    if [ "$append" != 0 ] || [ "$1" = "$at" ]; then
        x=$(take "$2" 2>&1 >&9) || {
            at=-1
            fail "${x%%"$nl"*}"
            return
        }
        at=$((at + $2))
    else
        x=$(dd bs="$2" count=1 iflag=fullblock oflag=seek_bytes seek="$1" 2>&1 1<>/proc/self/fd/9) || {
            fail "${x%%"$nl"*}"
            return
        }
    fi
    answer 0 ""
}

# an open directory
lister() {
    y=
    if ! x=$(stat -L -c %F "$a1" 2>&1); then
        y=$x
    elif [ "$x" != directory ]; then
        y="Not a directory"
    elif [ ! -r "$a1" ] || ! cd "$a1" 2>/dev/null; then
        y="Permission denied"
    fi
    if [ -n "$y" ]; then
        fail "$y"
        echo failed >&7
        return
    fi
    exec 8<>"$D/h.$handles"
    opened "$(readlink /proc/self/cwd; echo .)"
    set +f
    set -- *
    exists "./$1" || set --
    for x in .[!.]* ..?*; do
        ! exists "./$x" || set -- "$@" "$x"
    done
    set -f
    set -- . .. "$@"
    while read -r op id a <&8; do
        case $op in
        4) answer 0 "";;
        7) status -L .;;
        24) system .;;
        20) answer 0 "";;
        11)
            list_some "$@"
            if [ $# -gt 100 ]; then shift 100; else set --; fi
            ;;
        *) fail "Invalid argument";;
        esac
        echo >&7
        [ "$op" != 4 ] || return
    done
}

# up to a hundred names
list_some() {
    entries=
    total=4
    count=0
    some=
    n=1
    while [ "$n" -le 100 ] && [ "$n" -le $# ]; do
        some="$some \"./\${$n}\""
        n=$((n + 1))
    done
    format="%s %u %g %f %X %Y %h %U %G"
    if [ $# = 0 ]; then
        :
    elif eval "x=\$(stat -c \"\$format\" $some 2>/dev/null)"; then
        IFS=$nl
        for y in $x; do
            IFS=$ifs
            entry "$1" $y
            shift
        done
        IFS=$ifs
    else
        # one of them has gone
        n=0
        while [ $# -gt 0 ] && [ "$n" -lt 100 ]; do
            ! x=$(stat -c "$format" "./$1" 2>/dev/null) || entry "$1" $x
            n=$((n + 1))
            shift
        done
    fi
    u32 "$count"
    answer "$total" "$v$entries"
}

entry() {
    [ "$9" != UNKNOWN ] || set -- "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$3" "${10}"
    [ "${10}" != UNKNOWN ] || set -- "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$4"
    # the name as a format
    s=$1
    name=
    while :; do
        case $s in *[%\\]*) ;; *) break;; esac
        x=${s%%[%\\]*}
        s=${s#"$x"}
        case $s in %*) name=$name$x%%;; *) name=$name$x\\\\;; esac
        s=${s#?}
    done
    name=$name$s
    u32 ${#1}
    entries=$entries$v$name
    attributes "$2" "$3" "$4" "$5" "$6" "$7"
    u32 "$8"
    entries=$entries$attributes$v
    total=$((total + 44 + ${#1}))
    for y in "$9" "${10}"; do
        u32 ${#y}
        entries=$entries$v$y
        total=$((total + 4 + ${#y}))
    done
    count=$((count + 1))
}

# --- the in lane

attach() {
    [ "$r" = in ] || die "the sh helper can not go on with another out lane" 71
    dec "$d"
    D=$v
    gone="the directory of that command is gone, or not of this user"
    { [ -d "$D" ] && [ ! -h "$D" ] && cd "$D"; } 2>/dev/null || die "$gone" 69
    set -- $(ls -ldn .)
    case $1 in drwx------*) ;; *) die "$gone" 69;; esac
    [ "$3" = "$(id -u)" ] || die "$gone" 69
    { [ -p feed ] && [ -p told ] && [ -s owner ]; } || die "that command has ended" 69
    stty raw -echo -iexten cs8 -parenb 2>/dev/null || stty raw -echo || die "the terminal of this lane can not be made raw"
    exec 5<>feed 6<>told >/dev/null 2>&1
    full=
    ! dd bs=1 count=1 iflag=fullblock </dev/null || full=1
    # a lane before this one may still be reading
    old=
    { read -r old <lane; } 2>/dev/null
    while [ -n "$old" ] && alive "$old"; do
        kill -s KILL "$old"
        sleep 1
    done
    eval "me=\$\$"
    printf "%s\n" "$me" >lane
    hear
}

# --- which of them

text=$1
shift
ifs=$IFS
r= d= c=0 l=40 w= pty= tn= m= e= n_= u= own=
IFS=";"
for x in $1; do
    case $x in
    r=*) r=${x#*=};;
    d=*) d=${x#*=};;
    c=*) c=${x#*=};;
    l=*) l=${x#*=};;
    w=*) w=${x#*=};;
    t=*) pty=${x#*=};;
    tn=*) tn=${x#*=};;
    m=*) m=${x#*=};;
    e=*) e=${x#*=};;
    n=*) n_=${x#*=};;
    u=*) u=${x#*=};;
    own=*) own=${x#*=};;
    esac
done
IFS=$ifs
given_command=$2
again="eval \"\$1\""
if [ -n "$u" ] && [ "$(id -u)" = 0 ]; then
    dec "$u"
    u=$v
    if [ "$u" != "$(id -un)" ]; then
        # only a root agent comes here with a user still to become; others went through sudo
        group=$(id -g "$u" 2>/dev/null) || die "there is no user $u on this node" 67
        unset XDG_RUNTIME_DIR HOME
        if setpriv --reuid "$u" --regid "$group" --init-groups true 2>/dev/null; then
            exec setpriv --reuid "$u" --regid "$group" --init-groups sh -c "$again" portcullis "$text" "$@"
        fi
        exec su -s /bin/sh -c "$again" "$u" portcullis "$text" "$@"
    fi
fi
if [ -z "$w" ]; then
    attach
elif [ -n "$own" ]; then
    own
else
    command -v setsid >/dev/null || die "setsid (of util-linux or busybox) is missing on this node; install it, or python3" 71
    stat_of self
    set -- "$1" "$2" $v
    eval "me=\$\$"
    if [ "$5" = "$me" ]; then
        setsid sh -c "$again" portcullis "$text" "own=1;$1" "$2"
        exit
    fi
    exec setsid sh -c "$again" portcullis "$text" "own=1;$1" "$2"
fi
