#!/usr/bin/env python3
"""Runs the same copies against two SCP servers, on equal trees, and shows where what they say or leave behind differs.

    tests/differential/scp.py --ours PROGRAM --home DIR [--relative] [--cases N] [--seed N]

PROGRAM is for `scp -S`: it brings a command to the server under test, whose files are this machine's. The other server is
OpenSSH's own scp, started by bash as sshd would start it. Half of the cases are command lines of the client `scp -O`
(both ways, one and several sources, patterns, braces, quotes, missing parents, files in the place of directories, modes,
times); in the others this program is the client and sends records of its own, well-formed and not, after lines with every
flag. Exit codes, messages, answers, and both trees are compared. Ends with 0 when nothing differs but what EXPECTED lists.
"""

import argparse
import collections
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import planted

# What differs on purpose: a pattern of what was asked, one of the difference, and the reason.
EXPECTED = [
    (
        r"new(\n|\\n)",
        r"(stderr|stdout): .*new\\+\^Jline",
        "a message writes a line break as a record does; theirs ends there, or goes on as a line of its own",
    ),
    (
        r"C0644 5 short\\nab'$",
        r"home b.*: \('0o\d+', 'now', b['\"]ab.*\) \('0o\d+', ('now'|\d+), b['\"](?!ab)",
        "of a file that is cut short what came is there, not only whole blocks of 16 KiB of it",
    ),
    (
        r"^scp ",
        r"stderr: \[b'\./[^']*: [A-Z][^']*', (b'lost connection'.*)\] \[\1\]$",
        "who copies may look at one more file of its own before it hears that the other end is gone, which takes a connection",
    ),
    (
        r"(?s)^scp .*new\nline",
        r"stderr: (?!.*lost connection.*\] \[).*b'lost connection'\]$",
        "the same of a second message with a line break, which ends the other end",
    ),
]

OLD = 1_000_000_000
PATIENCE = 20

FILES = [b"file", b"empty", b"big", b"readonly", b"dir/inner", b"caf\xe9", b"a b", b"suid", b"dir/sub/deep", b".hidden"]
FILES += [b"it's", b"star*[x]", b"{b}", b"new\nline", b"-x", b"dir/file", b"Zed", b"x1", b"x2", b"x10", b"dir/.dot"]
DIRS = [b"dir", b"dir/sub", b"sticky", b"void", b"noreach"]
LINKS = {b"link": b"file", b"dangling": b"nowhere", b"dirlink": b"dir", b"loop": b"loop", b"dir/up": b"../file"}


def plant(root):
    """The tree that each side has at the beginning of a case."""
    planted.plant(root, DIRS, FILES)
    os.chmod(os.path.join(root, b"suid"), 0o4755)
    os.chmod(os.path.join(root, b"noreach"), 0o500)
    for name, target in LINKS.items():
        os.symlink(target, os.path.join(root, name))
    for path, dirs, files in os.walk(root, topdown=False):
        for name in dirs + files:
            when = {b"x1": -5, b"x2": 1 << 33, b"x10": 0}.get(name, OLD)
            os.utime(os.path.join(path, name), (OLD + 7, when + 0.25), follow_symlinks=False)


def tree(root):
    """All that is in it: kinds, modes, times, contents."""
    out = {}
    for path, dirs, files in os.walk(root):
        for name in dirs + files:
            full = os.path.join(path, name)
            s = os.lstat(full)
            # what is of now is of now on both sides, but not of the same second; a directory's time is what was put in it
            when = "now" if abs(s.st_mtime - time.time()) < 200 else s.st_mtime_ns
            out[os.path.relpath(full, root)] = (oct(s.st_mode), when, planted.content(full, s.st_mode))
    return out


class Generator:
    def __init__(self, seed, relative):
        self.r, self.relative = random.Random(seed), relative

    def source(self):
        r = self.r
        pick = r.random()
        if pick < 0.5:
            return r.choice(FILES)
        if pick < 0.65:
            return r.choice(DIRS)
        if pick < 0.8:
            return r.choice(list(LINKS))
        edges = [b".", b"dir/", b"dir/.", b"dir/..", b"file/", b"absent", b"absent/x", b"file/x", b"dir//inner", b""]
        return r.choice(edges)

    def target(self):
        r = self.r
        if r.random() < 0.45:
            return self.source()
        new = [
            b"new",
            b"dir/new",
            b"void/new",
            b"absent/new",
            b"dirlink/new",
            b"n\xff",
            b"new/",
            b"noreach/new",
            b"o k",
        ]
        return r.choice(new + [b"dir", b"void", b"sticky", b"dirlink/", b".", b"", b"file", b"readonly", b"dangling"])

    def pattern(self):
        """Something that only a shell can answer."""
        r = self.r
        texts = [
            b"*",
            b"*/",
            b"x?",
            b"x[0-9]",
            b"x[!1]",
            b"x[^1]",
            b"x*",
            b".*n",
            b"[a-f]*",
            b"dir/*",
            b"*/inner",
            b"d*/s*/d*",
        ]
        texts += [
            b"{file,empty}",
            b"{x{1,2},file}",
            b"x{1..3}",
            b"x{01..2}",
            b"{a..c}",
            b"{,x1}",
            b"f{il,}e",
            b"{file}",
            b"{}",
        ]
        texts += [
            b"dir/{inner,sub}",
            b"{dir,void}/*",
            b"x{1,2}*",
            b"[[:alpha:]]ile",
            b"x[[:digit:]]",
            b"[[:upper:]]ed",
            b"*.none",
        ]
        texts += [
            b"[]x]1",
            b"x[1",
            b"[x-]1",
            b"{x1,absent}",
            b"x{2..1}",
            b"{file,dir/{inner,file}}",
            b"\\*",
            b"x{1,\\,}",
            b"st*",
        ]
        texts += [
            b"{'file',\"x1\"}",
            b"'x'1",
            b'x"1"',
            b"f'i'le",
            b"{x1",
            b"x1}",
            b"{x1,x2",
            b"a{,}b",
            b"[[:nonsense:]]1",
            b"x[[=1=]]",
        ]
        texts += [
            b"{1..3..2}",
            b"x{1..10..9}",
            b"{file,'a b'}",
            b"dir{,link}",
            b"*l{ink,e}",
            b"?",
            b"??",
            b"*[[]*",
            b"*e*",
            b"[!-]*",
        ]
        texts += [
            b"x[[.1.]]",
            b"[[:lower:][:digit:]]*",
            b"dir/.*",
            b"**",
            b"x[1-2]",
            b"x[2-1]",
            b"*\xe9",
            b"caf?",
            b"[[:space:]]*",
        ]
        return r.choice(texts)

    def quoted(self, path):
        """The path as a shell reads it back."""
        r = self.r
        if re.fullmatch(rb"[-\w./@]+", path) and r.random() < 0.5:
            return path
        if b"\n" in path or path == b"" or r.random() < 0.5:
            return b"'" + path.replace(b"'", b"'\\''") + b"'"
        return re.sub(rb"([^\w./-])", rb"\\\1", path)

    def remote(self, path, is_source):
        r = self.r
        prefix = b"" if self.relative and r.random() < 0.7 else b"@ROOT@/"
        if prefix == b"" and r.random() < 0.1:
            prefix = b"~/"
        if is_source and r.random() < 0.4:
            pattern = self.pattern()
            # where a name begins with a dash it would be an option of theirs; here what came out of a pattern is a name
            return prefix + (b"./" if prefix == b"" and pattern in (b"*", b"**", b"??") else b"") + pattern
        quoted = self.quoted(path)
        return (prefix or b"./" if path.startswith(b"-") else prefix) + quoted

    def flags(self):
        r = self.r
        flags = [flag for flag, often in ((b"-r", 0.5), (b"-p", 0.5), (b"-q", 0.3), (b"-T", 0.5)) if r.random() < often]
        return flags

    def command_line(self):
        """Arguments of `scp -O` in the local tree."""
        r = self.r

        def local(path):
            return path if path[:1] == b"/" else b"./" + path

        count = r.choice([1, 1, 1, 2, 3])
        if r.random() < 0.5:
            sources = [local(self.source()) for _ in range(count)]
            words = sources + [b"demo:" + self.remote(self.target(), False)]
        else:
            sources = [b"demo:" + self.remote(self.source(), True) for _ in range(count)]
            words = sources + [local(self.target())]
        return [b"-O"] + self.flags() + [b"--"] + words

    def line(self, direction):
        """What a client starts by exec."""
        r = self.r
        # a directory's names come in the order of the disk, which is nobody's to compare
        flags = [direction] + [
            flag for flag in (b"p d q" if direction == b"f" else b"r p d q").split() if r.random() < 0.4
        ]
        r.shuffle(flags)
        flags = [b"-" + b"".join(flags)] if r.random() < 0.5 else [b"-" + flag for flag in flags]
        program = r.choice([b"scp", b"scp", b"/usr/bin/scp"])
        count = r.choice([1, 1, 2]) if direction == b"f" else 1
        paths = [
            self.remote(self.source() if direction == b"f" else self.target(), direction == b"f") for _ in range(count)
        ]
        return b" ".join([program] + flags + [b"--"] * (r.random() < 0.5) + paths)

    def mode(self):
        return self.r.choice([b"0644", b"0600", b"0444", b"0755", b"0000", b"4755", b"1777", b"2755", b"7777", b"0200"])

    def records(self):
        """What a client sends to `scp -t`, and ends with an end of the stream."""
        r = self.r
        out, depth = b"", 0
        for _ in range(r.randrange(6)):
            pick = r.random()
            if pick < 0.25:
                a, m = r.choice([0, 1, OLD, 1 << 31, 1 << 32, 1 << 33]), r.choice([0, 5, OLD, (1 << 31) - 1, 1 << 32])
                out += b"T%d 0 %d 0\n" % (m, a)
            elif pick < 0.7:
                size = r.choice([0, 1, 10, 300, 40000])
                out += (
                    b"C%s %d %s\n" % (self.mode(), size, self.name())
                    + b"x" * size
                    + r.choice([b"\0", b"\0", b"\0", b"\1why\n"])
                )
            elif pick < 0.8:
                out += b"D%s 0 %s\n" % (self.mode(), self.name())
                depth += 1
            elif pick < 0.9 and depth:
                out, depth = out + b"E\n", depth - 1
            else:
                bad = [
                    b"\n",
                    b"X\n",
                    b"C0644\n",
                    b"C644 1 a\n",
                    b"C0644 -1 a\n",
                    b"C0644 1\n",
                    b"C0844 1 a\n",
                    b"T1 0 0\n",
                ]
                bad += [
                    b"E\n",
                    b"Ex\n",
                    b"\1warned\n",
                    b"\2over\n",
                    b"C0644 0 ..\n",
                    b"C0644 0 a/b\n",
                    b"C0644 0 \n",
                    b"D0755 0 .\n",
                ]
                bad += [
                    b"T1 1000000 0 0\n",
                    b"T-1 0 0 0\n",
                    b"C0644 99999999999999999999 a\n",
                    b"C0644 5 short\nab",
                    b"T1 0 1 0 x\n",
                ]
                bad += [
                    b"C0644  5 a\n",
                    b"D0755 0 \n",
                    b"C0644 5x a\n",
                    b"\0\n",
                    b"T0 0 0 0\nT5 0 5 0\n",
                    b"C06440 1 a\n",
                    b"c0644 1 a\n",
                ]
                out += r.choice(bad)
        return out + b"E\n" * (depth if r.random() < 0.8 else 0)

    def name(self):
        return self.r.choice(
            [b"file", b"new", b"dir", b"link", b"a b", b"n\xff", b"void", b"-x", b"readonly", b"dangling", b"dirlink"]
        )


class Side:
    def __init__(self, program, home, local):
        self.program, self.home, self.local = program, home, local

    def begin(self):
        for root in (self.home, self.local):
            for name in os.listdir(root):
                full = os.path.join(root, name)
                if os.path.isdir(full) and not os.path.islink(full):
                    shutil.rmtree(full)
                else:
                    os.remove(full)
            plant(root)

    def run(self, command, given):
        environment = dict(os.environ, THEIR_HOME=os.fsdecode(self.home), TZ="UTC", LC_ALL="C")
        try:
            done = subprocess.run(
                command,
                input=given,
                cwd=self.local,
                env=environment,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "hangs"
        return done.returncode, self.plain(done.stdout), sorted(self.plain(done.stderr).splitlines())

    def plain(self, text):
        text = text.replace(self.home, b"@ROOT@")
        # what was read a moment ago says so, and not in the same second on both sides
        return re.sub(rb"((?:^|[\0\n])T\d+ 0 )(\d+)(?= 0\n)", self.moment, text)

    def moment(self, match):
        return match[1] + (b"now" if abs(int(match[2]) - time.time()) < 200 else match[2])

    def copy(self, arguments):
        command = [b"scp", b"-S", self.program] + [word.replace(b"@ROOT@", self.home) for word in arguments]
        return self.run(command, b"")

    def serve(self, line, given):
        return self.run([self.program, b"--", b"demo", line.replace(b"@ROOT@", self.home)], given)


def differences(ours, theirs, how, what):
    """What differs after one case, as (part, ours, theirs)."""
    answers = []
    for side in (ours, theirs):
        side.begin()
        answers.append(side.copy(what) if how == "scp" else side.serve(*what))
    a, b = answers
    if a == "hangs" or b == "hangs":
        return [] if a == b else [("end", a, b)]
    # who sends records reads what is answered, and no stderr
    parts = ("exit", "stdout", "stderr") if how == "scp" else ("exit", "stdout")
    found = [(part, x, y) for part, x, y in zip(parts, a, b) if x != y]
    for which in ("home", "local"):
        one, two = (tree(getattr(side, which)) for side in (ours, theirs))
        for name in sorted(set(one) | set(two)):
            if one.get(name) != two.get(name):
                found.append((f"{which} {name!r}", one.get(name), two.get(name)))
    return found


def shown(how, what):
    if how == "scp":
        return "scp " + " ".join(shlex.quote(word.decode("utf-8", "backslashreplace")) for word in what)
    given = re.sub(rb"x{20,}", b"x...", what[1]).strip(b"\0")
    return f"{what[0]!r} <<< {given[:300]!r}"


def expected(asked, part, a, b):
    return next(
        (
            why
            for ask, difference, why in EXPECTED
            if re.search(ask, asked) and re.search(difference, f"{part}: {a!r} {b!r}")
        ),
        None,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, metavar="PROGRAM", help="brings a command to the server, for scp -S")
    parser.add_argument("--home", required=True, metavar="DIR", help="where that server's files are; emptied")
    parser.add_argument("--relative", action="store_true", help="that directory is where relative paths begin, and ~")
    parser.add_argument("--cases", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first one's (%(default)s)")
    parser.add_argument("-v", action="store_true", help="show every case")
    args = parser.parse_args()
    base = tempfile.mkdtemp(prefix="scp-diff-").encode()
    # of the same name, for copies of all that is in it
    home = os.path.join(base, b"home", os.path.basename(os.path.realpath(os.fsencode(args.home))))
    locals_ = [os.path.join(base, name) for name in (b"one", b"two")]
    for directory in (home, *locals_):
        os.makedirs(directory)
    program = os.path.join(base, b"theirs")
    with open(program, "wb") as f:
        # as sshd does: the home, the user's shell, the line
        f.write(
            b'#!/bin/sh\nfor line; do :; done\ncd "$THEIR_HOME"; HOME=$THEIR_HOME; export HOME\nexec bash -c "$line"\n'
        )
    os.chmod(program, 0o755)
    ours = Side(os.fsencode(os.path.abspath(args.ours)), os.path.realpath(os.fsencode(args.home)), locals_[0])
    theirs = Side(program, home, locals_[1])
    kinds, excused, bad = {}, collections.Counter(), 0
    for seed in range(args.seed, args.seed + args.cases):
        generator = Generator(seed, args.relative)
        how = generator.r.choice(["scp", "serve"])
        if how == "scp":
            what = generator.command_line()
        elif generator.r.random() < 0.6:
            what = (generator.line(b"t"), generator.records())
        else:
            what = (generator.line(b"f"), b"\0" * 200)
        asked = shown(how, what)
        if args.v:
            print(seed, asked, flush=True)
        found = []
        for part, a, b in differences(ours, theirs, how, what):
            why = expected(asked, part, a, b)
            if why:
                excused[why] += 1
            else:
                found.append((part, a, b))
        bad += bool(found)
        for part, a, b in found[:3]:
            kinds.setdefault((part.split(" ")[0], repr(a)[:30], repr(b)[:30]), []).append((seed, asked, part, a, b))
    for rows in sorted(kinds.values(), key=len, reverse=True):
        seed, asked, part, a, b = rows[0]
        print(
            f"{len(rows):5} seed {seed}: {asked}\n        {part}\n        ours   {repr(a)[:400]}\n        theirs {repr(b)[:400]}"
        )
    for why, times in excused.most_common():
        print(f"{times:5} as expected: {why}")
    print(f"{args.cases} cases, {bad} differ")
    shutil.rmtree(base)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
