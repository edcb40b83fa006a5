# The job of a shell or a command line.

. ./terminal.sh

has_stderr() {
    [ -z "$pty" ]
}

# a command too long for a parameter: only its SHA-256 is known yet
prepare_job() {
    case $given in
    sha256:*)
        printf "%s\n" "${given#sha256:}" >want
        true >line
        ;;
    esac
}

run_job() {
    line=$given
    case $line in
    sha256:*)
        read -r go <&9
        line=$(cat line; echo .)
        line=${line%.}
        rm line
        ;;
    base64:*)
        line=$(printf "%s" "${line#base64:}" | base64 -d; echo .)
        line=${line%.}
        ;;
    esac
    if [ -n "$pty" ]; then
        case $(script -V 2>/dev/null) in
        *util-linux*) ;;
        *)
            say "F a terminal needs python3 or script(1) of util-linux on this node; install either"
            exec sleep "$lease"
            ;;
        esac
    fi
    # a login's environment: nothing of the agent's own but what says where and when this node is
    set -- USER="$user" LOGNAME="$user" HOME="$home" SHELL="$shell" PATH="$PATH"
    [ -z "${LANG+x}" ] || set -- "$@" LANG="$LANG"
    [ -z "${TZ+x}" ] || set -- "$@" TZ="$TZ"
    [ -z "${XDG_RUNTIME_DIR+x}" ] || set -- "$@" XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR"
    IFS=,
    for variable in $environment; do
        decode "${variable%%:*}"
        name=$decoded
        decode "${variable#*:}"
        set -- "$@" "$name=$decoded"
    done
    IFS=$ifs
    if [ -n "$pty" ]; then
        decode "${term:-dumb}"
        set -- "$@" TERM="$decoded"
    fi
    case $job in
    shell) set -- "$@" "$shell" -l;;
    *) set -- "$@" "$shell" -c "$line";;
    esac
    if [ -n "$pty" ]; then
        run_in_terminal "$@"
    else
        run_piped "$@"
    fi
}

# runs the command to its end; the words of its environment and its program are the arguments
run_piped() {
    set -- setsid sh -c "echo \$\$ >pid; cd \"\$0\" 2>/dev/null || cd /; exec env -i \"\$@\"" "$home" "$@"
    if [ "$no_input" = 1 ]; then
        "$@" </dev/null >out 2>err 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    else
        "$@" <in >out 2>err 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    fi
}
