"""What is measured with: commands, copies, terminals, and what /proc says of processes."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path


def transfers(label, scp, content, place):
    """MiB/s of scp up and down; the files are compared."""
    here, there, back = place / "here", place / "there", place / "back"
    here.write_bytes(content)
    speeds = []
    for source, target in ((str(here), f"HOST:{there}"), (f"HOST:{there}", str(back))):
        began = time.monotonic()
        subprocess.run([*scp, source.replace("HOST", scp.host), target.replace("HOST", scp.host)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        speeds.append(len(content) / (1 << 20) / (time.monotonic() - began))
    same = here.read_bytes() == back.read_bytes()
    for path in (here, there, back):
        path.unlink()
    if not same:
        sys.exit(f"{label}: the bytes differ")
    return speeds


class Scp(list):
    def __init__(self, config, host):
        super().__init__(["scp", "-q", "-F", str(config)])
        self.host = host


def through(command, remote, content=None):
    """Runs a remote command on a connection that is open, with this file on its input."""
    with open(content or os.devnull, "rb") as given:
        subprocess.run([*command, remote], check=True, stdin=given, stdout=subprocess.DEVNULL)


def times(command, count):
    """Milliseconds of a command, several times."""
    found = []
    for _ in range(count):
        began = time.monotonic()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        found.append((time.monotonic() - began) * 1000)
    return found


class Broken(Exception):
    """What was to be measured does not work."""


class Shell:
    """A program on a terminal."""

    def __init__(self, command, env=None):
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(env or {})
            os.environ["TERM"] = "xterm"
            os.execvp(command[0], command)
        self.seen = b""

    def read_until(self, done, seconds=60):
        end = time.monotonic() + seconds
        while not done(self.seen):
            left = end - time.monotonic()
            if left <= 0:
                raise Broken(f"a shell does not answer: {self.seen[-200:]!r}")
            if select.select([self.fd], [], [], left)[0]:
                try:
                    chunk = os.read(self.fd, 65536)
                except OSError:
                    chunk = b""
                if not chunk:
                    raise Broken(f"a shell has ended: {self.seen[-200:]!r}")
                self.seen += chunk

    def first_prompt(self):
        self.read_until(lambda seen: re.search(rb"[$#%>] ?(\x1b\[[?0-9;]*[a-zA-Z])*$", seen))
        return (time.monotonic() - self.began) * 1000

    def to_the_end(self):
        """All that it shows until it ends; how many bytes that was."""
        shown = 0
        with contextlib.suppress(OSError):
            while chunk := os.read(self.fd, 65536):
                shown += len(chunk)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return shown

    def quiet(self):
        time.sleep(1.5)
        while select.select([self.fd], [], [], 0.2)[0]:
            os.read(self.fd, 65536)

    def cat(self):
        os.write(self.fd, b"cat >/dev/null\r")
        self.quiet()

    def echoes(self, count, pause):
        """Milliseconds from a key to its echo, in `cat`, as the terminal's own echo."""
        found = []
        for number in range(count):
            if number % 60 == 0:
                # a new line, which `cat` says again: all of that must have come before the next key
                os.write(self.fd, b"\r")
                while select.select([self.fd], [], [], 0.1)[0]:
                    os.read(self.fd, 65536)
            key = b"abcdefghijklmnopqrstuvwxyz"[number % 26:number % 26 + 1]
            seen = b""
            began = time.monotonic()
            os.write(self.fd, key)
            while key not in seen:
                if not select.select([self.fd], [], [], 10)[0]:
                    raise SystemExit("a key was not echoed within ten seconds")
                seen += os.read(self.fd, 65536)
            found.append((time.monotonic() - began) * 1000)
            time.sleep(pause)
        return found

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@contextlib.contextmanager
def idle_shells(command, count):
    """So many shells that have shown a prompt, one started after the other."""
    started = []
    try:
        for _ in range(count):
            started.append(Shell(command))
            started[-1].first_prompt()
        yield started
    finally:
        for shell in started:
            shell.end()


def all_answer(shells):
    for shell in shells:
        os.write(shell.fd, b"echo $((40+2))x\r")
    for shell in shells:
        shell.read_until(lambda seen: b"42x" in seen)


def resident(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def cpu_ms(pids, waited_for=False):
    """What processes have had of the CPU so far, user and system, all their threads, in milliseconds; with the children that they have
    waited for, or without."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15] if waited_for else fields[11:13]))
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def activity(pid):
    """How often the threads of a process went to sleep by themselves, and their time on the CPU in milliseconds, finer than
    ticks: each waking is one going to sleep."""
    switches = nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE).group(1))
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return switches, nanoseconds / 1e6


def descendants(pid):
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, stack = [], [pid]
    while stack:
        for child in children.get(stack.pop(), []):
            found.append(child)
            stack.append(child)
    return found


def called(pids, name):
    """Those of them that run a program of this name."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                yield pid


def pss(pid):
    with contextlib.suppress(OSError):
        return int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text()).group(1))
    return 0


def at_once(commands):
    """Starts all of them, and waits for them all; whether each went well."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return [process.wait() == 0 for process in [subprocess.Popen(command, **quiet) for command in commands]]
