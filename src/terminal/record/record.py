#!/usr/bin/env python3
"""Records what people do in shells, with the commands that the shells then ran.

    record.py [--out FOLDER] [--jobs N] [--list] [--keep-going] [PATTERN…]

A recording is NAME.jsonl and NAME.truth.jsonl in src/terminal/corpus, where README.md has their format, the rules of the
corpus, and what has to be installed. PATTERN is a part of names (`bash-40`, `vim`). Runs as root: each recording is made in a
world of its own (world.py). A scenario that did something else than it says is told and not written.
"""

import argparse
import concurrent.futures
import hashlib
import importlib
import json
import os
import random
import re
import subprocess
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import marks  # noqa: E402
import scenarios  # noqa: E402
import truth  # noqa: E402
import world  # noqa: E402
from person import Person  # noqa: E402

import terminal  # noqa: E402

for module in sorted(os.listdir(os.path.join(HERE, "scenarios"))):
    if module.endswith(".py") and module != "__init__.py":
        importlib.import_module("scenarios." + module[:-3])

PROMPTS = {
    "bash": "PS1='\\u@\\h:\\w\\$ '\n",
    "zsh": "PROMPT='%n@%m:%~%# '\n",
    "fish": "set -g fish_greeting\n",
}
RC_FILES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}
PS1 = {"dash": "$ ", "ash": "\\u@\\h:\\w\\$ "}


def takes():
    """Every recording there should be: its name, scenario, shell, columns and lag."""
    for one in scenarios.SCENARIOS.values():
        for shell in one.shells:
            for columns, lag in one.at:
                name = f"{one.kind}-{shell}-{columns}" + (f"-lag{lag}" if lag else "")
                yield name, one, shell, columns, lag


def half(name):
    """Which half a recording belongs to says its name alone."""
    return "held-out" if hashlib.sha256(name.encode()).digest()[0] & 1 else "tune"


def argv_of(shell):
    return {
        "bash": ["bash"],
        "zsh": ["zsh"],
        "fish": ["fish"],
        "dash": ["dash"],
        "ash": ["busybox", "ash"],
    }[shell]


def record(name, one, shell, columns, lag, out):
    """Makes one recording; runs inside its world."""
    seed = hashlib.sha256(name.encode()).hexdigest()
    chance = random.Random(seed)
    rc = {}
    for each, path in RC_FILES.items():
        rc[path] = one.rc.get(each, PROMPTS[each])
        if callable(rc[path]):
            rc[path] = rc[path]()
        rc[path] += truth.RC[each]
    ada = world.make({**rc, **one.files})
    if one.ssh:
        world.ssh_server()
    root = one.user == "root"
    env = {
        "TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/root" if root else world.HOME, "USER": one.user, "LOGNAME": one.user, "SHELL": "/bin/bash", "PAGER": "less",
    }  # fmt: skip
    if shell in PS1:
        env["PS1"] = PS1[shell]
        env["PS2"] = truth.PS2
    env.update(one.env.get(shell, {}))
    nonce = ""
    if one.marks:
        nonce = uuid.UUID(bytes=hashlib.sha256(seed.encode()).digest()[:16], version=4).hex
        env.update(marks.environment(shell, nonce))
    argv = one.argv(shell) if one.argv else argv_of(shell)
    traced = shell in ("dash", "ash")
    if traced:
        # as a tracer in the background, so that the shell is the process that the terminal's owner started
        argv = ["strace", "-D", "-q", "-ttt", "-y", "-xx", "-s", "65536", "-e", "trace=read,write", "-o", truth.CALLS, *argv]
    split = one.split if one.split is not None else bool(lag) and chance.random() < 0.6
    os.chdir(env["HOME"])
    term = terminal.Terminal(argv, env, columns, one.rows, chance, lag, split, None if root else ada)
    person = Person(term, chance, shell, env["HOME"])
    person.columns, person.rows = columns, one.rows
    problem = None
    try:
        person.rest(0.4)
        one.play(person)
        person.rest(0.2)
        if shell == "ash":
            term.unrecorded(f"history >{truth.ASH}\r".encode())
    except (terminal.Hung, OSError) as wrong:
        problem = str(wrong)
    finally:
        began, shell_process = term.began, term.pid
        term.close()
    with open(truth.TRACE, "rb") as trace:
        lines = truth.from_hooks(trace.read(), began, shell_process)
    if traced:
        with open(truth.CALLS, encoding="utf-8") as trace:
            text = trace.read()
        if os.environ.get("KEEP_CALLS"):
            with open(os.path.join(out, name + ".calls"), "w", encoding="utf-8") as copy:
                copy.write(text)
        if shell == "dash":
            own = truth.of_dash(text, began)
        else:
            kept = b""
            if os.path.exists(truth.ASH):
                with open(truth.ASH, "rb") as history:
                    kept = history.read()
            own = truth.of_ash(text, kept, began)
            if own is None and os.environ.get("KEEP_CALLS"):
                print(kept)
        if own is None:
            problem, own = problem or "what was entered and the history differ in number", []
        lines = sorted(lines + own, key=lambda line: line["at"])
    told = [line["command"] for line in lines]
    # None: what a scenario does not know
    person.believed = [told[n] if line is None and n < len(told) else (line or "").rstrip() for n, line in enumerate(person.believed)]
    if problem is None and told != person.believed:
        problem = f"\n  the shell ran {told}\n  but was meant to {person.believed}"
    shown = b"".join(terminal.base64.b64decode(data) for _, kind, data in term.events if kind == "o")
    for secret in person.secrets:
        if secret.encode() in shown:
            problem = f"the secret {secret} was shown"
    if problem:
        print(f"{name}: {problem}", flush=True)
        if not os.environ.get("KEEP_WRONG"):
            return 1
    header = {
        "v": 1, "name": name, "kind": one.kind, "shell": shell, "program": one.program, "columns": columns, "rows": one.rows,
        "term": env["TERM"], "lag_ms": lag, "split": split, "half": half(name), "marks": nonce, "secrets": person.secrets, "note": one.note,
    }  # fmt: skip
    terminal.write(os.path.join(out, name + ".jsonl"), header, term.events)
    with open(os.path.join(out, name + ".truth.jsonl"), "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return 0


def in_a_world(name, out):
    done = subprocess.run(
        ["unshare", "-mupnif", "--mount-proc", "/usr/bin/python3", "-B", os.path.abspath(__file__), "--out", out, "--inside", name],
        capture_output=True, text=True, timeout=400, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return name, done.returncode, (done.stdout + done.stderr).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.join(HERE, "..", "corpus"))
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--list", action="store_true", help="only names")
    parser.add_argument("--new", action="store_true", help="only recordings that are not there")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    out = os.path.abspath(options.out)
    if options.inside:
        return record(*next(take for take in takes() if take[0] == options.inside), out)
    names = [take[0] for take in takes() if not options.patterns or any(re.search(part, take[0]) for part in options.patterns)]
    if options.new:
        names = [name for name in names if not os.path.exists(os.path.join(out, name + ".jsonl"))]
    if options.list:
        print("\n".join(names))
        return 0
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, code, said in pool.map(lambda name: in_a_world(name, out), names):
            wrong += code != 0
            print(f"{name}: {'as told' if not code else 'NOT WRITTEN'} {said}", flush=True)
    print(f"{len(names) - wrong} of {len(names)} recorded")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
