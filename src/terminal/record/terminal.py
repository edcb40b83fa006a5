"""A shell in a pseudo-terminal, and what passes between it and a person, kept as it passes a gateway between the two.

What the shell writes may be late (`lag_ms`) and in pieces that split characters and escape sequences (`split`): the person
sees it, and the recording has it, when and as it comes out of that delay. What the person sends reaches the shell at once.
"""

import base64
import collections
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unicodedata

# a scenario that hangs is wrong and says so
PATIENCE = 40

# what a terminal answers by itself: who it is (twice), and that all is well
ANSWERS = [
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[>0?c"), b"\x1b[>1;10;0c"),
    (re.compile(rb"\x1b\[5n"), b"\x1b[0n"),
]

# read, poll, select, epoll_wait, pselect6, ppoll of x86-64
WAITING = {"0", "7", "23", "232", "270", "271"}


class Hung(Exception):
    """The terminal did not come to rest, or did not show what was waited for."""


def set_size(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    def __init__(self, argv, env, columns, rows, chance, lag_ms=0, split=False, user=None):
        self.chance, self.lag, self.split = chance, lag_ms / 1000, split
        self.events = []
        self.late = collections.deque()  # (when it comes out, bytes)
        self.seen = b""
        self.last_output = 0.0
        self.closed = False
        self.columns, self.rows = columns, rows
        # modes that a program has switched on and that change what keys send
        self.bracketed = self.application_cursor = False
        self.began = time.time()
        # the shell starts once its terminal has a size
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            signal.sigwait({signal.SIGUSR1})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
            if user:
                os.initgroups(user.pw_name, user.pw_gid)
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
                os.chdir(user.pw_dir)
            os.execvpe(argv[0], argv, env)
        set_size(self.master, columns, rows)
        os.kill(self.pid, signal.SIGUSR1)
        # some start slowly
        self.wait_for(b".", 0)

    def now(self):
        return time.time() - self.began

    def pieces(self, data):
        if not self.split:
            return [data]
        pieces = []
        while data:
            n = self.chance.choice([1, 1, 2, 3, 5, 7, 16, 64, 1024])
            pieces.append(data[:n])
            data = data[n:]
        return pieces

    def pump(self, until):
        """Lets output come until the moment `until`, or until any has come out."""
        while True:
            now = self.now()
            while self.late and self.late[0][0] <= now:
                self.come_out(self.late.popleft()[1])
                if not self.late or self.late[0][0] > now:
                    return
            if now >= until or (self.closed and not self.late):
                return
            next_moment = min(until, self.late[0][0]) if self.late else until
            if self.closed:
                time.sleep(max(0, next_moment - now))
                continue
            ready, _, _ = select.select([self.master], [], [], max(0, next_moment - now))
            if not ready:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            if not data:
                self.closed = True
                continue
            moment = self.now()
            if self.lag:
                moment += self.lag * self.chance.uniform(0.7, 1.3)
                # nothing overtakes
                moment = max(moment, self.late[-1][0]) if self.late else moment
            for piece in self.pieces(data):
                self.late.append((moment, piece))
                if self.split and self.chance.random() < 0.2:
                    moment += self.chance.uniform(0.001, 0.02)

    def come_out(self, data):
        self.events.append([round(self.now(), 3), "o", base64.b64encode(data).decode()])
        before = len(self.seen)
        self.seen += data
        self.last_output = self.now()
        # a sequence may have begun in an earlier piece
        tail = self.seen[max(0, before - 8) :]
        for mode, on in re.findall(rb"\x1b\[\?(2004|1)([hl])", tail):
            if mode == b"2004":
                self.bracketed = on == b"h"
            else:
                self.application_cursor = on == b"h"
        for found in re.finditer(rb"\x1b\[6n", self.seen[max(0, before - 3) :]):
            if max(0, before - 3) + found.end() > before:
                self.send(b"\x1b[%d;%dR" % (self.rows, self.column(max(0, before - 3) + found.start())))
        for question, answer in ANSWERS:
            for found in question.finditer(self.seen, max(0, before - 8)):
                if found.end() > before:
                    self.send(answer)

    def column(self, end):
        """Where the cursor stands after the output until `end`: true for prompts and their line, and they alone ask (ash)."""
        line = re.split(rb"[\r\n]", self.seen[max(0, end - 2000) : end])[-1].decode("utf-8", "replace")
        line = re.sub(r"\x1b\][^\x07\x1b]*(\x07|\x1b\\\\)|\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x1f]", "", line)
        wide = sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        return wide % self.columns + 1

    def send(self, data):
        if self.closed:
            return
        self.events.append([round(self.now(), 3), "i", base64.b64encode(data).decode()])
        os.write(self.master, data)

    def wait(self, seconds):
        end = self.now() + seconds
        while self.now() < end and not (self.closed and not self.late):
            self.pump(end)

    def waits_for_keys(self):
        """Whether the shell that was started has the terminal, and is in a call that waits for what may be read."""
        if os.tcgetpgrp(self.master) != self.pid:
            return False
        with open(f"/proc/{self.pid}/syscall", encoding="ascii") as call:
            return call.read().split()[0] in WAITING

    def rest(self, quiet=0.15, at_prompt=False):
        """Until nothing has come for `quiet` seconds; with `at_prompt`, and the shell is the foreground again."""
        quiet += self.lag * 1.3
        end = self.now() + PATIENCE
        since = self.now()
        while self.now() < end:
            if self.closed and not self.late:
                return
            front = not at_prompt or self.closed or self.waits_for_keys()
            if not front:
                since = self.now()
            idle_from = max(since, self.last_output)
            if front and not self.late and self.now() - idle_from >= quiet:
                return
            self.pump(min(end, self.now() + 0.03))
        raise Hung(f"no rest within {PATIENCE} s; last: {self.seen[-300:]!r}")

    def wait_for(self, pattern, since):
        end = self.now() + PATIENCE
        while not re.search(pattern, self.seen[since:]):
            if self.now() >= end or (self.closed and not self.late):
                raise Hung(f"never saw {pattern!r}; last: {self.seen[-600:]!r}")
            self.pump(self.now() + 0.05)

    def resize(self, columns, rows):
        self.events.append([round(self.now(), 3), "r", f"{columns}x{rows}"])
        self.columns, self.rows = columns, rows
        set_size(self.master, columns, rows)

    def unrecorded(self, line):
        """One line more for the shell, after the recording."""
        kept = list(self.events)
        self.send(line)
        self.wait(0.7)
        self.events = kept

    def close(self):
        if not self.closed:
            try:
                self.wait(0.2)
            finally:
                os.close(self.master)
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def write(path, header, events):
    with open(path, "w", encoding="utf-8") as out:
        for line in [header, *events]:
            out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
