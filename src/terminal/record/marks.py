"""The environment that makes a shell mark its prompts and commands (OSC 133): the texts of src/session/marks.rs, whose reasons are in
docs/decisions/0036.

Nothing but variables at the shell's start: no file of the node is written or read for it. bash alone knows them.
"""

PROMPT_COMMAND = (
    r""": NONCE; [[ $PS1 == *nonce=NONCE* ]] || { """
    r"""PS1='\[\e]133;D;$?;nonce=NONCE\a\e]133;A;nonce=NONCE\a\]'$PS1'\[\e]133;B;nonce=NONCE\a\]' """
    r"""PS2='\[\e]133;A;k=s;nonce=NONCE\a\]'$PS2'\[\e]133;B;k=s;nonce=NONCE\a\]'; }; """
    r"""\builtin export -n PS0 PROMPT_COMMAND; PROMPT_COMMAND=${PROMPT_COMMAND/: NONCE;*: NONCE/:}; """
    r"""[[ $PROMPT_COMMAND == :* ]] && PROMPT_COMMAND=${PROMPT_COMMAND#:} """
    r"""PROMPT_COMMAND=${PROMPT_COMMAND#"${PROMPT_COMMAND%%[!$' \t\n;']*}"}; """
    r"""[[ "${PROMPT_COMMAND[*]}" == *[![:space:]]* ]] || { \builtin unset PROMPT_COMMAND; [[ -r /etc/bashrc ]] && case $TERM in """
    r"""xterm*|vte*) PROMPT_COMMAND='\builtin printf "\033]0;%s@%s:%s\007" "$USER" "${HOSTNAME%%.*}" "${PWD/#$HOME/\~}"';; """
    r"""screen*) PROMPT_COMMAND='\builtin printf "\033k%s@%s:%s\033\\" "$USER" "${HOSTNAME%%.*}" "${PWD/#$HOME/\~}"';; esac; """
    r"""\builtin eval "$PROMPT_COMMAND"; }; : NONCE"""
)
PS0 = r"\e]133;C;nonce=NONCE\a"


def environment(shell, nonce):
    if shell != "bash":
        return {}
    return {"PROMPT_COMMAND": PROMPT_COMMAND.replace("NONCE", nonce), "PS0": PS0.replace("NONCE", nonce)}
