# The job of a file service: requests on its input, answers on its output, in the order of the requests.
#
#   request -> serve -> a program for the whole of it                                -> answer
#                    -> FIFO of a handle -> holder (a file) or lister (a directory)  -> answer
#
#   request:  length u32, id u32, operation u8, arguments      answer:  length u32, id u32, errno u32, result

. ./answers.sh
. ./attributes.sh
. ./handles.sh

has_stderr() {
    false
}

prepare_job() {
    true
}

run_job() {
    (serve) <in >out
}

# The operations: number $1 into name and kinds of the arguments (h a handle and u a number, 32 bits; q 64 bits; p a path
# and t a text: length and bytes; d the data that is left). The gateway's table and the one of the Python helper say the
# same, or a test fails.
operation_of() {
    case $1 in
    1) operation=open kinds=puu;;
    2) operation=read kinds=hqu;;
    3) operation=write kinds=hqd;;
    4) operation=close kinds=h;;
    5) operation=stat kinds=p;;
    6) operation=lstat kinds=p;;
    7) operation=fstat kinds=h;;
    8) operation=set_stat kinds=puquuuqq;;
    9) operation=fset_stat kinds=huquuuqq;;
    10) operation=open_dir kinds=p;;
    11) operation=read_dir kinds=h;;
    12) operation=remove kinds=p;;
    13) operation=make_dir kinds=pu;;
    14) operation=remove_dir kinds=p;;
    15) operation=real_path kinds=p;;
    16) operation=rename kinds=ppu;;
    17) operation=read_link kinds=p;;
    18) operation=symlink kinds=tp;;
    19) operation=link kinds=pp;;
    20) operation=fsync kinds=h;;
    21) operation=file_system kinds=p;;
    22) operation=lset_stat kinds=puquuuqq;;
    23) operation=expand_path kinds=t;;
    24) operation=file_system_of kinds=h;;
    *) operation= kinds=;;
    esac
}

serve() {
    # the feed of the in lane has no business here; 5 is the input for those in the background, whose own is /dev/null
    exec 3<&- 4>&- 5<&0 6>&- 8>&- 9>&-
    mkfifo done
    exec 7<>done
    cd "$home" 2>/dev/null || cd /
    unset GLOBIGNORE
    newline=$(printf "\\n.")
    newline=${newline%.}
    handles=0
    while :; do
        set -- $(numbers 9)
        [ $# = 9 ] || break
        size=$((($1 << 24 | $2 << 16 | $3 << 8 | $4) - 5))
        pack32 $(($5 << 24 | $6 << 16 | $7 << 8 | $8))
        id=$packed
        operation_of "$9"
        fixed=$size
        case $kinds in
        *d)
            # data stays where it is, for whoever writes it
            fixed=12
            size=$((size - 12))
            kinds=${kinds%d}
            ;;
        esac
        set -- $(numbers "$fixed")
        argument1= argument2= argument3= argument4= argument5= argument6= argument7= argument8=
        of_handle=
        case $kinds in h*) of_handle=1;; esac
        arguments "$@"
        if [ -n "$kinds" ]; then
            fail "Invalid argument"
        elif [ -n "$of_handle" ]; then
            pass_on
        else
            perform "$argument1" "$argument2" "$argument3" "$argument4" "$argument5" "$argument6" "$argument7" "$argument8"
        fi
    done
    # whoever still holds something ends at an empty line; a process number may by now be that of another
    set +f
    for handle in "$where"/h.*; do
        [ ! -p "$handle" ] || echo 1<>"$handle"
    done
}

# so many bytes of the input, as numbers
numbers() {
    take "$1" 2>/dev/null | od -An -v -tu1
}

# the bytes of a request, as numbers, by their $kinds: into $argument1, $argument2, and so on. What is left of $kinds is
# what was not there
arguments() {
    at=0
    while [ -n "$kinds" ]; do
        at=$((at + 1))
        kind=${kinds%"${kinds#?}"}
        if [ "$kind" = q ]; then
            [ $# -ge 8 ] || return
            value=$(($1 << 56 | $2 << 48 | $3 << 40 | $4 << 32 | $5 << 24 | $6 << 16 | $7 << 8 | $8))
            shift 8
        else
            [ $# -ge 4 ] || return
            value=$(($1 << 24 | $2 << 16 | $3 << 8 | $4))
            shift 4
        fi
        if [ "$kind" = p ] || [ "$kind" = t ]; then
            length=$value
            [ $# -ge "$length" ] || return
            value=
            while [ "$length" -gt 0 ]; do
                [ "$1" != 0 ] || return
                value=$value\\$(($1 >> 6))$(($1 >> 3 & 7))$(($1 & 7))
                length=$((length - 1))
                shift
            done
            value=$(printf "$value.")
            value=${value%.}
            # no program may take a path for an option
            case $kind$value in t*|p/*|p) ;; *) value=./$value;; esac
        fi
        eval "argument$at=\$value"
        kinds=${kinds#?}
    done
}

# gives an operation to whoever has the handle, and waits until it is answered
pass_on() {
    if [ -p "$where/h.$argument1" ]; then
        printf "%s\n" "$operation $id $argument2 $argument3 $argument4 $argument5 $argument6 $argument7 $argument8 $size" \
            >"$where/h.$argument1"
        read -r answered <&7
        [ "$operation" != close ] || rm -f "$where/h.$argument1"
    else
        [ "$operation" != write ] || take "$size" >/dev/null 2>&1
        fail "Invalid argument"
    fi
}

# does what needs no handle, with these arguments
perform() {
    case $operation in
    open|open_dir)
        handles=$((handles + 1))
        mkfifo "$where/h.$handles"
        if [ "$operation" = open ]; then holder "$@" <&5 & else lister "$1" & fi
        read -r failed <&7
        if [ -n "$failed" ]; then
            rm -f "$where/h.$handles"
            handles=$((handles - 1))
        fi
        ;;
    stat) status -L "$1";;
    lstat) status "" "$1";;
    set_stat) change "" "$@";;
    lset_stat) change -h "$@";;
    remove) run rm "$1";;
    make_dir)
        octal $(($2 & ~0$(umask)))
        run mkdir -m "$bits" "$1"
        ;;
    remove_dir) run rmdir "$1";;
    real_path) real_path "$1";;
    expand_path) expand_path "$1";;
    rename) rename "$1" "$2" "$3";;
    read_link)
        if [ -h "$1" ]; then
            answer_path "$(readlink "$1"; echo .)"
        elif why=$(stat "$1" 2>&1); then
            fail "Invalid argument"
        else
            fail "$why"
        fi
        ;;
    symlink) if exists "$2"; then fail "File exists"; else run ln -s -- "$1" "$2"; fi;;
    link) if exists "$2"; then fail "File exists"; else run ln "$1" "$2"; fi;;
    file_system) system "$1";;
    *) fail "Operation not supported";;
    esac
}

exists() {
    [ -e "$1" ] || [ -h "$1" ]
}

# rename(2), which mv is not where there is a directory; $3 is whether to replace what is there
rename() {
    if ! why=$(stat "$1" 2>&1); then
        fail "$why"
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

# ~ and ~user at the start
expand_path() {
    case $1 in
    "~"*)
        tilde=${1%%/*}
        found=$home
        if [ "$tilde" != "~" ]; then
            found=$(getent passwd "${tilde#?}" 2>/dev/null || grep "^${tilde#?}:" /etc/passwd)
            found=${found#*:*:*:*:*:}
            found=${found%%:*}
        fi
        if [ -n "$found" ]; then real_path "$found${1#"$tilde"}"; else fail "No such file"; fi
        ;;
    /*) real_path "$1";;
    *) real_path "./$1";;
    esac
}

# the last component need not exist, the others must
real_path() {
    if real=$(readlink -f "$1" 2>/dev/null && echo .); then
        answer_path "$real"
    elif why=$(stat "${1%/*}/." 2>&1); then
        fail "No such file"
    else
        fail "$why"
    fi
}
