# How requests are answered: integers as bytes, and an errno made of what a program says, since that is all a shell gets to
# know.

# $1 as 32 bits, in octal for printf: into $packed
pack32() {
    packed="\\$(($1 >> 30 & 3))$(($1 >> 27 & 7))$(($1 >> 24 & 7))\\$(($1 >> 22 & 3))$(($1 >> 19 & 7))$(($1 >> 16 & 7))"
    packed="$packed\\$(($1 >> 14 & 3))$(($1 >> 11 & 7))$(($1 >> 8 & 7))\\$(($1 >> 6 & 3))$(($1 >> 3 & 7))$(($1 & 7))"
}

# the same as 64 bits
pack64() {
    pack32 $(($1 >> 32))
    high=$packed
    pack32 $(($1 & 4294967295))
    packed=$high$packed
}

# answers request $id: length of the result, the result as a format, what fills the format
answer() {
    pack32 $(($1 + 8))
    format=$packed$id\\000\\000\\000\\000$2
    shift 2
    printf "$format" "$@"
}

# a path that readlink has said, and a dot, which keeps the newlines at its end
answer_path() {
    set -- "${1%?.}"
    answer ${#1} "%s" "$1"
}

# the errno is found by what a program said last, $1
fail() {
    for errno in "1 Operation not permitted" "6 No such device or address" "9 Bad file descriptor" "13 Permission denied" \
        "16 Device or resource busy" "17 File exists" "18 Invalid cross-device link" "20 Not a directory" "20 Symbolic link not followed" \
        "21 Is a directory" "21 is a directory" "22 Invalid argument" "24 Too many open files" "26 Text file busy" "27 File too large" \
        "28 No space left on device" "29 Illegal seek" "30 Read-only file system" "36 File name too long" "39 Directory not empty" \
        "40 Too many levels of symbolic links" "95 Operation not supported" "122 Disk quota exceeded" \
        "2 No such file or directory" "2 No such file" "2 no such file" "2 nonexistent" "2 nonexistent directory" \
        "17 overwrite existing file" "5 "; do
        case $1 in *"${errno#* }") break;; esac
    done
    # in the kernel's words, whatever the program's were
    case ${errno%% *} in
    2) errno="2 No such file or directory";;
    5) errno="5 Input/output error";;
    17) errno="17 File exists";;
    20) errno="20 Not a directory";;
    21) errno="21 Is a directory";;
    esac
    set -- "${errno%% *}" "${errno#* }"
    pack32 "$1"
    errno=$packed
    pack32 $((${#2} + 8))
    printf "$packed$id$errno%s" "$2"
}

# a program that does all of an operation
run() {
    if said=$("$@" 2>&1 </dev/null); then answer 0 ""; else fail "${said:-failed}"; fi
}
