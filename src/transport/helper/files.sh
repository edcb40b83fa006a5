# The file operations of the sh helper; this text stands before the other, and the same rules hold for it.
#
#   request -> serve -> a program for the whole of it                       -> answer
#                    -> FIFO of a handle -> holder (a file) or lister (a directory) -> answer
#
# A request is length, id, operation, arguments; an answer length, id, errno, result, all big-endian. An errno is made of
# what a program says, since that is all a shell gets to know.

# part: files
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
    for x in "1 Operation not permitted" "6 No such device or address" "9 Bad file descriptor" "13 Permission denied" \
        "16 Device or resource busy" "17 File exists" "18 Invalid cross-device link" "20 Not a directory" \
        "21 Is a directory" "21 is a directory" "22 Invalid argument" "26 Text file busy" "27 File too large" "28 No space left on device" \
        "30 Read-only file system" "36 File name too long" "39 Directory not empty" "40 Too many levels of symbolic links" \
        "95 Operation not supported" "122 Disk quota exceeded" "2 No such file or directory" "2 No such file" \
        "2 no such file" "2 nonexistent" "2 nonexistent directory" "17 overwrite existing file" "5 "; do
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
    # whoever still holds something ends at an empty line; a process number may by now be that of another
    set +f
    for x in "$D"/h.*; do
        [ ! -p "$x" ] || echo 1<>"$x"
    done
}

operation() {
    case $op in
    1|10)
        handles=$((handles + 1))
        mkfifo "$D/h.$handles"
        if [ "$op" = 1 ]; then holder <&5 & else lister & fi
        read -r x <&7
        if [ -n "$x" ]; then
            rm -f "$D/h.$handles"
            handles=$((handles - 1))
        fi
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
    while read -r op id a b c d e f g h <&8 && [ -n "$op" ]; do
        case $op in
        2) if [ $((a2 & 1)) = 0 ]; then fail "Bad file descriptor"; else read_file "$a" "$b"; fi;;
        3)
            if [ $((a2 & 6)) = 0 ]; then
                take "$b" >/dev/null 2>&1
                fail "Bad file descriptor"
            else
                write_file "$a" "$b"
            fi
            ;;
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
        { true >"$a1"; } 2>|"$D/said" || y=$(cat "$D/said"; echo failed)
        set +C
    fi
    [ -n "$y" ] || { eval "command exec 9$how\"\$a1\""; } 2>|"$D/said" || y=$(cat "$D/said"; echo failed)
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
        x=$(dd bs="$2" count=1 iflag=fullblock oflag=seek_bytes seek="$1" 2>&1 3<>/proc/self/fd/9 >&3) || {
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
    while read -r op id a <&8 && [ -n "$op" ]; do
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
