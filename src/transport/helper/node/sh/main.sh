# How every program begins: the options, the right user, a session of its own.

# $1 is the helper's own text, by which it starts itself again; $2 the options; $3 what to run
begin() {
    text=$1
    options=$2
    given=$3
    ifs=$IFS
    role= lane=0 directory= credit=0 lease=40 job= pty= term= modes= environment= to_come= ends= no_input= by_sh= user= is_owner=
    IFS=";"
    for option in $options; do
        case $option in
        r=*) role=${option#*=};;
        d=*) directory=${option#*=};;
        a=*) lane=${option#*=};;
        c=*) credit=${option#*=};;
        l=*) lease=${option#*=};;
        w=*) job=${option#*=};;
        t=*) pty=${option#*=};;
        tn=*) term=${option#*=};;
        m=*) modes=${option#*=};;
        e=*) environment=${option#*=};;
        ew=*) to_come=${option#*=};;
        sc=*) ends=${option#*=};;
        n=*) no_input=${option#*=};;
        s=*) by_sh=${option#*=};;
        u=*) user=${option#*=};;
        own=*) is_owner=${option#*=};;
        esac
    done
    IFS=$ifs
    again="eval \"\$1\""
    if [ -n "$user" ] && [ "$(id -u)" = 0 ]; then
        decode "$user"
        become "$decoded"
    fi
}

become() {
    [ "$1" != "$(id -un)" ] || return
    # only a root agent comes here with a user still to become; others went through sudo
    group=$(id -g "$1" 2>/dev/null) || die "there is no user $1 on this node" 67
    unset XDG_RUNTIME_DIR HOME
    if setpriv --reuid "$1" --regid "$group" --init-groups true 2>/dev/null; then
        exec setpriv --reuid "$1" --regid "$group" --init-groups sh -c "$again" portcullis "$text" "$options" "$given"
    fi
    exec su -s /bin/sh -c "$again" "$1" portcullis "$text" "$options" "$given"
}

# the owner, as the leader of a session and a process group of its own, which can be ended as one
start_owner() {
    if [ -n "$is_owner" ]; then
        own
        return
    fi
    command -v setsid >/dev/null || die "this node has neither python3 nor setsid(1); install either" 71
    stat_of self
    set -- $stat
    eval "me=\$\$"
    if [ "$3" = "$me" ]; then
        # a leader of a process group can not begin a session, so setsid does it in a child and would not wait for it
        setsid sh -c "$again" portcullis "$text" "own=1;$options" "$given"
        exit
    fi
    exec setsid sh -c "$again" portcullis "$text" "own=1;$options" "$given"
}
