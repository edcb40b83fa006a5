# The Portcullis node helper for sh (dash, bash, busybox) and coreutils or busybox. It is sent along in the session
# document, never installed.
#
#   out lane <- lock <- encoders <- command <- feeder <- files and FIFO <- reader <- in lane (a raw terminal)
#              <- mouth  <- - - - - - - - - - - - - - - - - - - - - - - - reader
#
# The lane process that starts it is the owner: it runs the command in a session of its own and everything else in the
# background, in its own process group. A pure shell can neither keep what the gateway has not acknowledged nor take a
# second out lane, so it is not resumable and says so (r=0 in its hello): a lost out lane is a hang-up.
#
# Towards the gateway a record is a line; data is in Base64. From the gateway a record is a line as well; longer data
# follows it as it is, closed by a newline. A FIFO that holds one newline is the lock under which a line is written, and
# one that holds a newline for each 48 KiB is the credit. Nothing here waits for a lane in open(): a FIFO is opened for
# both directions, or its other end is started beside it.
# This text is quoted with apostrophes in the document, so it has none, and no double braces or double dollars. A document
# carries only the parts that its lanes need: a line "# part: ..." begins one, and "all" is in each.
# part: all
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

# whether process $1 is the one that started at $2, and not another that got its number
is_still() {
    alive "$1" || return
    set -- "$2" $v
    [ "${21}" = "$1" ]
}

# exactly $1 bytes
take() {
    dd bs="$1" count=1 iflag=fullblock
}

# part: owner
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
            say "F the output could not be read; memory or processes may have run out on this node"
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

# part: reader
fault() {
    printf "F %s\n" "$1" >&6
}

# reads the in lane; never waits for the command
reader() {
    got=
    { read -r got <got; } 2>/dev/null
    printf "R %s\n" "${got:=0}" >&6
    # a killed lane may have handed on a record without noting it; what the feeder has seen it does not take again
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
            if [ -z "$first" ] && [ "$n" -ne $((got + 1)) ]; then
                fault "records from the gateway are missing"
                return
            fi
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
            [ -z "$p" ] || kill -HUP "-$p"
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
    kill "-$1" "-$p"
}

# part: owner
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
    if [ -n "$feeder" ] && alive "$feeder"; then
        set -- $v
        [ "$3" != "$me" ] || kill "$feeder"
    fi
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
    { read -r p t <lane; } 2>/dev/null
    [ -z "$p" ] || ! is_still "$p" "$t" || kill "$p"
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
            read -r p t m <"$f/owner"
            # a home may be that of many machines, and their processes are not here
            [ "$m" != "$(uname -n)" ] || is_still "$p" "$t" || rm -rf "$f"
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

# part: command
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
        30) w=ignpar;; 31) w=parmrk;; 32) w=inpck;; 33) w=istrip;; 34) w=inlcr;; 35) w=igncr;; 36) w=icrnl;;
        37) w=iuclc;; 38) w=ixon;; 39) w=ixany;; 40) w=ixoff;; 41) w=imaxbel;; 42) w=iutf8;; 50) w=isig;;
        51) w=icanon;; 52) w=xcase;; 53) w=echo;; 54) w=echoe;; 55) w=echok;; 56) w=echonl;; 57) w=noflsh;;
        58) w=tostop;; 59) w=iexten;; 60) w=echoctl;; 61) w=echoke;; 70) w=opost;; 71) w=olcuc;; 72) w=onlcr;;
        73) w=ocrnl;; 74) w=onocr;; 75) w=onlret;; 92) w=parenb;; 93) w=parodd;; 90|91) [ "$x" = 0 ] || modes="$modes,cs$((n - 83))";;
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
in_terminal="t=\$(tty); { echo \$\$ >leader; stty sane; IFS=\", \"; [ -z \"\$1\" ] || stty \$1 || {
IFS=,; for x in \$1; do IFS=\" \"; stty \$x; done; }; IFS=\" \"; echo \"\$t\" >tty; s=\"\$2 \$3\"; stty cols \${s% *} rows \${s#* }; while [ -s size ]; do
read -r x <size; [ \"\$x\" != \"\$s\" ] || break; s=\$x; stty cols \${s% *} rows \${s#* }; done; cd \"\$0\" || cd /
} 2>/dev/null; shift 3; unset IFS; exec env -i SSH_TTY=\"\$t\" \"\$@\""

run_in_terminal() {
    q=$(printf "\\047")
    set_modes
    IFS=,
    set -- "$home" "$modes" $pty "$@"
    IFS=$ifs
    # what script(1) gets: home, modes, columns, rows, and two pixel sizes that stty can not set
    h=$1 a=$2 b=$3 c=$4
    shift 6
    line="exec sh -c"
    for x in "$in_terminal" "$h" "$a" "$b" "$c" "$@"; do
        quote "$x"
        line="$line $v"
    done
    SHELL=/bin/sh setsid sh -c "echo \$\$ >pid; exec \"\$@\"" sh script -qfec "$line" /dev/null \
        <in >out 2>/dev/null 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
}

# part: owner
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
    [ -n "$wide" ] || base64 </dev/null >/dev/null 2>&1 || die "this node has no base64" 71
    dd bs=1 count=1 iflag=fullblock </dev/null >/dev/null 2>&1 || die "this node has too old a dd" 71
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
    printf "%s %s %s\n" "$watcher" "${21}" "$(uname -n)" >owner

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
    trap - PIPE
    if [ "$w" = files ]; then (serve) <in >out; else start; fi
    code=$?
    trap "" PIPE
    # the number of a group that is no more may soon be that of another
    for f in pid leader; do
        p=
        { read -r p <$f; } 2>/dev/null
        [ -z "$p" ] || kill -0 "-$p" || rm -f "$f"
    done
    say "X $code"
    wait "$stdout" $stderr
    [ -e bad ] || say Q
    trap "" TERM
    kill -s TERM 0
    leave
    exit 0
}

# part: command
start() {
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
    if [ -n "$pty" ]; then
        case $(script -V 2>/dev/null) in
        *util-linux*) ;;
        *)
            say "F a terminal needs python3 or script(1) of util-linux on this node; install either"
            exec sleep "$l"
            ;;
        esac
    fi
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

# part: in
# --- the in lane

attach() {
    dec "$d"
    D=$v
    gone="the directory of that command is gone, or not of this user"
    { [ -d "$D" ] && [ ! -h "$D" ] && cd "$D"; } 2>/dev/null || die "$gone" 69
    set -- $(ls -ldn .)
    case $1 in drwx------*) ;; *) die "$gone" 69;; esac
    [ "$3" = "$(id -u)" ] || die "$gone" 69
    { [ -p feed ] && [ -p told ] && [ -s owner ]; } || die "that command has ended" 69
    stty raw -echo -iexten cs8 -parenb 2>/dev/null || stty raw -echo || die "the terminal can not be made raw"
    exec 5<>feed 6<>told >/dev/null 2>&1
    # a lane before this one may still be reading
    old=
    { read -r old t <lane; } 2>/dev/null
    while [ -n "$old" ] && is_still "$old" "$t"; do
        kill -s KILL "$old"
        sleep 1
    done
    eval "me=\$\$"
    stat_of "$me"
    set -- "$me" $v
    printf "%s %s\n" "$1" "${21}" >lane
    hear
}

# part: all
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
    [ "$r" = in ] || die "the sh helper can not go on with another out lane" 71
    attach
elif [ -n "$own" ]; then
    own
else
    command -v setsid >/dev/null || die "this node has neither python3 nor setsid(1); install either" 71
    stat_of self
    set -- "$1" "$2" $v
    eval "me=\$\$"
    if [ "$5" = "$me" ]; then
        setsid sh -c "$again" portcullis "$text" "own=1;$1" "$2"
        exit
    fi
    exec setsid sh -c "$again" portcullis "$text" "own=1;$1" "$2"
fi
