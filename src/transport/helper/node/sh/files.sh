# The job of a file service: requests on its input, answers on its output, in the order of the requests.
#
#   request -> serve -> a program for the whole of it                                -> answer
#                    -> FIFO of a handle -> holder (a file) or lister (a directory)  -> answer
#
#   request:  length u32, id u32, operation u8, arguments      answer:  length u32, id u32, errno u32, result

. ./answers.sh
. ./attributes.sh
. ./handles.sh

# how many files and directories can be open: each is a process
MOST_OPEN=256

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
    11) operation=read_dir kinds=hu;;
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
    25) operation=copy kinds=hqqhq;;
    26) operation=home_directory kinds=t;;
    27) operation=names_of kinds=ud;;
    28) operation=most_open kinds=u;;
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
    held=0
    command -v unlink >/dev/null && command -v link >/dev/null && calls=1 || calls=
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
            # data stays where it is, for whoever takes it
            fixed=12
            [ "$kinds" != ud ] || fixed=4
            size=$((size - fixed))
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
        if [ "$operation" = copy ]; then
            # the other file is open in another process
            eval "argument4=\"\${holder_$argument4:-}\""
            [ -n "$argument4" ] || argument4="0 0"
        fi
        printf "%s\n" "$operation $id $argument2 $argument3 $argument4 $argument5 $argument6 $argument7 $argument8 $size" \
            >"$where/h.$argument1"
        read -r answered <&7
        if [ "$operation" = close ]; then
            rm -f "$where/h.$argument1"
            unset "holder_$argument1"
            held=$((held - 1))
        fi
    else
        [ "$operation" != write ] || take "$size" >/dev/null 2>&1
        fail "Invalid argument"
    fi
}

# does what needs no handle, with these arguments
perform() {
    case $operation in
    open|open_dir)
        if [ "$held" -ge "$MOST_OPEN" ]; then
            fail "Too many open files"
            return
        fi
        handles=$((handles + 1))
        mkfifo "$where/h.$handles"
        if [ "$operation" = open ]; then
            holder "$@" <&5 &
            eval "holder_$handles=\"\$! \$2\""
        else
            lister "$1" &
        fi
        read -r failed <&7
        held=$((held + 1))
        if [ -n "$failed" ]; then
            rm -f "$where/h.$handles"
            unset "holder_$handles"
            handles=$((handles - 1))
            held=$((held - 1))
        fi
        ;;
    stat) status -L "$1";;
    lstat) status "" "$1";;
    set_stat) change "" "$@";;
    lset_stat) change -h "$@";;
    remove) if [ -n "$calls" ]; then run unlink "$1"; else run rm "$1"; fi;;
    make_dir) run make_dir "$1" "$2";;
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
    symlink)
        if [ -n "$1" ] && exists "$2"; then fail "File exists"; else run ln -s -- "$1" "$2"; fi
        ;;
    link) run link_to "$1" "$2";;
    home_directory)
        entry_of passwd "$1" 1
        if [ -n "$entry" ]; then answer_path "$home$newline."; else fail "No such file"; fi
        ;;
    names_of) names_of "$1" $(numbers "$size");;
    most_open)
        if [ "$1" -lt "$MOST_OPEN" ]; then pack32 "$1"; else pack32 "$MOST_OPEN"; fi
        answer 4 "$packed"
        ;;
    file_system) system "$1";;
    *) fail "Operation not supported";;
    esac
}

exists() {
    [ -e "$1" ] || [ -h "$1" ]
}

# mkdir(1) would make a mode of its own exact; mkdir(2) leaves the umask in force, and the parent's set-group-ID
make_dir() {
    octal $((0$(umask) | (~$2 & 0777)))
    (umask "$bits" && mkdir "$1") && { [ $(($2 & 01000)) = 0 ] || chmod +t "$1"; }
}

# link(2), which ln is not where there is a directory
link_to() {
    if [ -n "$calls" ]; then
        link "$1" "$2"
    elif exists "$2"; then
        echo "File exists"
        return 1
    else
        ln "$1" "$2"
    fi
}

# which file a name is, the link itself where it is one
identity() {
    stat -c %d:%i "$1" 2>&1
}

is_within() {
    case $1 in "$2"*) ;; *) false;; esac
}

# as OpenSSH's server does it: nothing that is there is replaced, unless $3 says so
rename() {
    if [ -z "$1" ] || [ -z "$2" ]; then
        fail "No such file"
    elif [ "$3" != 0 ]; then
        replace "$1" "$2"
    elif ! said=$(identity "$1"); then
        fail "$said"
    elif [ -f "$1" ] && [ ! -h "$1" ]; then
        if said=$(link_to "$1" "$2" 2>&1); then run rm -f "$1"; else fail "${said:-failed}"; fi
    elif [ -e "$2" ]; then
        fail "File exists"
    else
        replace "$1" "$2"
    fi
}

is_dot() {
    case $1 in ""|*/.|*/..) ;; *) false;; esac
}

# rename(2), in its order; of names that end in a slash or a dot mv(1) says other things
replace() {
    from=${1%"${1##*[!/]}"}
    to=${2%"${2##*[!/]}"}
    is_dir=
    [ -h "$from" ] || [ ! -d "$from" ] || is_dir=1
    for said in "${from%/*}/." "${to%/*}/."; do
        if [ ! -d "$said" ]; then
            fail "$(stat "$said" 2>&1)"
            return
        fi
    done
    if is_dot "$from" || is_dot "$to"; then
        fail "Device or resource busy"
    elif ! old=$(identity "$from"); then
        fail "$old"
    elif [ -z "$is_dir" ] && [ "$1$2" != "$from$to" ]; then
        fail "Not a directory"
    elif [ "$old" = "$(identity "$to")" ]; then
        # two names of one file: rename(2) leaves both
        answer 0 ""
    elif [ -n "$is_dir" ] && is_within "$(readlink -f "${to%/*}/.")/" "$(readlink -f "$from")/"; then
        fail "Invalid argument"
    elif [ -d "$to" ] && [ ! -h "$to" ] && [ -z "$is_dir" ]; then
        fail "Is a directory"
    elif [ -n "$is_dir" ] && exists "$to" && { [ ! -d "$to" ] || [ -h "$to" ]; }; then
        fail "Not a directory"
    elif said=$(mv -f -T "$from" "$to" 2>&1); then
        answer 0 ""
    else
        case $said in *"overwrite non-directory"*) said="Not a directory";; esac
        fail "${said:-failed}"
    fi
}

# the line of $1 (passwd or group) whose field $3 is $2, into $entry
entry_of() {
    entry=
    case $2 in ""|*[!A-Za-z0-9._@-]*|-*) return;; esac
    for entry in "$(getent "$1" "$2" 2>/dev/null)" "$(grep "^$2:" "/etc/$1" 2>/dev/null)" \
        "$(grep "^[^:]*:[^:]*:$2:" "/etc/$1" 2>/dev/null)"; do
        entry=${entry%%"$newline"*}
        IFS=:
        set -- "$1" "$2" "$3" $entry
        IFS=$ifs
        if [ "$3" = 1 ]; then field=${4:-}; else field=${6:-}; fi
        [ "$field" != "$2" ] || return
    done
    entry=
}

# of $1 users and then groups, whose numbers are the bytes that follow
names_of() {
    users=$1
    names=
    total=0
    shift
    while [ $# -ge 4 ]; do
        of=group
        [ "$users" -le 0 ] || of=passwd
        users=$((users - 1))
        entry_of "$of" $(($1 << 24 | $2 << 16 | $3 << 8 | $4)) 3
        name=${entry%%:*}
        case $name in *[%\\]*) name=;; esac
        pack32 ${#name}
        names=$names$packed$name
        total=$((total + 4 + ${#name}))
        shift 4
    done
    answer "$total" "$names"
}

# ~ and ~user at the start
expand_path() {
    case $1 in
    "~"|"~"/*) real_path "./${1#"~"}";;
    "~"*)
        tilde=${1%%/*}
        entry_of passwd "${tilde#?}" 1
        found=${entry#*:*:*:*:*:}
        found=${found%%:*}
        if [ -n "$found" ]; then real_path "$found${1#"$tilde"}"; else fail "No such file"; fi
        ;;
    /*) real_path "$1";;
    *) real_path "./$1";;
    esac
}

# the last component need not exist unless a slash follows it, the others must
real_path() {
    set -- "$1" "$1"
    while :; do
        case $2 in ?*/) set -- "$1" "${2%/}";; *) break;; esac
    done
    if [ "$1" != "$2" ] && ! why=$(stat -L "$2" 2>&1); then
        fail "$why"
    elif real=$(readlink -f "$2" 2>/dev/null && echo .); then
        answer_path "$real"
    else
        why=$(stat -L "$2" 2>&1)
        case $why in *" too long"|*"Too many "*|*" directory") fail "$why";; *) fail "No such file";; esac
    fi
}
