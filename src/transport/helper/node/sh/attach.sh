# An in lane that joins an owner: it reads by itself, into the FIFOs of the owner's directory.

attach() {
    decode "$directory"
    gone="the directory of that command is gone, or not of this user"
    # never through a link, and of nobody else: whoever could put FIFOs there would get what is typed
    { [ -d "$decoded" ] && [ ! -h "$decoded" ] && cd "$decoded"; } 2>/dev/null || die "$gone" 69
    set -- $(ls -ldn .)
    case $1 in drwx------*) ;; *) die "$gone" 69;; esac
    [ "$3" = "$(id -u)" ] || die "$gone" 69
    over="that command has ended"
    { [ -p feed ] && [ -p told ] && [ -s owner ]; } || die "$over" 69
    # a killed owner leaves all that
    { read -r watcher since host <owner; } 2>/dev/null
    is_still "$watcher" "$since" || die "$over" 69
    stty raw -echo -iexten cs8 -parenb 2>/dev/null || stty raw -echo || die "the terminal can not be made raw"
    exec 5<>feed 6<>told >/dev/null 2>&1
    # a lane before this one may still be reading
    old=
    { read -r old since <lane; } 2>/dev/null
    while [ -n "$old" ] && is_still "$old" "$since"; do
        kill -s KILL "$old"
        sleep 1
    done
    eval "me=\$\$"
    stat_of "$me"
    set -- "$me" $stat
    printf "%s %s\n" "$1" "${21}" >lane
    # whoever left without having seen that had taken this away before
    [ -e owner ] || exit 69
    # a terminal that goes away is its end, of which the gateway may not know yet. Not ignored, or what bash reads with would
    # stay when it is killed
    trap : HUP
    hear
    printf "L %s\n" "$lane" >&6
}
