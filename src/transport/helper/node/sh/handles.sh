# What is open: a process in the background has it, reads operations from a FIFO of its own (h. and the handle), answers by
# itself and says in the FIFO done when it has.

# the flags of open, those of SFTP version 3, section 6.3
READ=1 WRITE=2 APPEND=4 CREATE=8 TRUNCATE=16 EXCLUSIVE=32
no_mode=4294967295

# an open file, its descriptor 9, so that its name no longer matters. The arguments are those of open_file
holder() {
    if ! open_file "$@"; then
        fail "${why:-failed}"
        echo failed >&7
        return
    fi
    flags=$2
    # where the descriptor is; a read or write elsewhere opens the file once more
    at=0
    exec 8<>"$where/h.$handles"
    opened "$(readlink /proc/self/fd/9; echo .)"
    while read -r operation id rest <&8 && [ -n "$operation" ]; do
        set -- $rest
        case $operation in
        read)
            if ! may_seek "$1"; then
                fail "$why"
            elif [ "$2" != 0 ] && [ $((flags & 3)) = $WRITE ]; then
                fail "Bad file descriptor"
            else
                read_file "$1" "$2"
            fi
            ;;
        write)
            why=
            if { { [ $((flags & APPEND)) = 0 ] || [ -p /proc/self/fd/9 ]; } && ! may_seek "$1"; } || [ $((flags & WRITE)) = 0 ]; then
                [ "$2" = 0 ] || take "$2" >/dev/null 2>&1
                fail "${why:-Bad file descriptor}"
            else
                write_file "$1" "$2"
            fi
            ;;
        close) answer 0 "";;
        fstat) status -L /proc/self/fd/9;;
        fset_stat)
            writable=!
            [ $((flags & WRITE)) = 0 ] || writable=
            change "$writable" /proc/self/fd/9 "$@"
            ;;
        copy) copy_file "$@";;
        fsync)
            sync /proc/self/fd/9 2>/dev/null || sync
            answer 0 ""
            ;;
        file_system_of) system /proc/self/fd/9;;
        *) fail "Invalid argument";;
        esac
        echo >&7
        [ "$operation" != close ] || return
    done
}

# answers with the handle and with $1, what the kernel has really opened
opened() {
    real=${1%?.}
    pack32 "$handles"
    opening=$packed
    pack32 ${#real}
    answer $((8 + ${#real})) "$opening$packed%s" "$real"
    echo >&7
}

# opens $1 with flags $2 and mode $3, or says why not in $why
open_file() {
    fresh=
    exclusive=
    if ! [ -e "$1" ]; then
        fresh=1
        [ $(($2 & CREATE)) != 0 ] || { why=$(stat -L "$1" 2>&1) || return 1; }
    fi
    if [ $(($2 & (CREATE | EXCLUSIVE))) = $((CREATE | EXCLUSIVE)) ]; then
        exclusive=1
        why="File exists"
        ! exists "$1" || return 1
    fi
    if [ -d "$1" ]; then
        why="Is a directory"
        [ $(($2 & (WRITE | CREATE | TRUNCATE))) = 0 ] || return 1
    fi
    # <> makes what is not there, and at a FIFO waits for nobody
    how="<>"
    case $(($2 & (READ | WRITE | APPEND))) in
    6) how=">>";;
    2) [ -z "$fresh" ] && [ $(($2 & TRUNCATE)) = 0 ] || how=">";;
    0|1|4|5) [ -p "$1" ] || [ -n "$fresh" ] || how="<";;
    esac
    [ ! -p "$1" ] || how="<>"
    mask=$(umask)
    if [ "$3" != "$no_mode" ]; then
        octal $((0$mask | (~$3 & 0777)))
        umask "$bits"
    fi
    why=
    { [ -z "$exclusive" ] || set -C; } 2>/dev/null
    if [ "$how" != ">" ] && [ ! -p "$1" ] && { [ $(($2 & TRUNCATE)) != 0 ] || [ -n "$exclusive" ]; }; then
        { true >"$1"; } 2>|"$where/said" || why=$(cat "$where/said"; echo failed)
        set +C
    fi
    [ -n "$why" ] || { eval "command exec 9$how\"\$1\""; } 2>|"$where/said" || why=$(cat "$where/said"; echo failed)
    set +C
    umask "$mask"
    why=${why%"$newline"failed}
    # some shells have one sentence for a path through a file and one through nothing
    case $why in *nonexistent|*"nonexistent directory"|*"o such file") why=$(stat -L "$1" 2>&1);; esac
    [ -z "$why" ] || return 1
    # a shell makes files without the bits for execution, s and t
    if [ -n "$fresh" ] && [ "$3" != "$no_mode" ] && [ $(($3 & 07111)) != 0 ]; then
        octal $(($3 & ~0$mask))
        chmod "$bits" /proc/self/fd/9 2>/dev/null
    fi
    return 0
}

# whether offset $1 can be; why not, into $why. A FIFO has none, and no read of one would end before something is in it
may_seek() {
    why=
    if [ -p /proc/self/fd/9 ]; then
        why="Illegal seek"
    elif [ "$1" -lt 0 ]; then
        why="Invalid argument"
    elif [ "$1" -ge 1099511627776 ]; then
        # the most is the file system's
        case $(dd if=/proc/self/fd/9 bs=65536 count=0 iflag=skip_bytes skip="$1" 2>&1) in *"Invalid argument"*) why="Invalid argument";; esac
    fi
    [ -z "$why" ]
}

# offset $1, length $2. What is read goes through Base64, because its length comes first and the file may be changing
read_file() {
    most=$2
    blocks=1
    # of nothing only the offset is looked at
    [ "$most" != 0 ] || most=1 blocks=0
    [ "$most" -le 1048576 ] || most=1048576
    if [ "$1" = "$at" ]; then
        encoded=$(dd bs="$most" count="$blocks" iflag=fullblock <&9 2>"$where/said" | base64 $wide)
    else
        encoded=$(dd bs="$most" count="$blocks" iflag=fullblock,skip_bytes skip="$1" </proc/self/fd/9 2>"$where/said" | base64 $wide)
    fi
    said=
    { read -r said <"$where/said"; } 2>/dev/null
    case $said in
    [01]+[01]" "*) ;;
    *"Invalid argument")
        fail "$said"
        return
        ;;
    # behind the end
    *"cannot skip"*|*"offset"*) encoded=;;
    *)
        fail "$said"
        at=-1
        return
        ;;
    esac
    one_line
    [ "$1" != "$at" ] || at=$((at + size))
    pack32 $((size + 8))
    printf "$packed$id\\000\\000\\000\\000"
    [ -z "$encoded" ] || printf "%s" "$encoded" | base64 -d
}

# offset $1, length $2; the data is the next on the input
write_file() {
    if [ "$2" = 0 ]; then
        answer 0 ""
    elif [ $((flags & (READ | APPEND))) = $((READ | APPEND)) ]; then
        written "$2" "$(dd bs="$2" count=1 iflag=fullblock conv=notrunc oflag=append of=/proc/self/fd/9 2>&1 || echo failed)"
    elif [ $((flags & APPEND)) != 0 ] || [ "$1" = "$at" ]; then
        at=$((at + $2))
        written "$2" "$(take "$2" 2>&1 >&9 || echo failed)"
    else
        written "$2" "$(dd bs="$2" count=1 iflag=fullblock oflag=seek_bytes seek="$1" 2>&1 3<>/proc/self/fd/9 >&3 || echo failed)"
    fi
}

# answers a write of $1 bytes after what dd has said, $2; what it did not read is taken out of the way
written() {
    case $2 in
    *failed)
        at=-1
        case $2 in
        *"0+0 records in"*) take "$1" >/dev/null 2>&1;;
        *"records in"*|*writ*) ;;
        *) take "$1" >/dev/null 2>&1;;
        esac
        fail "${2%%"$newline"*}"
        ;;
    *) answer 0 "";;
    esac
}

# from offset $1, $2 bytes, to the file that process $3 has open with flags $4, at offset $5
copy_file() {
    if [ "$1" -lt 0 ] || { [ "$5" -lt 0 ] && [ $(($4 & APPEND)) = 0 ]; }; then
        fail "Invalid argument"
    elif [ $((flags & 3)) = $WRITE ]; then
        fail "Bad file descriptor"
    elif [ $(($4 & WRITE)) = 0 ]; then
        # first it is read
        said=$(dd if=/proc/self/fd/9 of=/dev/null bs=1 count=1 iflag=skip_bytes skip="$1" 2>&1) || said=${said%%"$newline"*}
        case $said in
        *"0+0 records in"*)
            pack64 0
            answer 8 "$packed"
            ;;
        *"records in"*) fail "Bad file descriptor";;
        *) fail "$said";;
        esac
    else
        how="oflag=seek_bytes seek=$5"
        [ $(($4 & APPEND)) = 0 ] || how="oflag=append"
        if said=$(dd if=/proc/self/fd/9 of="/proc/$3/fd/9" bs=65536 iflag=skip_bytes,count_bytes skip="$1" count="$2" \
            conv=notrunc $how 2>&1); then
            said=${said##*"$newline"}
            said=${said%%" "*}
            case $said in
            ""|*[!0-9]*)
                # not every dd says how much it was
                said=$(($(stat -L -c %s /proc/self/fd/9) - $1))
                [ "$said" -le "$2" ] || said=$2
                [ "$said" -ge 0 ] || said=0
                ;;
            esac
            pack64 "$said"
            answer 8 "$packed"
        else
            fail "${said%%"$newline"*}"
        fi
        at=-1
    fi
}

# an open directory, $1, which is where this process is
lister() {
    why=
    if ! found=$(stat -L -c %F "$1" 2>&1); then
        why=$found
    elif [ "$found" != directory ]; then
        why="Not a directory"
    elif [ ! -r "$1" ] || ! cd "$1" 2>/dev/null; then
        why="Permission denied"
    fi
    if [ -n "$why" ]; then
        fail "$why"
        echo failed >&7
        return
    fi
    exec 8<>"$where/h.$handles"
    opened "$(readlink /proc/self/cwd; echo .)"
    listed=
    while read -r operation id rest <&8 && [ -n "$operation" ]; do
        case $operation in
        close) answer 0 "";;
        fstat) status -L .;;
        file_system_of) system .;;
        fsync) answer 0 "";;
        read_dir)
            case $listed$rest in
            listed0*) ;;
            *)
                listed=listed
                set +f
                set -- *
                # a pattern that matches nothing stays as it is
                exists "./$1" || set --
                for name in .[!.]* ..?*; do
                    ! exists "./$name" || set -- "$@" "$name"
                done
                set -f
                set -- . .. "$@"
                # of a directory that has been removed there is nothing to say
                [ "$(stat -c %h .)" != 0 ] || set --
                ;;
            esac
            list_some "$@"
            if [ $# -gt 100 ]; then shift 100; else set --; fi
            ;;
        *) fail "Invalid argument";;
        esac
        echo >&7
        [ "$operation" != close ] || return
    done
}

# answers with up to a hundred of these names
list_some() {
    entries=
    total=4
    count=0
    # one stat(1) for all of them
    paths=
    index=1
    while [ "$index" -le 100 ] && [ "$index" -le $# ]; do
        paths="$paths \"./\${$index}\""
        index=$((index + 1))
    done
    fields="%s %u %g %f %X %Y %h %U %G"
    if [ $# = 0 ]; then
        :
    elif eval "found=\$(stat -c \"\$fields\" $paths 2>/dev/null)"; then
        IFS=$newline
        for line in $found; do
            IFS=$ifs
            entry "$1" $line
            shift
        done
        IFS=$ifs
    else
        # one of them has gone
        index=0
        while [ $# -gt 0 ] && [ "$index" -lt 100 ]; do
            ! found=$(stat -c "$fields" "./$1" 2>/dev/null) || entry "$1" $found
            index=$((index + 1))
            shift
        done
    fi
    pack32 "$count"
    answer "$total" "$packed$entries"
}

# adds to $entries: a name, and what stat says of it
entry() {
    # whoever has no name is called by the number
    [ "$9" != UNKNOWN ] || set -- "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$3" "${10}"
    [ "${10}" != UNKNOWN ] || set -- "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$4"
    # the name as a format
    rest=$1
    escaped=
    while :; do
        case $rest in *[%\\]*) ;; *) break;; esac
        plain=${rest%%[%\\]*}
        rest=${rest#"$plain"}
        case $rest in %*) escaped=$escaped$plain%%;; *) escaped=$escaped$plain\\\\;; esac
        rest=${rest#?}
    done
    escaped=$escaped$rest
    pack32 ${#1}
    entries=$entries$packed$escaped
    pack_attributes "$2" "$3" "$4" "$5" "$6" "$7"
    pack32 "$8"
    entries=$entries$attributes$packed
    total=$((total + 44 + ${#1}))
    for owner in "$9" "${10}"; do
        pack32 ${#owner}
        entries=$entries$packed$owner
        total=$((total + 4 + ${#owner}))
    done
    count=$((count + 1))
}
