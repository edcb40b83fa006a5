# The in lane: what the gateway says. It never waits for the job: input goes on to the feeder through a pipe that has
# room for a whole window of short lines, and through files.

fault() {
    printf "F %s\n" "$1" >&6
}

reader() {
    got=
    { read -r got <got; } 2>/dev/null
    printf "R %s %s\n" "${got:=0}" "$lane" >&6
    # a killed lane may have handed on a record without noting it; what the feeder has seen it does not take again
    first=1
    while read -r kind number word second third; do
        case $number in ""|*[!0-9]*) fault "a malformed record came from the gateway"; return;; esac
        if [ "$kind" = S ]; then
            # the lease is renewed; the number is a stamp, and the mouth has the credit
            true >lease
            printf "S %s %s %s\n" "$number" "$got" "$second" >&6
            continue
        fi
        new=
        if [ "$number" -gt "$got" ]; then
            new=1
            if [ -z "$first" ] && [ "$number" -ne $((got + 1)) ]; then
                fault "records from the gateway are missing"
                return
            fi
            first=
        fi
        case $kind in
        i|c|v)
            kept=/dev/null
            # another lane may have handed on the same record under its own name
            [ -z "$new" ] || kept=q.$number.$me
            if [ "$second" -gt 0 ]; then
                take "$second" >"$kept" || { fault "input could not be stored on the node; its disk may be full"; return; }
            fi
            newline=-
            read -r newline || return
            [ -z "$newline" ] || { fault "a malformed record came from the gateway"; return; }
            [ -z "$new" ] || stored "$kind" "$number" "$word" "$second" "$kept"
            ;;
        t|I) [ -z "$new" ] || printf "%s %s %s %s\n" "$kind" "$number" "$word" "$second" >&5;;
        W)
            printf "%s %s\n" "$word" "$second" >size
            terminal=
            { read -r terminal <tty; } 2>/dev/null
            [ -z "$terminal" ] || stty cols "$word" rows "$second" <"$terminal"
            ;;
        C) true >closed;;
        K) [ -z "$new" ] || send_signal "$word";;
        B)
            true >bye
            leader=
            { read -r leader <pid; } 2>/dev/null
            [ -z "$leader" ] || kill -HUP "-$leader"
            ;;
        *) fault "an unknown record came from the gateway"; return;;
        esac
        if [ -n "$new" ]; then
            got=$number
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

# record $1 (its number is $2, its cost $3, its length $4) has its data in file $5
stored() {
    case $1 in
    i)
        printf "i %s %s %s\n" "$2" "$3" "$5" >&5
        return
        ;;
    v)
        mv "$5" variables
        echo >go
        return
        ;;
    esac
    if [ "$4" -gt 0 ]; then
        # by its number, as wide as any: a lane that was killed may have brought it before
        mv "$5" "part.$((10000000000 + $2))"
        return
    fi
    # the end of a long command: nothing but what the gateway has decided about is run
    (set +f; cat part.*) >"whole.$me"
    read -r want <want
    have=$(sha256sum <"whole.$me")
    if [ "${have%% *}" = "$want" ]; then
        mv "whole.$me" line
        echo >go
    else
        fault "the command that came over the lane is not the one that was announced"
    fi
}

send_signal() {
    case $1 in ""|*[!A-Z0-9]*) return;; esac
    group=
    if [ -e leader ]; then
        # a terminal: its foreground group
        { read -r group <leader; } 2>/dev/null
        stat_of "$group"
        set -- "$1" $stat
        group=$7
    else
        { read -r group <pid; } 2>/dev/null
    fi
    case $group in ""|0|-*) return;; esac
    kill "-$1" "-$group"
}
