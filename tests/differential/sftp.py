#!/usr/bin/env python3
"""Asks two SFTP servers the same, on equal trees, and shows where their answers or their trees differ.

    tests/differential/sftp.py --ours 'ssh -F CONFIG demo -s sftp' [--helper sh] [--theirs FILE] [--sequences N] [--seed N]

A sequence is some dozens of requests drawn from a seed: flags, sizes, times, modes, names of any bytes, several handles at
once, every extension, several requests on their way at once, and changes behind the server's back. It ends at the first
answer that differs; where none does, the trees are compared. What differs on purpose is listed with its reason, below
(LISTED, and UNABLE for what a shell can't do), and is counted; kinds of other differences are counted, each with its first
seed, which repeats it. Ends with 0 when nothing differs that is not listed, else with 1.

Run it as root: it changes owners. It asks two programs on this machine, so the node has to be this machine as well.
"""

import argparse
import os
import pwd
import random
import re
import select
import shlex
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time

import planted

(
    INIT,
    VERSION,
    OPEN,
    CLOSE,
    READ,
    WRITE,
    LSTAT,
    FSTAT,
    SETSTAT,
    FSETSTAT,
    OPENDIR,
    READDIR,
    REMOVE,
    MKDIR,
    RMDIR,
    REALPATH,
    STAT,
    RENAME,
    READLINK,
    SYMLINK,
) = range(1, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201
NAMES = {v: k for k, v in globals().items() if k.isupper() and isinstance(v, int)}


def string(b):
    return struct.pack(">I", len(b)) + b


class Server:
    def __init__(self, command):
        # sshd starts its server in the user's home
        home = pwd.getpwuid(os.getuid()).pw_dir
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=home)
        self.buffer = b""
        self.send(INIT, struct.pack(">I", 3))
        kind, body = self.receive()
        assert kind == VERSION, kind
        self.extensions = {}
        body = body[4:]
        while body:
            name, body = take(body)
            value, body = take(body)
            self.extensions[name] = value
        self.id = 0

    def send(self, kind, body):
        self.process.stdin.write(struct.pack(">IB", len(body) + 1, kind) + body)

    def exactly(self, n):
        while len(self.buffer) < n:
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise EOFError("the server does not answer")
            more = os.read(self.process.stdout.fileno(), 1 << 20)
            if not more:
                raise EOFError("the server ended")
            self.buffer += more
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def receive(self):
        (length,) = struct.unpack(">I", self.exactly(4))
        packet = self.exactly(length)
        return packet[0], packet[1:]

    def ask_all(self, requests):
        """Sends all, then takes the answers, in the order of the requests."""
        first = self.id + 1
        packets = b""
        for kind, body in requests:
            self.id += 1
            packets += struct.pack(">IBI", len(body) + 5, kind, self.id) + body
        self.process.stdin.write(packets)
        answers = {}
        while len(answers) < len(requests):
            answer, body = self.receive()
            (number,) = struct.unpack(">I", body[:4])
            assert first <= number <= self.id and number not in answers, (number, first, self.id)
            answers[number] = (answer, body[4:])
        return [answers[number] for number in sorted(answers)]


def take(b):
    (n,) = struct.unpack(">I", b[:4])
    return b[4 : 4 + n], b[4 + n :]


def attributes(b):
    (flags,) = struct.unpack(">I", b[:4])
    b = b[4:]
    out = {}
    if flags & 1:
        (out["size"],) = struct.unpack(">Q", b[:8])
        b = b[8:]
    if flags & 2:
        out["owner"] = struct.unpack(">II", b[:8])
        b = b[8:]
    if flags & 4:
        (out["mode"],) = struct.unpack(">I", b[:4])
        b = b[4:]
    if flags & 8:
        out["times"] = struct.unpack(">II", b[:8])
        b = b[8:]
    out["flags"] = flags
    return out, b


class Side:
    """One server and its tree."""

    def __init__(self, command, root):
        self.server, self.root, self.handles = Server(command), root, []

    def fill(self, text):
        return text.replace(b"@ROOT@", self.root)

    def body(self, parts):
        out = b""
        for part in parts:
            kind, value = part
            if kind == "s":
                out += string(self.fill(value))
            elif kind == "h":
                # one that was closed is asked for by a number that was never given: OpenSSH gives numbers again, and we do not
                known = value < len(self.handles) and self.handles[value] is not None
                out += string(self.handles[value] if known else [b"none", b"\0\0\xff\xff"][value % 2])
            else:
                out += struct.pack(">" + kind, value)
        return out

    def ask_all(self, requests):
        asked = []
        for kind, parts in requests:
            asked.append((kind, self.body(parts)))
            if kind == CLOSE and parts[0][1] < len(self.handles):
                self.handles[parts[0][1]] = None
        answers = self.server.ask_all(asked)
        return [self.shown(kind, parts, *answer) for (kind, parts), answer in zip(requests, answers)]

    def shown(self, kind, parts, answer, body):
        if answer == STATUS:
            (code,) = struct.unpack(">I", body[:4])
            return ("status", code)
        if answer == HANDLE:
            handle, _ = take(body)
            self.handles.append(handle)
            return ("handle", len(self.handles) - 1)
        if answer == DATA:
            return ("data", take(body)[0])
        if answer == ATTRS:
            return ("attrs", self.near(attributes(body)[0]))
        if answer == NAME:
            (count,) = struct.unpack(">I", body[:4])
            body, out = body[4:], []
            for _ in range(count):
                name, body = take(body)
                long, body = take(body)
                attrs, body = attributes(body)
                attrs = self.near(attrs)
                if "now" in attrs.get("times", ()):
                    # the minute may end between the two; what the coarser clock takes for the future has its year
                    long = re.sub(rb" (\d\d:\d\d| \d{4}) ", b" now ", long, count=1)
                out.append((name.replace(self.root, b"@ROOT@"), long.replace(self.root, b"@ROOT@"), attrs))
            return ("names", sorted(out) if kind == READDIR else out)
        if answer == EXTENDED_REPLY:
            which = parts[0][1]
            if which.endswith(b"statvfs@openssh.com"):
                # the rest is how full it is, which others change
                figures = struct.unpack(">11Q", body)
                return ("file system", [figures[at] for at in (0, 1, 2, 5, 8, 9, 10)])
            if which == b"limits@openssh.com":
                # the last is how many files may be open, which is each server's own
                return ("limits", struct.unpack(">4Q", body)[:3])
            return ("extended", body)
        return (NAMES.get(answer, answer), body)

    def near(self, attrs):
        # what is of now is of now on both sides, but not of the same second
        if "times" in attrs:
            attrs["times"] = ("any",) + tuple("now" if abs(t - time.time()) < 100 else t for t in attrs["times"][1:])
        if "size" in attrs and "mode" in attrs and stat.S_ISDIR(attrs["mode"]):
            attrs["size"] = "dir"
        return attrs

    def tree(self):
        out = {}
        for path, dirs, files in os.walk(self.root):
            for name in dirs + files:
                full = os.path.join(path, name)
                s = os.lstat(full)
                what = planted.content(full, s.st_mode)
                if stat.S_ISLNK(s.st_mode):
                    what = what.replace(self.root, b"@ROOT@")
                now = time.time()
                mtime = "now" if abs(s.st_mtime - now) < 100 else s.st_mtime_ns
                out[os.path.relpath(full, self.root)] = (
                    oct(s.st_mode),
                    s.st_uid,
                    s.st_gid,
                    s.st_nlink if what is not None else 0,
                    mtime,
                    what,
                )
        return out


FILES = [b"file", b"empty", b"big", b"readonly", b"dir/inner", b"caf\xe9", b"a b", b"suid", b"dir/sub/deep"]
DIRS = [b"dir", b"dir/sub", b"sticky", b"void"]
LINKS = [b"link", b"dangling", b"dirlink", b"loop", b"abs"]


def plant(root):
    planted.plant(root, DIRS, FILES)
    os.chmod(os.path.join(root, b"suid"), 0o6755)
    os.symlink(b"file", os.path.join(root, b"link"))
    os.symlink(b"nowhere", os.path.join(root, b"dangling"))
    os.symlink(b"dir", os.path.join(root, b"dirlink"))
    os.symlink(b"loop", os.path.join(root, b"loop"))
    os.symlink(os.path.join(root, b"file"), os.path.join(root, b"abs"))
    os.mkfifo(os.path.join(root, b"fifo"))
    for path, dirs, files in os.walk(root, topdown=False):
        for name in dirs + files:
            os.utime(os.path.join(path, name), (1000000000, 1000000000.25), follow_symlinks=False)
    os.utime(root, (1000000000, 1000000000))


# how often each is drawn: a request, or a change that neither server is told of
WEIGHTS = {
    OPEN: 14,
    CLOSE: 6,
    READ: 12,
    WRITE: 10,
    LSTAT: 4,
    FSTAT: 5,
    SETSTAT: 6,
    FSETSTAT: 5,
    OPENDIR: 4,
    READDIR: 7,
    REMOVE: 4,
    MKDIR: 4,
    RMDIR: 4,
    REALPATH: 6,
    STAT: 4,
    RENAME: 6,
    READLINK: 3,
    SYMLINK: 4,
    EXTENDED: 14,
    "behind": 4,
}
# an answer may be so old at most (src/files/read_ahead.rs), in seconds, and a little more
FRESH = 0.05
# how long an answer may take, in seconds
PATIENCE = 60

# What differs on purpose: a reason, and whether it is the reason for this request with these two answers.
LISTED = [
    (
        "copy-data of up to 64 KiB that fails: OpenSSH's server says that all went well",
        lambda kind, parts, ours, theirs: is_extension(parts, b"copy-data")
        and theirs == ("status", 0)
        and 0 < parts[3][1] <= 65536
        and ours[0] == "status"
        and ours[1] not in (0, 1),
    ),
    (
        "copy-data from a file to itself by another of its names: refused before either handle is tried",
        lambda kind, parts, ours, theirs: is_extension(parts, b"copy-data")
        and ours == ("status", 4)
        and theirs in (("status", 0), ("status", 1), ("status", 2)),
    ),
    (
        "a path longer than any is refused before anything else is looked at",
        lambda kind, parts, ours, theirs: ours == ("status", 5) and any(k == "s" and len(v) >= 4096 for k, v in parts),
    ),
    (
        "a directory that was renamed or removed and made anew while it was open: OpenSSH's server looks its names up by the old path",
        lambda kind, parts, ours, theirs: kind == READDIR and ours[0] == "names" and theirs == ("status", 1),
    ),
    (
        "names that are new when the end of a directory has been told: the kernel may list them, we do not look again",
        lambda kind, parts, ours, theirs: kind == READDIR and ours == ("status", 1) and theirs[0] == "names",
    ),
]
# What a shell can't do as well, in the same form.
UNABLE = [
    (
        "flags of a file system: no program tells them",
        lambda kind, parts, ours, theirs: ours[0] == theirs[0] == "file system" and ours[1][:5] == theirs[1][:5],
    ),
]


def is_extension(parts, name):
    return parts[0] == ("s", name)


def reason_of(listed, kind, parts, ours, theirs):
    return next((reason for reason, is_it in listed if is_it(kind, parts, ours, theirs)), None)


class Generator:
    def __init__(self, seed):
        self.r, self.handles = random.Random(seed), 0

    def name(self):
        r = self.r
        pick = r.random()
        if pick < 0.45:
            name = r.choice(FILES)
        elif pick < 0.6:
            name = r.choice(DIRS)
        elif pick < 0.75:
            name = r.choice(LINKS)
        elif pick < 0.9:
            name = r.choice(
                [b"new", b"new2", b"dir/new", b"void/new", b"dirlink/new", b"absent/new", b"n\xff\xfe", b"-x", b"new3"]
            )
        else:
            name = r.choice(
                [
                    b".",
                    b"..",
                    b"dir/.",
                    b"dir/",
                    b"file/",
                    b"link/",
                    b"new/",
                    b"//file",
                    b"dir/../file",
                    b"x" * 255,
                    b"x" * 256,
                    b"x/" * 100,
                    b"dir//inner",
                    b"link/x",
                    b"file/x",
                    b"loop/x",
                    b"\x01\n\t",
                    b"~",
                    b"~root",
                    b"*",
                    b"$(id)",
                    b"'\"`\\",
                    b"new\\n",
                    b" ",
                    b"\n",
                    b"...",
                    b".hidden",
                    b"--help",
                    bytes(r.choice(range(1, 256)) for _ in range(r.randrange(1, 9))).replace(b"/", b"_"),
                    b"dirlink/../file",
                    b"dirlink/",
                    b"dirlink/inner",
                    b"dangling/",
                    b"loop/",
                    b"y" * 4000,
                    b"./" * 2100,
                    b"fifo/x",
                    b"",
                ]
            )
            if name == b"" and r.random() < 0.5:
                return b""
        if r.random() < 0.02:
            # relative: nothing is there, in anybody's home
            return b"no-such-thing-at-home/x/" + name
        return b"@ROOT@/" + name

    def attrs(self, kinds=15):
        r = self.r
        flags = r.choice([0, 0, 1, 2, 4, 8, 4, 8, 12, 15, 13, 5]) & kinds
        parts = [("I", flags)]
        if flags & 1:
            parts.append(("Q", r.choice([0, 1, 5, 100, 4096, 70000, 1 << 20, 1 << 20, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])))
        if flags & 2:
            parts += [("I", r.choice([0, 1, 1000, 0xFFFFFFFE, 0xFFFFFFFF])) for _ in range(2)]
        if flags & 4:
            parts.append(
                (
                    "I",
                    r.choice(
                        [
                            0o644,
                            0o600,
                            0,
                            0o777,
                            0o4755,
                            0o2755,
                            0o1777,
                            0o100644,
                            0o40755,
                            0o7777,
                            0o400,
                            0o170000 | 0o640,
                        ]
                    ),
                )
            )
        if flags & 8:
            parts += [
                ("I", r.choice([0, 1, 1500000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])),
                ("I", r.choice([0, 1, 1500000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])),
            ]
        return parts

    def handle(self):
        return (
            "h",
            self.r.randrange(self.handles + 1)
            if self.r.random() < 0.1
            else max(0, self.handles - 1 - self.r.randrange(3)),
        )

    def one(self):
        r = self.r
        kind = r.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if kind == OPEN:
            flags = r.choice(
                [
                    1,
                    1,
                    2,
                    3,
                    0x1A,
                    0x0A,
                    0x2A,
                    0x0E,
                    0x04,
                    0x06,
                    0,
                    0x08,
                    0x10,
                    0x20,
                    0x18,
                    0x0B,
                    0x1B,
                    0x2B,
                    0x0F,
                    0x05,
                    0x09,
                    0x11,
                    0x40,
                    0x12,
                    0x3F,
                    0x1E,
                    0x2C,
                    0xFFFFFFC1,
                ]
            )
            name = self.name()
            if name.endswith(b"fifo"):
                name = b"@ROOT@/file"
            return kind, [("s", name), ("I", flags)] + self.attrs()
        if kind in (CLOSE, FSTAT, READDIR):
            return kind, [self.handle()]
        if kind == READ:
            return kind, [
                self.handle(),
                ("Q", r.choice([0, 0, 1, 5, 100, 300000, 307200, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])),
                ("I", r.choice([0, 1, 10, 4096, 32768, 70000, 261120, 262144, 1 << 20, 0xFFFFFFFF])),
            ]
        if kind == WRITE:
            data = bytes([r.randrange(256)]) * r.choice([0, 1, 10, 100, 5000, 40000])
            return kind, [self.handle(), ("Q", r.choice([0, 0, 1, 5, 100, 10000, 300000, 300000, (1 << 63) - 1, 1 << 63])), ("s", data)]
        if kind in (LSTAT, STAT, OPENDIR, REMOVE, RMDIR, REALPATH, READLINK):
            return kind, [("s", self.name())]
        if kind == SETSTAT:
            return kind, [("s", self.name())] + self.attrs()
        if kind == FSETSTAT:
            return kind, [self.handle()] + self.attrs()
        if kind == MKDIR:
            return kind, [("s", self.name())] + self.attrs()
        if kind == RENAME:
            return kind, [("s", self.name()), ("s", self.name())]
        if kind == SYMLINK:
            # no target that is this machine's own: what comes next may empty it through the link, as root
            target = (
                r.choice([b"file", b"nowhere", b"../x", b"", b"/nowhere/at/all", b"\xff", b"x" * 300])
                if r.random() < 0.7
                else self.name()
            )
            return kind, [("s", target), ("s", self.name())]
        if kind == EXTENDED:
            which = r.choice(
                [
                    b"posix-rename@openssh.com",
                    b"hardlink@openssh.com",
                    b"fsync@openssh.com",
                    b"lsetstat@openssh.com",
                    b"statvfs@openssh.com",
                    b"fstatvfs@openssh.com",
                    b"expand-path@openssh.com",
                    b"limits@openssh.com",
                    b"copy-data",
                    b"home-directory",
                    b"users-groups-by-id@openssh.com",
                    b"nonsense@example.com",
                ]
            )
            head = [("s", which)]
            if which in (b"posix-rename@openssh.com", b"hardlink@openssh.com"):
                return kind, head + [("s", self.name()), ("s", self.name())]
            if which in (b"fsync@openssh.com", b"fstatvfs@openssh.com"):
                return kind, head + [self.handle()]
            if which == b"lsetstat@openssh.com":
                return kind, head + [("s", self.name())] + self.attrs()
            if which in (b"statvfs@openssh.com", b"expand-path@openssh.com"):
                return kind, head + [("s", self.name())]
            if which == b"copy-data":
                return kind, head + [
                    self.handle(),
                    ("Q", r.choice([0, 0, 5])),
                    # never to the end: two names of one file would make it grow for ever
                    ("Q", r.choice([5, 7, 100, 65536, 65537, 200000, 1 << 20])),
                    self.handle(),
                    ("Q", r.choice([0, 0, 3])),
                ]
            if which == b"home-directory":
                return kind, head + [("s", r.choice([b"root", b"", b"nobody", b"no-such-user"]))]
            if which == b"users-groups-by-id@openssh.com":
                ids = [b"".join(struct.pack(">I", r.choice([0, 1, 2, 65534, 99999, 0xFFFFFFFF])) for _ in range(r.randrange(5)))]
                return kind, head + [("s", ids[0]), ("s", ids[0][:8])]
            return kind, head
        return "behind", [
            r.choice(["append", "truncate", "remove", "rename", "chmod", "replace", "mkdir"]),
            r.choice(FILES),
            r.randrange(256),
        ]


def behind(side, what):
    how, name, byte = what
    path = os.path.join(side.root, name)
    try:
        if how == "append":
            with open(path, "ab") as f:
                f.write(bytes([byte]) * 50)
        elif how == "truncate":
            os.truncate(path, byte)
        elif how == "remove":
            os.remove(path)
        elif how == "replace":
            with open(path + b".other", "wb") as f:
                f.write(bytes([byte]) * byte)
            os.rename(path + b".other", path)
        elif how == "mkdir":
            os.mkdir(os.path.join(side.root, b"dir", b"d%d" % byte))
        elif how == "rename":
            os.rename(path, path + b".moved")
        else:
            os.chmod(path, 0o600 | (byte & 0o77))
    except OSError:
        pass


def show(kind, parts):
    if kind == "behind":
        return f"behind {parts}"
    return (
        NAMES[kind]
        + " "
        + " ".join(repr(v[:60]) if isinstance(v, bytes) else f"{k}:{v:#x}" if k != "h" else f"h{v}" for k, v in parts)
    )


def run(seed, ours, theirs, base, listed, verbose):
    """What differs in one sequence, and the reasons of what is listed."""
    sides = []
    for which in (b"a", b"b"):
        root = os.path.join(base, b"%d" % seed, which)
        os.makedirs(root)
        plant(root)
        sides.append(root)
    for side, root in zip((ours, theirs), sides):
        side.root, side.handles = root, []
    generator = Generator(seed)
    found, reasons = [], []
    steps = generator.r.choice([10, 25, 60])
    while steps > 0 and not found and not reasons:
        requests = []
        for _ in range(generator.r.choice([1, 1, 1, 1, 2, 3, 8])):
            requests.append(generator.one())
        steps -= len(requests)
        for kind, parts in requests:
            if kind == "behind":
                for side in (ours, theirs):
                    behind(side, parts)
        if any(kind == "behind" for kind, _ in requests):
            time.sleep(FRESH)
            requests = [request for request in requests if request[0] != "behind"]
        if not requests:
            continue
        try:
            answers = list(zip(requests, ours.ask_all(requests), theirs.ask_all(requests)))
        except EOFError as error:
            for side in (ours, theirs):
                side.server.process.kill()
            sys.exit(f"seed {seed}: {error}: {', '.join(show(*request) for request in requests)}")
        generator.handles = max(len(ours.handles), len(theirs.handles))
        for (kind, parts), a, b in answers:
            if verbose:
                print(steps, show(kind, parts), a, b)
            if a != b and not found and not reasons:
                reason = reason_of(listed, kind, parts, a, b)
                if reason is None:
                    found.append((steps, show(kind, parts), a, b))
                else:
                    reasons.append(reason)
    for side in (ours, theirs):
        open_handles = [handle for handle in side.handles if handle is not None]
        side.server.ask_all([(CLOSE, string(handle)) for handle in open_handles])
    # after a difference they may go their own ways
    one, two = ({}, {}) if found or reasons else (ours.tree(), theirs.tree())
    for name in sorted(set(one) | set(two)):
        if one.get(name) != two.get(name):
            found.append(("tree", name, one.get(name), two.get(name)))
    shutil.rmtree(os.path.join(base, b"%d" % seed))
    return found, reasons


def short(x):
    text = repr(x)
    return text if len(text) < 300 else text[:300] + "…"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, metavar="COMMAND", help="speaks SFTP on its standard streams")
    parser.add_argument("--theirs", default="/usr/lib/openssh/sftp-server", metavar="COMMAND", help="%(default)s")
    parser.add_argument("--sequences", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first one's (%(default)s)")
    parser.add_argument("-v", action="store_true", help="show every request and both answers")
    parser.add_argument("--helper", default="python", choices=["python", "sh"], help="what serves on the node (%(default)s)")
    args = parser.parse_args()
    listed = LISTED + (UNABLE if args.helper == "sh" else [])
    base = tempfile.mkdtemp(prefix="sftp-diff-").encode()
    ours, theirs = Side(shlex.split(args.ours), b""), Side(shlex.split(args.theirs), b"")
    missing = set(theirs.server.extensions) - set(ours.server.extensions)
    if missing:
        print("extensions only theirs:", missing)
    kinds, expected, bad = {}, {}, 0
    for seed in range(args.seed, args.seed + args.sequences):
        found, reasons = run(seed, ours, theirs, base, listed, args.v)
        bad += bool(found)
        for reason in reasons:
            expected[reason] = expected.get(reason, 0) + 1
        for step, what, a, b in found:
            key = (what.split(" ")[0] if isinstance(what, str) else "tree", short(a)[:40], short(b)[:40])
            kinds.setdefault(key, []).append((seed, step, what, short(a), short(b)))
    shutil.rmtree(base)
    for reason, count in expected.items():
        print(f"{count:5} listed: {reason}")
    for rows in sorted(kinds.values(), key=len, reverse=True):
        seed, step, what, a, b = rows[0]
        print(f"{len(rows):5} seed {seed} step {step}: {what}\n        ours   {a}\n        theirs {b}")
    print(f"{args.sequences} sequences, {bad} differ, {sum(expected.values())} ended at a listed difference")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
