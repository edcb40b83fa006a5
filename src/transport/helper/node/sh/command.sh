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
        ;;
    esac
}

run_job() {
    line=$given
    # what is ignored when a shell begins it can not undo, and everything that it starts inherits it
    defaults=
    while read -r field ignored; do
        [ "$field" != SigIgn: ] || break
    done </proc/self/status
    case $ignored in
    *[!0]*) ! env --default-signal true 2>/dev/null || defaults=--default-signal;;
    esac
    # what is to come is whole once it is there, and whoever brings it rings; perhaps twice
    while { [ -n "$to_come" ] && [ ! -e variables ]; } || { [ -e want ] && [ ! -e line ]; }; do
        read -r go <&9
    done
    case $line in
    sha256:*)
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
    # a login's environment, as sshd has it: nothing of the agent's own but what says where and when this node is
    mail=/var/spool/mail
    [ ! -d /var/mail ] || mail=/var/mail
    set -- USER="$user" LOGNAME="$user" HOME="$home" SHELL="$shell" PATH="$PATH" MAIL="$mail/$user"
    if [ -n "$ends" ]; then
        IFS=,
        set -- $ends "$@"
        IFS=$ifs
        # bash reads .bashrc before a command where there is an SSH_CLIENT
        connection="$1 $2 $3 $4"
        client="$1 $2 $4"
        shift 4
        set -- "$@" SSH_CONNECTION="$connection" SSH_CLIENT="$client"
    fi
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
    if [ -n "$to_come" ]; then
        take_variables
        set -- "$@" sh -c "$import" "$where"
    fi
    # what was decided about is the line as this shell reads it; who has no shell of the usual ones gets none by that
    if [ "$by_sh" = sh ]; then
        case ${shell##*/} in
        sh|bash|dash|ash|ksh|mksh|zsh|fish|csh|tcsh|busybox) ;;
        *) line="echo portcullis: the shell of this user takes no command lines >&2; exit 126";;
        esac
        shell=/bin/sh
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

# what came over the lane, for a shell that takes it into its environment: into the file exports. In arguments everybody
# could read it
take_variables() {
    apostrophe=$(printf "\\047")
    while IFS= read -r variable; do
        # the dot keeps the newlines at the end
        value=$(printf "${variable#*=}.")
        quote "${value%.}"
        # some names are not to be had in some shells
        printf "command export %s=%s || true\n" "${variable%%=*}" "$quoted"
    done <variables >exports
    rm variables
}

# the shell between: its arguments are the directory of the owner, and what is to be run
import="{ . \"\$0/exports\"; rm \"\$0/exports\"; unset PWD OLDPWD SHLVL; } 2>/dev/null; exec \"\$@\""

# runs the command to its end; the words of its environment and its program are the arguments
run_piped() {
    set -- setsid sh -c "echo \$\$ >pid; cd \"\$0\" 2>/dev/null || cd /; exec env $defaults -i \"\$@\"" "$home" "$@"
    if [ "$no_input" = 1 ]; then
        "$@" </dev/null >out 2>err 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    else
        "$@" <in >out 2>err 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    fi
}
