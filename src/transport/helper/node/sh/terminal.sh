# A command on a terminal, which script(1) of util-linux makes.

# $1 as one word for another shell: into $quoted
quote() {
    quoted=
    rest=$1
    while :; do
        case $rest in *"$apostrophe"*) ;; *) break;; esac
        quoted=$quoted${rest%%"$apostrophe"*}$apostrophe\\$apostrophe$apostrophe
        rest=${rest#*"$apostrophe"}
    done
    quoted=$apostrophe$quoted$rest$apostrophe
}

# the terminal modes of RFC 4254, section 8, in the words of stty: into $settings
set_modes() {
    settings=
    IFS=,
    for mode in $modes; do
        opcode=${mode%%:*}
        value=${mode#*:}
        word=
        case $opcode in
        1) word=intr;; 2) word=quit;; 3) word=erase;; 4) word=kill;; 5) word=eof;; 6) word=eol;; 7) word=eol2;;
        8) word=start;; 9) word=stop;; 10) word=susp;; 12) word=rprnt;; 13) word=werase;; 14) word=lnext;;
        16) word=swtch;; 18) word=discard;;
        esac
        if [ -n "$word" ]; then
            # a character, as stty reads it: 255 is the word of the RFC for none, a control character is ^ and a letter
            if [ "$value" = 0 ] || [ "$value" = 255 ]; then
                value=undef
            elif [ "$value" = 127 ]; then
                value="^?"
            elif [ "$value" -lt 32 ]; then
                value=$((value + 64))
                value=^$(printf "\\$((value / 64))$((value / 8 % 8))$((value % 8))")
            fi
            settings="$settings,$word $value"
            continue
        fi
        case $opcode in
        30) word=ignpar;; 31) word=parmrk;; 32) word=inpck;; 33) word=istrip;; 34) word=inlcr;; 35) word=igncr;;
        36) word=icrnl;; 37) word=iuclc;; 38) word=ixon;; 39) word=ixany;; 40) word=ixoff;; 41) word=imaxbel;;
        42) word=iutf8;; 50) word=isig;; 51) word=icanon;; 52) word=xcase;; 53) word=echo;; 54) word=echoe;;
        55) word=echok;; 56) word=echonl;; 57) word=noflsh;; 58) word=tostop;; 59) word=iexten;; 60) word=echoctl;;
        61) word=echoke;; 70) word=opost;; 71) word=olcuc;; 72) word=onlcr;; 73) word=ocrnl;; 74) word=onocr;;
        75) word=onlret;; 92) word=parenb;; 93) word=parodd;;
        90|91) [ "$value" = 0 ] || settings="$settings,cs$((opcode - 83))";;
        esac
        [ -z "$word" ] || { [ "$value" != 0 ] || word=-$word; settings="$settings,$word"; }
    done
    settings=${settings#,}
    IFS=$ifs
}

# inside the new terminal: sane modes, the modes of the client, the size, and only then the command. Its arguments are the
# home, the settings, columns, rows, and the words of the command. Settings that stty refuses together are tried one by
# one; and a size that came meanwhile is taken until there is no newer one
in_terminal="t=\$(tty); { echo \$\$ >leader; stty sane; IFS=\", \"; [ -z \"\$1\" ] || stty \$1 || {
IFS=,; for x in \$1; do IFS=\" \"; stty \$x; done; }; IFS=\" \"; echo \"\$t\" >tty; s=\"\$2 \$3\"; stty cols \${s% *} rows \${s#* }; while [ -s size ]; do
read -r x <size; [ \"\$x\" != \"\$s\" ] || break; s=\$x; stty cols \${s% *} rows \${s#* }; done; cd \"\$0\" || cd /
} 2>/dev/null; shift 3; unset IFS"

run_in_terminal() {
    apostrophe=$(printf "\\047")
    set_modes
    # $pty is columns, rows, and two pixel sizes that stty can not set
    cols=${pty%%,*}
    rows=${pty#*,}
    rows=${rows%%,*}
    line="exec sh -c"
    inner="$in_terminal; exec env $defaults -i SSH_TTY=\"\$t\" \"\$@\""
    for argument in "$inner" "$home" "$settings" "$cols" "$rows" "$@"; do
        quote "$argument"
        line="$line $quoted"
    done
    SHELL=/bin/sh setsid sh -c "echo \$\$ >pid; exec \"\$@\"" sh script -qfec "$line" /dev/null \
        <in >out 2>/dev/null 3<&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
}
