"""Lines of one shell: typing, editing, history, completion, wraps, several lines."""

from scenarios import ALL, EDITORS, TWO, scenario


@scenario("plain", ALL)
def plain(p):
    p.run("ls")
    p.run("cat notes.txt")
    p.run("pwd")
    p.run("grep -n ERROR logs/error.log")
    p.enter()
    p.prompt()
    p.run("false")
    p.run("wc -l logs/app.log | sort -n")
    p.run("echo \"it's $HOME\" 'and $this'")


@scenario("editing", EDITORS)
def editing(p):
    p.type("ecko helo world")
    p.key("home", "right", "right", "right", "backspace")
    p.type("h")
    p.key("end")
    for _ in "world":
        p.key("left")
    p.key("left", "left")
    p.type("l")
    p.ran("echo hello world")
    p.type("ls /nowhere src")
    p.key("ctrl-w", "ctrl-w")
    if p.shell == "fish":  # a word there ends at a slash
        p.key("ctrl-w")
    p.type("data")
    p.ran("ls data")
    p.type("rm -rf src")
    p.key("ctrl-u")
    p.run("ls src")
    p.type("echo one two three")
    p.key("ctrl-a", "ctrl-k")
    p.run("echo kept")
    p.type("echo abcdef")
    for _ in range(3):
        p.key("backspace")
    p.ran("echo abc")


@scenario("emacs-keys", "bash zsh fish", at=((80, 0), (40, 0), (80, 250)))
def emacs_keys(p):
    p.type("echo alpha beta gamma")
    p.key("alt-b", "alt-b")
    p.type("new ")
    p.key("ctrl-e")
    p.ran("echo alpha new beta gamma")
    p.type("logs ls")
    p.key("ctrl-w", "ctrl-u")
    p.type("ls ")
    p.type("logs")
    p.ran("ls logs")
    p.type("data echo")
    p.key("ctrl-w")
    p.key("ctrl-a", "ctrl-y")
    p.type(" ")
    p.key("ctrl-e", "backspace")
    p.ran("echo data")
    p.type("cat notes.tt", careful=True)
    p.key("left")
    p.type("x", careful=True)
    p.ran("cat notes.txt")
    p.type("pdw", careful=True)
    p.key("ctrl-t")
    p.ran("pwd")


@scenario("history", EDITORS)
def history(p):
    p.run("ls src")
    p.run("cat todo.md")
    p.run("echo third")
    p.key("up", "up", "up")
    p.ran("ls src")
    p.key("up", "up")
    p.type(" again", careful=True)
    p.ran("echo third again")
    p.key("up", "up", "up", "down")
    p.rest()
    p.ran("ls src")
    p.key("up", "up", "up", "up", "up")
    p.key("down", "down", "down", "down", "down", "down")
    p.run("pwd")


@scenario("history-expansion", "bash zsh", at=TWO)
def history_expansion(p):
    p.run("ls src")
    p.type("!!")
    p.enter()
    p.rest()
    p.believe("ls src")
    p.prompt()
    p.run("cat notes.txt todo.md")
    p.type("head -n 1 !$")
    p.ran("head -n 1 todo.md")
    p.type("^head^tail")
    p.ran("tail -n 1 todo.md")


@scenario("search", "bash zsh", at=((80, 0), (40, 0), (80, 150)))
def search(p):
    p.run("grep request logs/app.log | head -n 3")
    p.run("ls data")
    p.run("echo needle in the hay")
    p.run("pwd")
    p.key("ctrl-r")
    p.type("need", careful=True)
    p.rest()
    p.ran("echo needle in the hay")
    p.key("ctrl-r")
    p.type("zzz", careful=True)
    p.rest()
    p.key("ctrl-g")
    p.rest()
    p.run("true")
    p.key("ctrl-r")
    p.type("ls da", careful=True)
    p.rest()
    p.key("ctrl-e")
    p.type(" src", careful=True)
    p.ran("ls data src")
    p.key("ctrl-r")
    p.type("echo", careful=True)
    p.rest()
    p.key("ctrl-c")
    p.prompt()
    p.run("true")


@scenario("completion", EDITORS)
def completion(p):
    p.type("cat not")
    p.key("tab")
    p.rest()
    p.ran("cat notes.txt")
    if p.shell == "fish":
        p.type("cat data/report-2026-")
        p.key("tab")
        p.rest()
        p.type("2.csv", careful=True)
        p.rest()
    else:
        p.type("cat data/rep")
        p.key("tab")
        p.rest()
        p.key("tab")
        p.rest()
        p.type("2", careful=True)
        p.key("tab")
        p.rest()
    p.ran("cat data/report-2026-02.csv")
    p.type("wc -l logs/a")
    p.key("tab")
    p.rest()
    p.ran("wc -l logs/app.log")


@scenario("wraps", ALL)
def wraps(p):
    once = "echo " + " ".join(f"word{n}" for n in range(p.columns // 7))
    p.run(once)
    thrice = "echo " + " ".join(f"longer{n:02}" for n in range(p.columns // 3))
    p.run(thrice)
    # a line that ends with the row
    p.type("echo back and forth over the edge of the row abcdefghijklmnopqrstuvwxyz"[: p.columns + 10])
    p.type("0123456789")
    for _ in range(15):
        p.key("backspace")
    p.type("end")
    line = ("echo back and forth over the edge of the row abcdefghijklmnopqrstuvwxyz"[: p.columns + 10] + "0123456789")[:-15] + "end"
    p.ran(line)


@scenario("wide", ALL)
def wide(p):
    p.run("echo 你好世界 と 日本語")
    p.run("cat data/数据.csv")
    p.run("echo 🎉🚀 done ✓")
    p.run("cat data/résumé.txt")
    p.run("echo " + "漢字仮名" * (p.columns // 9))


@scenario("several-lines", ALL)
def several_lines(p):
    if p.shell == "fish":
        lines = ["for i in 1 2 3", "echo number $i", "end"]
    else:
        lines = ["for i in 1 2 3", "do echo number $i", "done"]
    for line in lines[:-1]:
        p.type(line)
        p.enter()
        p.rest()
    p.type(lines[-1])
    p.ran("\n".join(lines))
    if p.shell != "fish":
        for line in ("cat <<END", "first $HOME", "second"):
            p.type(line)
            p.enter()
            p.rest()
        p.type("END")
        p.ran("cat <<END\nfirst $HOME\nsecond\nEND")
    p.type("echo 'one")
    p.enter()
    p.rest()
    p.type("two'")
    p.ran("echo 'one\ntwo'")
    p.type("echo left \\")
    p.enter()
    p.rest()
    p.type("right")
    # bash's history has it joined
    p.ran("echo left right" if p.shell == "bash" else "echo left \\\nright")
    p.run("true")


@scenario("interrupted", ALL)
def interrupted(p):
    p.run("ls")
    p.type("rm -rf /var/lib/something")
    p.key("ctrl-c")
    p.prompt()
    p.run("echo safe")
    p.type("sleep 30")
    p.enter()
    p.believe("sleep 30")
    p.pause(0.5, 0.8)
    p.key("ctrl-c")
    p.prompt()
    p.type("echo 'half")
    p.enter()
    p.rest()
    p.key("ctrl-c")
    p.prompt()
    p.run("pwd")


@scenario("typed-ahead", ALL, at=((80, 0), (40, 0), (80, 300)))
def typed_ahead(p):
    p.type("sleep 1.5")
    p.enter()
    p.believe("sleep 1.5")
    p.pause(0.3, 0.4)
    p.type("echo early bird")
    p.enter()
    p.believe("echo early bird")
    p.type("ls src")
    p.enter()
    p.believe("ls src")
    p.pause(1.5, 1.6)
    p.prompt(0.4)
    p.run("pwd")


@scenario("more-keys", "bash zsh", at=TWO)
def more_keys(p):
    p.run("cat notes.txt todo.md")
    p.type("ls ")
    p.key("alt-.")
    p.ran("ls todo.md")
    p.type("echo one two")
    p.key("ctrl-w", "ctrl-w", "ctrl-y")
    p.type(" three")
    p.ran("echo one two three" if p.shell == "bash" else "echo one two three")
    p.type("echo shouting")
    p.key("alt-b", "alt-u")
    p.ran("echo SHOUTING")
    p.type("echo alpha beta")
    p.key("ctrl-a", "alt-f", "alt-d")
    p.ran("echo beta" if p.shell == "bash" else "echo  beta")
    p.type("echo undone")
    p.key("ctrl-w")
    p.key("ctrl-_")
    p.ran("echo undone")


@scenario("vi", "bash zsh", at=TWO, rc={"bash": "PS1='\\u@\\h:\\w\\$ '\nset -o vi\n", "zsh": "PROMPT='%n@%m:%~%# '\nbindkey -v\n"})
def vi(p):
    p.run("echo first")
    p.type("ls sc")
    p.key("esc")
    p.rest(0.6)
    p.type("x", careful=True)
    p.type("a", careful=True)
    p.type("rc", careful=True)
    p.ran("ls src")
    p.key("esc")
    p.rest(0.6)
    p.type("kk", careful=True)
    p.rest()
    p.type("A", careful=True)
    p.type(" more", careful=True)
    p.ran("echo first more")
    p.type("cat wrong.txt")
    p.key("esc")
    p.rest(0.6)
    p.type("dd", careful=True)
    p.type("i", careful=True)
    p.run("pwd")


@scenario("again", "bash zsh fish dash", at=((80, 0), (40, 80)))
def again(p):
    for _ in range(3):
        p.run("ls src")
    if p.shell != "dash":
        for _ in range(2):
            p.key("up")
            p.rest()
            p.ran("ls src")
    p.run("cat notes.txt")
    p.run("cat notes.txt")


@scenario("various", ALL, at=((80, 0), (200, 60)))
def various(p):
    p.run("cd logs")
    p.run("ls; pwd && cd ..")
    p.run("  echo with blanks before" if p.shell != "fish" else "echo with blanks before")
    p.run("alias ll='ls -l'")
    p.run("ll src | tail -n 1 | cut -c 1-10")
    p.run("cd /etc")
    p.run("cat nowhere.txt 2>&1")
    p.run("nosuchcommand --help")
    p.run("cd - > /dev/null")
    p.run("echo a > /tmp/a; cat < /tmp/a >> /tmp/b 2>&1")
    p.run("echo '# not a prompt' '$ quoted' '> x'")
    if p.shell in ("bash", "dash", "ash"):
        p.run("greet() { echo \"hi $1\"; }; greet ada")
    p.run("test -e /tmp/b && echo yes || echo no")


@scenario("combining", ALL, at=((80, 0), (40, 100)))
def combining(p):
    p.run("echo cafe\u0301 e\u0301te\u0301")
    p.run("echo mixed 漢 e\u0301 字 end")
    p.run("echo naïve façade Ångström")
    if p.shell in ("bash", "zsh", "fish"):
        p.type("echo 日本x語")
        p.key("left", "backspace")
        p.ran("echo 日本語")
        p.type("echo 🎉🎉")
        p.key("backspace")
        p.type(" one")
        p.ran("echo 🎉 one")


@scenario("end-of-input", "bash zsh fish dash", at=TWO)
def end_of_input(p):
    p.run("ls")
    p.run("pwd")
    p.key("ctrl-d")
    p.terminal.wait(0.5)


@scenario("pasted", ALL, at=((80, 0), (40, 150)))
def pasted(p):
    p.paste("echo pasted all at once")
    p.rest()
    p.ran("echo pasted all at once")
    p.type("ls ")
    p.paste("src data")
    p.type(" logs")
    p.ran("ls src data logs")
    p.paste("echo " + "a long paste that goes over the end of the row and on " * 2 + "end")
    p.rest()
    p.ran("echo " + "a long paste that goes over the end of the row and on " * 2 + "end")
    p.paste("grep -n 'INFO' logs/app.log | awk '{print $1}' | sort | uniq -c | head -n 2")
    p.rest()
    p.ran("grep -n 'INFO' logs/app.log | awk '{print $1}' | sort | uniq -c | head -n 2")


@scenario("pasted-lines-marked", "bash zsh fish", at=((80, 0), (40, 0), (80, 200)), note="a paste of several lines is one command in zsh and fish; bash runs its lines one by one")
def pasted_lines_marked(p):
    text = "echo one\necho two\necho three"
    p.paste(text)
    p.rest()
    if p.shell == "bash":
        p.believe("echo one")
        p.believe("echo two")
        text = "echo three"
    p.ran(text)
    p.run("pwd")
    text = "if true\nthen\n  echo yes\nfi" if p.shell != "fish" else "if true\n    echo yes\nend"
    p.paste(text)
    p.rest()
    p.ran(text)
    p.run("ls src")


@scenario("pasted-lines", ALL, at=((80, 0), (40, 0), (80, 120)))
def pasted_lines(p):
    lines = ["echo one", "ls src", "cat notes.txt | wc -l", "pwd"]
    p.burst("\r".join(lines) + "\r")
    for line in lines:
        p.believe(line)
    p.prompt(0.5)
    p.run("echo after")
    lines = ["cd logs", "ls", "sleep 0.4", "cd ..", "echo left open"]
    p.burst("\r".join(lines))
    p.prompt(0.8)
    for line in lines[:-1]:
        p.believe(line)
    p.ran(lines[-1])
