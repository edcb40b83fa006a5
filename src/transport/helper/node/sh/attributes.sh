# What files are like, as answers have it, and how it is changed.

# size, owner, group, mode in hexadecimal, times: as the attributes of an answer, into $attributes
pack_attributes() {
    pack64 "$1"
    attributes=$packed
    for field in "$2" "$3" $((0x$4)); do
        pack32 "$field"
        attributes=$attributes$packed
    done
    for field in "$5" "$6"; do
        pack64 "$field"
        attributes=$attributes$packed
    done
}

# of $2, or with -L as $1 of what it points to
status() {
    if found=$(stat $1 -c "%s %u %g %f %X %Y" "$2" 2>&1); then
        pack_attributes $found
        answer 36 "$attributes"
    else
        fail "$found"
    fi
}

# the figures of the file system of $1
system() {
    if found=$(stat -f -c "%s %S %b %f %a %c %d %d 0x%i 0 %l" "$1" 2>&1); then
        figures=
        for field in $found; do
            pack64 "$field"
            figures=$figures$packed
        done
        answer 88 "$figures"
    else
        fail "$found"
    fi
}

# permission bits: into $bits
octal() {
    bits=$(($1 >> 9 & 7))$(($1 >> 6 & 7))$(($1 >> 3 & 7))$(($1 & 7))
}

# of $2, or if $1 is -h of the link itself: mask (1 size, 2 owner, 4 mode, 8 times), size, owner, group, mode, times. Goes on
# after an error and answers the last one; a size first, since it moves the times
change() {
    why=
    if [ $(($3 & 1)) != 0 ]; then
        if [ -n "$1" ]; then
            why="Operation not supported"
        elif [ -d "$2" ]; then
            why="Is a directory"
        elif said=$(stat -L "$2" 2>&1); then
            said=$(dd if=/dev/null of="$2" bs=1 seek="$4" count=0 2>&1) || why=${said%%"$newline"*}
        else
            why=$said
        fi
    fi
    if [ $(($3 & 4)) != 0 ]; then
        octal "$7"
        if [ -n "$1" ]; then why="Operation not supported"; else said=$(chmod "$bits" "$2" 2>&1) || why=$said; fi
    fi
    if [ $(($3 & 8)) != 0 ]; then
        said=$({ exists "$2" || stat "$2"; } 2>&1 && touch $1 -c -a -d "@$8" "$2" 2>&1 &&
            touch $1 -c -m -d "@$9" "$2" 2>&1) || why=$said
    fi
    if [ $(($3 & 2)) != 0 ]; then
        said=$(chown $1 "$5:$6" "$2" 2>&1) || why=$said
    fi
    if [ -n "$why" ]; then fail "$why"; else answer 0 ""; fi
}
