"""The environment that makes a shell mark its prompts and commands (OSC 133), as docs/decisions/0036 has it.

Nothing but variables at the shell's start: no file of the node is written or read for it.
"""

BASH_PROMPT_COMMAND = (
    # the status is bash's to keep: after PROMPT_COMMAND it is what it was. `\builtin`: neither an alias nor a function
    r"""\builtin printf '\e]133;D;%s;nonce=NONCE\a' "$?"; """
    # the start-up files are done now, and whatever they made of the prompt is framed; again, if something sets it anew
    r"""[[ $PS1 == *'133;B;nonce=NONCE'* ]] || PS1='\[\e]133;A;nonce=NONCE\a\]'"$PS1"'\[\e]133;B;nonce=NONCE\a\]'; """
    r"""[[ $PS2 == *'133;B;k=s;nonce=NONCE'* ]] || PS2='\[\e]133;A;k=s;nonce=NONCE\a\]'"$PS2"'\[\e]133;B;k=s;nonce=NONCE\a\]'; """
    r"""__told=$(HISTTIMEFORMAT= \builtin history 1)"""
)
# Expanded between Enter and the command. The line is the newest of the history, if the history has grown since the prompt:
# HISTCONTROL may have left it out, and then the mark has no line. No exclamation mark: in POSIX mode a prompt has a number for it.
BASH_PS0 = (
    r"""\e]133;C;nonce=NONCE$(h=$(HISTTIMEFORMAT= \builtin history 1); """
    r"""if [[ $h && $h == "$__told" ]]; then :; elif [[ $h =~ ^\ *[0-9]+[*\ ]\ (.*) ]]; then """
    r"""LC_ALL=C; h=${BASH_REMATCH[1]:0:4096}; \builtin printf ';cmdline_url='; for ((i = 0; i < ${#h}; i++)); do c=${h:i:1}; """
    r"""case $c in [a-zA-Z0-9/._-]) \builtin printf %s "$c";; """
    r"""*) \builtin printf -v n %d "'$c"; \builtin printf %%%02X "$((n & 255))";; esac; done; fi)\a"""
)
ENVIRONMENT = {
    "bash": {"PROMPT_COMMAND": BASH_PROMPT_COMMAND, "PS0": BASH_PS0},
    # parameters are expanded in prompts, and escapes are not: they are in it as they are
    "dash": {
        "PS1": "\x1b]133;D;$?;nonce=NONCE\a\x1b]133;A;nonce=NONCE\a$ \x1b]133;B;nonce=NONCE\a",
        "PS2": "\x1b]133;A;k=s;nonce=NONCE\a> \x1b]133;B;k=s;nonce=NONCE\a",
    },
    "ash": {
        "PS1": r"\[\e]133;D;$?;nonce=NONCE\a\e]133;A;nonce=NONCE\a\]\u@\h:\w\$ \[\e]133;B;nonce=NONCE\a\]",
        "PS2": r"\[\e]133;A;k=s;nonce=NONCE\a\]> \[\e]133;B;k=s;nonce=NONCE\a\]",
    },
    # only where no start-up file sets the prompt
    "zsh": {
        "PS1": "%{\x1b]133;D;%?;nonce=NONCE\a\x1b]133;A;nonce=NONCE\a%}%n@%m:%~%# %{\x1b]133;B;nonce=NONCE\a%}",
        "PS2": "%{\x1b]133;A;k=s;nonce=NONCE\a%}%_> %{\x1b]133;B;k=s;nonce=NONCE\a%}",
    },
    "fish": {},
}


def environment(shell, nonce):
    return {name: value.replace("NONCE", nonce) for name, value in ENVIRONMENT[shell].items()}
