# What an owner says. A FIFO that holds one newline is the lock under which a line is written, and one that holds a newline
# for each block is the credit.
#
#   descriptors of the owner:  3 in lane (where one lane is both)   4 out lane   5 feed: reader to feeder
#                              6 told: reader to mouth   7 credit   8 lock   9 go: something for the job has come

block=49152

say() {
    read -r lock <&8
    printf "%s\n" "$1" >&4 || true >bye
    echo >&8
}

# one read, one line, so that nothing is held back; empty means the end, and only if dd itself says so. $1 is the kind of
# its data, $2 of its end
encoder() {
    total=0
    room=0
    while :; do
        # a read of few bytes costs as many processes as one of many
        if [ "$room" -lt 4096 ]; then
            read -r credit <&7
            room=$((room + block))
        fi
        most=$room
        [ "$most" -le "$block" ] || most=$block
        encoded=$({ dd bs="$most" count=1 2>/dev/null || true >bad; } | base64 $wide) || true >bad
        if [ -e bad ]; then
            say "F the output could not be read; memory or processes may have run out on this node"
            return
        fi
        [ -n "$encoded" ] || break
        # nobody reads it any more: the next write finds a broken pipe. As with sshd, a terminal is not closed
        [ "$1" != o ] || [ ! -e closed ] || [ -n "$pty" ] || break
        one_line
        total=$((total + size))
        room=$((room - size))
        say "$1 $encoded"
    done
    say "$2 $total"
}

# makes one line of the Base64 in $encoded; how many bytes it stands for: into $size
one_line() {
    [ -n "$wide" ] || encoded=$(printf "%s" $encoded)
    size=$((${#encoded} / 4 * 3))
    case $encoded in *==) size=$((size - 2));; *=) size=$((size - 1));; esac
}

# turns credit, up to $1 bytes in all, into newlines for the encoders
give_credit() {
    while [ $(((given_credit + 1) * block)) -le "$1" ]; do
        given_credit=$((given_credit + 1))
        echo
    done >&7
}

# says for others what they may not wait for
mouth() {
    while read -r kind word second third; do
        if [ "$kind" = S ]; then
            give_credit "$third"
            say "P $word $second"
        else
            say "$kind $word $second $third"
        fi
    done
}
