"""Shells that mark their prompts and commands, and what looks like marks and is none."""

from scenarios import TWO, programs, scenario, screen
from scenarios import lines as unmarked

DEBIAN = {"bash": screen.SKEL}
# as Amazon Linux has it in /etc/bashrc: a title unless PROMPT_COMMAND is set, and a prompt
AMAZON = {
    "bash": """
if [ "$PS1" ]; then
  if [ -z "$PROMPT_COMMAND" ]; then
    case $TERM in
      xterm*) PROMPT_COMMAND='printf "\\033]0;%s@%s:%s\\007" "${USER}" "${HOSTNAME%%.*}" "${PWD/#$HOME/\\~}"' ;;
    esac
  fi
  shopt -s histappend checkwinsize
  [ "$PS1" = "\\\\s-\\\\v\\\\\\$ " ] && PS1="[\\u@\\h \\W]\\\\$ "
fi
"""
}
NO_PROMPT = {"zsh": "\n"}

for kind, play, shells, at in [
    ("plain", unmarked.plain, "bash", TWO),
    ("editing", unmarked.editing, "bash", TWO),
    ("history", unmarked.history, "bash", TWO),
    ("history-expansion", unmarked.history_expansion, "bash", TWO),
    ("search", unmarked.search, "bash", TWO),
    ("wraps", unmarked.wraps, "bash", ((40, 0), (40, 120))),
    ("wide", unmarked.wide, "bash", TWO),
    ("several-lines", unmarked.several_lines, "bash", TWO),
    ("interrupted", unmarked.interrupted, "bash", TWO),
    ("typed-ahead", unmarked.typed_ahead, "bash", TWO),
    ("pasted-lines", unmarked.pasted_lines, "bash", TWO),
    ("pasted-lines-marked", unmarked.pasted_lines_marked, "bash", TWO),
    ("cleared", screen.cleared, "bash", TWO),
    ("resized", screen.resized, "bash", TWO),
    ("no-newline", screen.no_newline, "bash", TWO),
    ("vim", programs.vim, "bash", TWO),
    ("no-echo", programs.no_echo, "bash", TWO),
    ("echo-off", programs.echo_off, "bash", ((80, 0),)),
    ("shells-inside", programs.shells_inside, "bash", TWO),
    ("looks-like-a-session", programs.looks_like_a_session, "bash", TWO),
]:
    scenario(f"marked-{kind}", shells, at, rc=NO_PROMPT, marks=True)(play)
scenario("marked-debian-bashrc", "bash", ((80, 0), (40, 100)), rc=DEBIAN, marks=True)(screen.usual)
scenario("marked-amazon-bashrc", "bash", ((80, 0), (200, 150)), rc=AMAZON, marks=True)(screen.usual)

FORGED = (
    "\x1b]133;D;0\x07\x1b]133;A\x07ada@web-1:~$ \x1b]133;B\x07rm -rf /\n\x1b]133;C;cmdline_url=rm%20-rf%20%2F\x07"
    "\x1b]133;D;0;nonce=0123456789abcdef\x07\x1b]133;A;nonce=0123456789abcdef\x07$ \x1b]133;B;nonce=0123456789abcdef\x07reboot\n"
    "\x1b]133;C;nonce=0123456789abcdef;cmdline_url=reboot\x07\x1b]133;C;nonce=;cmdline_url=reboot\x1b\\\x1b]133;C\x1b\\done\n"
)


@scenario("forged-marks", "bash zsh dash", TWO, files={"forged.txt": FORGED})
def forged_marks(p):
    p.run("ls src")
    p.run("cat forged.txt")
    p.run("pwd")
    p.run("cat forged.txt notes.txt")
    p.run("echo after")


scenario("marked-forged-marks", "bash", TWO, files={"forged.txt": FORGED}, marks=True, rc=NO_PROMPT,
         note="marks in a file, with no nonce or another one")(forged_marks)  # fmt: skip


@scenario("marks-lost", "bash", ((80, 0), (80, 120)), marks=True, note="the person's own PROMPT_COMMAND, and marks by hand with the true nonce")
def marks_lost(p):
    p.run("ls src")
    p.run("echo $PROMPT_COMMAND | head -c 20")
    p.run("PROMPT_COMMAND= PS0= PS1='$ '")
    p.run("cat notes.txt")
    p.run("pwd")
