"""What a client is here: a way to ask it for each feature. A library has a small program of ours that does so (tests/clients).

    exec COMMAND             runs it; standard input, output, errors and the exit status are the command's
    shell                    a shell on a terminal of 132 columns and 43 lines; standard input is typed
    sftp LOCAL THERE BACK    makes the directory THERE, copies LOCAL to THERE/file, renames it to THERE/moved, links THERE/link to
                             `moved`, makes the file 0600, lists, and copies it to BACK
    scp LOCAL THERE BACK     copies LOCAL to the file THERE, and that to BACK
    many COUNT               COUNT commands at once on one connection; command N says N and exits with N mod 7; lines `N STATUS`
    forward HOST PORT        what comes on standard input goes there, and back
    hop NODE USER COMMAND    a connection through the gateway's own, to that node, and the command on it
    coded CODE COMMAND       as exec, for somebody who is asked for a code after the key
"""

import os
import subprocess
import sys
import time
from pathlib import Path

# how long anything may take that has no deadline of its own: two busy cores, a debug build
PATIENCE = 120

# a person at a terminal
TERMINAL = (sys.executable, Path(__file__).with_name("terminal.py"))


class Failed(Exception):
    """What was tried did not come out as it must."""


class Run:
    """A program that ended, and what it said."""

    def __init__(self, argv, code, out, err, took):
        self.argv, self.code, self.out, self.err, self.took = argv, code, out, err, took

    def __str__(self):
        words = " ".join(map(str, self.argv))
        return f"{words[:300]}: exit {self.code} after {self.took:.1f} s; said {self.out[-400:]!r}, and on stderr {self.err[-600:]!r}"


def run(argv, stdin=b"", timeout=PATIENCE, env=None, cwd=None):
    """Runs a program to its end or to the deadline, with these bytes on standard input (none: /dev/null)."""
    began = time.monotonic()
    how = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run([str(word) for word in argv], capture_output=True, timeout=timeout, cwd=cwd,
                              env={**os.environ, **(env or {})}, **how)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"no end after {timeout} s: {Run(argv, 'none', late.stdout or b'', late.stderr or b'', timeout)}") from None
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not there; scripts/setup.sh clients installs it") from None
    return Run(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def ok(argv, stdin=b"", **how):
    """The same, and it must end with 0."""
    done = run(argv, stdin, **how)
    expect(done.code == 0, done)
    return done


def expect(holds, said):
    if not holds:
        raise Failed(str(said))


class Client:
    """A client program or library. `lacks` says which features it has not, and why; `cannot` which it has and can't do here, and why."""

    name = slug = ""
    lacks = {}
    cannot = {}
    # which of the gateway's addresses it is driven at, by the algorithms that are spoken there
    home = "compatible"
    # whether it makes links and sets modes, and what `stty size` has to say in a shell of it
    links, terminal = True, b"43x132"

    def __init__(self, place):
        self.place = place

    # what a client is asked for: argument lists, for `profile` one of the gateway's addresses
    def exec(self, command, profile="compatible"):
        raise NotImplementedError

    def shell(self):
        raise NotImplementedError

    def shell_ends(self, code):
        """What it ends with where the shell ended so."""
        return code

    def sftp(self, local, there, back):
        """Some take several programs: whoever does not give an argument list does it and gives none."""
        raise NotImplementedError

    def scp(self, local, there, back):
        raise NotImplementedError

    def many(self, count):
        raise NotImplementedError

    def forward(self, host, port):
        raise NotImplementedError

    def hop(self, node, user, command):
        raise NotImplementedError

    def coded(self, command):
        """The argument list, and what it needs in its environment and on its standard input."""
        raise NotImplementedError


class Probe(Client):
    """A library, by a program of ours."""

    program = ()
    key = "ed25519"
    env = {}

    def ask(self, *words, user=None, profile=None, key=None):
        place = self.place
        return [*self.program, "127.0.0.1", place.ports[profile or self.home], user or place.login, key or place.keys[self.key], *words]

    def exec(self, command, profile=None):
        return self.ask("exec", command, profile=profile)

    def shell(self):
        return self.ask("shell")

    def sftp(self, local, there, back):
        return self.ask("sftp", local, there, back)

    def scp(self, local, there, back):
        return self.ask("scp", local, there, back)

    def many(self, count):
        return self.ask("many", count)

    def forward(self, host, port):
        return self.ask("forward", host, port)

    def hop(self, node, user, command):
        return self.ask("hop", node, user, command, user=self.place.person)

    def coded(self, command):
        who = self.place.coded(self.key)
        return self.ask("coded", who.code(), command, user=who.login, key=who.key), {}, b""
