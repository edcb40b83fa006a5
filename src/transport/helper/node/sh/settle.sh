# The directory of an owner: made in the first place that takes it, and with it gone what dead owners left there.

# $where, in which this then is
make_directory() {
    for base in "${XDG_RUNTIME_DIR:-}" "${HOME:-}" "$home" /tmp; do
        case $base in /*) ;; *) continue;; esac
        if [ "$base" != /tmp ]; then
            { [ -d "$base" ] && [ ! -h "$base" ] && [ -O "$base" ] && [ -w "$base" ] && [ -x "$base" ]; } || continue
        fi
        # the end of the name is made here and now, so that nobody who sees the arguments can take it first
        where=$(mktemp -d "$base/.portcullis-$directory-XXXXXXXXXX" 2>/dev/null)
        sweep "$base"
        # a full disk is no reason to fail where another will do
        if [ -n "$where" ]; then
            if cd "$where" && { echo x >size; } 2>/dev/null && rm size; then
                return
            fi
            cd /
            rmdir "$where"
        fi
    done
    die "no directory for the helper could be made: the disk may be full"
}

# removes what dead helpers of this user left in $1. Ours is there by then: of two that start the same, at least one sees
# the other, and nothing runs twice
sweep() {
    set +f
    for left in "$1"/.portcullis-*; do
        set -f
        { [ -d "$left" ] && [ ! -h "$left" ] && [ -O "$left" ] && [ "$left" != "$where" ]; } || continue
        case $left in "$1/.portcullis-$directory"-*)
            [ -z "$where" ] || rmdir "$where"
            die "this was started already" 73
            ;;
        esac
        if [ -s "$left/owner" ]; then
            read -r pid since machine <"$left/owner"
            # a home may be that of many machines, and their processes are not here
            [ "$machine" != "$(uname -n)" ] || is_still "$pid" "$since" || rm -rf "$left"
        elif [ -z "$(find "$left" -prune -mmin +1 2>/dev/null)" ]; then
            # a young one may be about to take its lock
            continue
        elif [ -e "$left/lock" ]; then
            # the Python helper holds a lock while it lives
            flock -n "$left/lock" rm -rf "$left" 2>/dev/null
        else
            rm -rf "$left"
        fi
    done
    set -f
}

# ends the in lane and removes the directory. One that comes now sees that it has no owner
leave() {
    rm -f owner
    pid=
    { read -r pid since <lane; } 2>/dev/null
    [ -z "$pid" ] || ! is_still "$pid" "$since" || kill "$pid"
    cd /
    # whoever still writes there makes rm fail
    for pause in 1 1 1 1; do
        rm -rf "$where"
        [ -e "$where" ] || return
        sleep "$pause"
    done
}
