"""What happens to the screen around lines: prompts of all kinds, sizes, clearing, other output over a half-typed line."""

from scenarios import ALL, EDITORS, TWO, scenario

PLAIN = {"bash": "PS1='\\u@\\h:\\w\\$ '\n", "zsh": "PROMPT='%n@%m:%~%# '\n", "fish": "set -g fish_greeting\n"}


def usual(p):
    """A bit of everything, for prompts."""
    p.run("ls")
    p.type("echo helo")
    p.key("backspace")
    p.type("lo")
    p.ran("echo hello")
    if p.shell != "dash":
        p.key("up", "up")
        p.rest()
        p.ran("ls")
        p.type("cat not")
        p.key("tab")
        p.rest()
        p.ran("cat notes.txt")
    p.type("rm -rf /nothing")
    p.key("ctrl-c")
    p.prompt()
    p.run("cd logs")
    p.run("echo " + "over the end of the row " * (p.columns // 22))
    p.run("false")
    p.run("cat error.log | sort -r")


def prompt(kind, shells, at=TWO, rc=None, env=None, note=""):
    scenario(kind, shells, at, rc=rc, env=env, note=note)(usual)


prompt("prompt-two-lines", "bash zsh fish ash", at=((80, 0), (40, 90)), rc={
    "bash": "PS1='\\[\\e[36m\\]┌─[\\u@\\h]─[\\w]\\[\\e[0m\\]\\n└─\\$ '\n",
    "zsh": "PROMPT=$'%F{cyan}%n@%m %~%f\\n%# '\n",
    "fish": "set -g fish_greeting\nfunction fish_prompt\n  echo (set_color cyan)(prompt_pwd)(set_color normal)\n  echo '❯ '\nend\n",
}, env={"ash": {"PS1": "[\\u@\\h] \\w\n\\$ "}})  # fmt: skip
prompt("prompt-colours", "bash zsh fish ash", rc={
    "bash": "__git() { printf ' (main*)'; }\nPS1='\\[\\e]0;\\u@\\h: \\w\\a\\]\\[\\e[01;32m\\]\\u@\\h\\[\\e[00m\\]:\\[\\e[01;34m\\]\\w\\[\\e[33m\\]$(__git)\\[\\e[00m\\]\\$ '\nalias ls='ls --color=auto' grep='grep --color=auto'\n",
    "zsh": "setopt prompt_subst\nPROMPT='%B%F{green}➜  %F{cyan}%1~%f %F{blue}git:(%F{red}main%F{blue})%f%b '\nalias ls='ls --color=auto'\n",
    "fish": "",
}, env={"ash": {"PS1": "\\[\\e[1;32m\\]\\u@\\h\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]\\$ "}})  # fmt: skip
prompt("prompt-right", "zsh fish", at=((80, 0), (40, 0), (200, 150)), rc={
    "zsh": "PROMPT='%~ %# '\nRPROMPT='%F{yellow}[%?] %n@%m%f'\n",
    "fish": "set -g fish_greeting\nfunction fish_right_prompt\n  echo (set_color yellow)\"[$status] web-1\"(set_color normal)\nend\n",
})  # fmt: skip
prompt("prompt-tricky", ALL, rc={
    "bash": "PS1='a$ b> c# [\\W] >>> '\n",
    "zsh": "PROMPT='a$ b> c# [%1~] >>> '\n",
    "fish": "set -g fish_greeting\nfunction fish_prompt\n  echo -n 'a$ b> c# >>> '\nend\n",
}, env={"dash": {"PS1": "a$ b> c# >>> "}, "ash": {"PS1": "a$ b> c# [\\W] >>> "}})  # fmt: skip
prompt("prompt-time", "bash zsh fish", rc={
    "bash": "PS1='[\\t] \\u:\\w\\$ '\n",
    "zsh": "PROMPT='%* %n:%~%# '\n",
    "fish": "set -g fish_greeting\nfunction fish_prompt\n  echo -n (date +%H:%M:%S.%N | string sub -l 11)' > '\nend\n",
})  # fmt: skip
prompt("prompt-empty", "bash zsh dash", at=((80, 0), (40, 0)), rc={"bash": "PS1=\n", "zsh": "PROMPT=\n"}, env={"dash": {"PS1": ""}})
prompt("prompt-long", ALL, at=((80, 0), (40, 0), (40, 180)), rc={
    "bash": "PS1='[\\u@\\h.internal.example.com:/var/lib/applications/releases/current \\W]\\$ '\n",
    "zsh": "PROMPT='[%n@%m.internal.example.com:/var/lib/applications/releases/current %1~]%# '\n",
    "fish": "set -g fish_greeting\nfunction fish_prompt\n  echo -n '[ada@web-1.internal.example.com:/var/lib/applications/releases/current]> '\nend\n",
}, env={"dash": {"PS1": "[ada@web-1.internal.example.com:/var/lib/applications/releases]$ "},
        "ash": {"PS1": "[\\u@\\h.internal.example.com:/var/lib/applications \\W]\\$ "}})  # fmt: skip
prompt("prompt-plain-dollar", "bash zsh ash", at=((80, 0), (40, 0)), rc={"bash": "PS1='$ '\n", "zsh": "PROMPT='$ '\n"}, env={"ash": {"PS1": "$ "}})
prompt("prompt-powerline", "bash zsh", at=((80, 0), (80, 110)), rc={
    "bash": "PS1='\\[\\e[44;37m\\] \\u \\[\\e[34;42m\\]\ue0b0\\[\\e[30m\\] \\w \\[\\e[0;32m\\]\ue0b0\\[\\e[0m\\] '\n",
    "zsh": "PROMPT='%K{blue}%F{white} %n %K{green}%F{blue}\ue0b0%F{black} %~ %k%F{green}\ue0b0%f '\n",
})  # fmt: skip
scenario("prompt-root", "bash zsh dash ash", at=TWO, user="root", env={"dash": {"PS1": "# "}})(usual)


def SKEL():
    with open("/etc/skel/.bashrc", encoding="utf-8") as rc:
        return rc.read()


prompt("debian-bashrc", "bash", at=((80, 0), (40, 0), (200, 100)), rc={"bash": SKEL})


@scenario("resized", ALL, at=((80, 0), (40, 0), (80, 150)))
def resized(p):
    p.run("ls")
    p.type("echo typed before the ")
    p.resize(p.columns - 23 if p.columns > 40 else 60, 24)
    p.type("size changed and after it")
    p.ran("echo typed before the size changed and after it")
    p.run("cat notes.txt")
    p.type("echo a longer line that goes over the end of a narrow row ")
    p.resize(44, 20)
    p.type("and then some")
    p.resize(100, 30)
    p.ran("echo a longer line that goes over the end of a narrow row and then some")
    p.run("pwd")


@scenario("resized-meanwhile", "bash zsh fish", at=TWO)
def resized_meanwhile(p):
    p.type("sleep 1")
    p.enter()
    p.believe("sleep 1")
    p.terminal.wait(0.3)
    p.resize(60, 20)
    p.prompt()
    p.run("echo narrower now")
    p.resize(132, 40)
    p.run("echo and wider")
    p.run("ls logs")


@scenario("cleared", EDITORS, at=((80, 0), (40, 130)))
def cleared(p):
    p.run("cat notes.txt")
    p.type("echo half of ")
    p.key("ctrl-l")
    p.rest()
    p.type("the line")
    p.ran("echo half of the line")
    p.run("ls")
    p.run("clear")
    p.run("pwd")
    p.key("ctrl-l")
    p.rest()
    p.run("ls src")


@scenario("no-newline", ALL, at=((80, 0), (40, 100)))
def no_newline(p):
    p.run("printf 'no newline'")
    p.run("ls src")
    p.run("printf '%s' " + "wide" * (p.columns // 4))
    p.run("printf 'ends with $ '")
    p.run("pwd")


@scenario("in-the-background", "bash zsh fish dash", at=((80, 0), (40, 0), (80, 180)), rc={
    "bash": PLAIN["bash"] + "set -b\n",
})  # fmt: skip
def in_the_background(p):
    p.run("sleep 0.8 &")
    p.type("echo typed while")
    p.terminal.wait(1.2)
    p.type(" it ended")
    p.ran("echo typed while it ended")
    p.run("sh noise.sh &")
    p.type("echo the noise")
    p.terminal.wait(1.3)
    p.type(" is over it")
    p.ran("echo the noise is over it")
    p.run("pwd")


@scenario("full-screen-left", "bash zsh dash", at=((80, 0), (80, 90)))
def full_screen_left(p):
    p.run("ls")
    p.run("printf '\\033[?1049h\\033[2J\\033[H'")
    p.run("echo in the other screen")
    p.run("ls src")
    p.run("printf '\\033[?1049l'")
    p.run("echo back")


@scenario("suggested", "fish", at=((80, 0), (40, 0), (80, 200)))
def suggested(p):
    p.run("echo something rather long to type")
    p.type("echo some")
    p.rest()
    p.ran("echo some")
    p.type("echo something r", careful=True)
    p.rest()
    p.key("right")
    p.rest()
    p.ran("echo something rather long to type")
    p.type("echo something rat", careful=True)
    p.rest()
    p.key("alt-f")
    p.rest()
    p.ran("echo something rather")
    p.type("ls s")
    p.rest()
    p.key("backspace")
    p.type("data")
    p.ran("ls data")


@scenario("plugins", "zsh", at=((80, 0), (40, 0), (80, 200), (200, 0)), rc={
    "zsh": PLAIN["zsh"] + "source /usr/share/zsh-autosuggestions/zsh-autosuggestions.zsh\nsource /usr/share/zsh-syntax-highlighting/zsh-syntax-highlighting.zsh\n",
})  # fmt: skip
def plugins(p):
    p.run("echo something rather long to type")
    p.type("echo some")
    p.rest()
    p.ran("echo some")
    p.type("echo something r", careful=True)
    p.rest(0.4)
    p.key("end")
    p.rest()
    p.ran("echo something rather long to type")
    p.run("ls 'quoted' \"$HOME\" 2>/dev/null")
    p.run("cat notes.txt | grep -c milk")


@scenario("menu", "zsh fish", at=((80, 0), (40, 0), (80, 150)), rc={
    "zsh": PLAIN["zsh"] + "autoload -Uz compinit && compinit -u\nzstyle ':completion:*' menu select\n",
})  # fmt: skip
def menu(p):
    p.type("cat data/report", careful=True)
    p.key("tab")
    p.rest(0.3)
    p.key("tab")
    p.rest(0.3)
    p.key("down" if p.shell == "zsh" else "right")
    p.rest(0.3)
    # Enter takes what is chosen, another one runs it
    p.key("enter")
    p.rest(0.3)
    p.enter()
    p.prompt()
    p.believe(None)
    p.type("ls d", careful=True)
    p.key("tab")
    p.rest(0.3)
    p.key("tab")
    p.rest(0.3)
    p.key("ctrl-c")
    p.rest(0.3)
    p.key("ctrl-c")
    p.prompt()
    p.run("pwd")


@scenario("completion-listed", "bash zsh ash", at=((80, 0), (40, 100)))
def completion_listed(p):
    p.type("ls d", careful=True)
    p.key("tab")
    p.rest()
    p.key("tab")
    p.rest()
    p.type("ata", careful=True)
    p.ran("ls data") if p.shell != "zsh" else p.key("ctrl-c")
    p.prompt()
    p.type("ca", careful=True)
    p.key("tab", "tab")
    p.rest(0.4)
    p.key("ctrl-c")
    p.prompt()
    p.run("pwd")
