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

# the figures of the file system of $1; of its flags nobody tells a shell
system() {
    if found=$(stat -f -c "%i %s %S %b %f %a %c %d %d 0 %l" "$1" 2>&1); then
        # the two halves of its number are the other way round in statvfs(3)
        number=0000000000000000${found%% *}
        number=${number#"${number%????????????????}"}
        pack32 $((0x${number#????????}))
        halves=$packed
        pack32 $((0x${number%????????}))
        halves=$halves$packed
        figures=
        count=0
        for field in ${found#* }; do
            [ "$count" != 8 ] || figures=$figures$halves
            pack64 "$field"
            figures=$figures$packed
            count=$((count + 1))
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

# what chown(2) takes from a file whoever owns it then; chown(1) leaves out the call where nobody else does
drop_bits() {
    if [ -d "$1" ] || { [ -n "$link" ] && [ -h "$1" ]; }; then return; fi
    [ ! -u "$1" ] || chmod u-s "$1" || return
    [ ! -g "$1" ] || case $(stat -L -c %A "$1") in ??????s*) chmod g-s "$1";; esac
}

# of $2, or if $1 is -h of the link itself: mask (1 size, 2 owner, 4 mode, 8 times), size, owner, group, mode, times. Goes on
# after an error and answers the last one; a size first, since it moves the times. $1 is ! where the size can't be changed
change() {
    why=
    followed=-L
    link=
    if [ "$1" = -h ]; then
        link=-h
        followed=
        if [ $(($3 & 1)) != 0 ]; then
            fail "Invalid argument"
            return
        fi
    fi
    if [ $(($3 & 1)) != 0 ]; then
        if [ "$1" = ! ] || [ "$4" -lt 0 ]; then
            why="Invalid argument"
        elif [ -d "$2" ]; then
            why="Is a directory"
        elif ! said=$(stat -L "$2" 2>&1); then
            why=$said
        elif [ ! -f "$2" ]; then
            why="Invalid argument"
        else
            said=$(dd if=/dev/null of="$2" bs=1 seek="$4" count=0 2>&1) || why=${said%%"$newline"*}
        fi
    fi
    if [ $(($3 & 4)) != 0 ]; then
        octal "$7"
        if [ -n "$link" ] && [ -h "$2" ]; then
            why="Operation not supported"
        else
            # a digit more, or a directory keeps some bits
            said=$({ stat $followed "$2" && chmod "0$bits" "$2"; } 2>&1) || why=$said
        fi
    fi
    if [ $(($3 & 8)) != 0 ]; then
        said=$({ stat $followed "$2" && touch $link -c -a -d "@$8" "$2" && touch $link -c -m -d "@$9" "$2"; } 2>&1) || why=$said
    fi
    if [ $(($3 & 2)) != 0 ]; then
        # all bits set stand for no change
        user=$5
        group=$6
        [ "$user" != 4294967295 ] || user=
        [ "$group" != 4294967295 ] || group=
        case $user:$group in
        :) said=$(stat $followed "$2" 2>&1);;
        *:) said=$(chown $link "$user" "$2" 2>&1);;
        :*) said=$(chgrp $link "$group" "$2" 2>&1);;
        *) said=$(chown $link "$user:$group" "$2" 2>&1);;
        esac && said=$(drop_bits "$2" 2>&1) || why=$said
    fi
    if [ -n "$why" ]; then fail "$why"; else answer 0 ""; fi
}
