"""The rows of what a command and a file survive, and at what cost: AWS's agent if it is there, else the embedded one as true
to it."""

import contextlib
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from .agent import has_plugin, missing
from .places import Demo, Emulator, real_agent
from .tools import Scp, called, descendants
from .values import Figure, Value

LOST = 5000  # frames of a lane before it is hurt, in 8 MiB in frames of 1 KiB: in the middle, and the lane that follows carries fewer
WAYS = ("exec down", "exec up", "file down", "file up")


class Bytes:
    """A file that goes back and forth, and whether what came is what went."""

    def __init__(self, mebibytes):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        self.here, self.there = self.dir / "here", self.dir / "there"
        self.here.write_bytes(os.urandom(mebibytes << 20))
        self.mebibytes = mebibytes

    def carry(self, demo, what, limit):
        """Seconds of one transfer; None if it was not whole in time, with what was said."""
        ssh, file = demo.ssh("demo"), f"demo:{self.there}"
        with contextlib.suppress(FileNotFoundError):
            self.there.unlink()
        began = time.monotonic()
        try:
            if what == "exec down":
                with self.there.open("wb") as out:
                    ran = subprocess.run([*ssh, f"cat {self.here}"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=limit)
            elif what == "exec up":
                with self.here.open("rb") as noise:
                    ran = subprocess.run([*ssh, f"cat >{self.there}"], stdin=noise, stderr=subprocess.PIPE, timeout=limit)
            else:
                pair = (f"demo:{self.here}", str(self.there)) if what == "file down" else (str(self.here), file)
                ran = subprocess.run([*Scp(demo.config, "demo"), *pair], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=limit)
        except subprocess.TimeoutExpired:
            return None, f"not within {limit} s"
        took = time.monotonic() - began
        whole = self.there.exists() and self.there.read_bytes() == self.here.read_bytes()
        if ran.returncode == 0 and whole:
            return took, ""
        return None, (ran.stderr.decode(errors="replace").strip() or f"status {ran.returncode}, bytes differ").splitlines()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


def counted(what, found, clean, aim):
    """N of N, and the median beside the clean one's."""
    whole = [took for took, _ in found if took is not None]
    values = [Value(f"{len(whole)} of {len(found)},", statistics.median(whole), "s", 1)] if whole else []
    failed = "; ".join(sorted({f"FAILED: {said}" for took, said in found if took is None}))
    beside = f"clean {clean:.1f} s: {statistics.median(whole) - clean:+.1f} s, slowest {max(whole) - clean:+.1f} s ({aim})" if whole else f"0 of {len(found)} ({aim})"
    return Figure(what, values, f"{beside} {failed}".strip())


def node(options):
    """The node of these rows, and whose agent it is."""
    if options.agent:
        return real_agent(options), "AWS's agent"
    return ["--faithful"], "the embedded agent, faithful"


def faulty(binary, bench, *faults):
    arguments, _ = node(bench.options)
    return Demo(binary, *arguments, *(word for fault in faults for word in ("--fault", fault)))


def clean(binary, bench, cargo):
    """Seconds of each way where nothing goes wrong."""
    def measure():
        with faulty(binary, bench) as fine:
            rounds = range(2 if bench.quick else 5)
            return {what: statistics.median(took for took, _ in (cargo.carry(fine, what, 40) for _ in rounds) if took) for what in WAYS}

    return bench.once(f"clean {binary}", measure)


def hurt_rows(binary, bench, fault, whats, rounds, aim):
    """8 MiB each of these ways, so often, with this fault in each session."""
    _, whose = node(bench.options)
    with Bytes(8) as cargo:
        fine = clean(binary, bench, cargo)
        with faulty(binary, bench, fault) as hurt:
            for what in whats:
                found = []
                for _ in range(rounds):
                    found.append(cargo.carry(hurt, what, 40))
                    # what fails every time need not be waited for ten times
                    if len(found) >= 3 and all(took is None for took, _ in found):
                        break
                yield counted(f"8 MiB {what}, {fault}, {whose}", found, fine[what], aim)


def cut_agent_rows(binary, bench):
    yield from hurt_rows(binary, bench, f"cut agent after {LOST} frames", WAYS, 2 if bench.quick else 10, "10 of 10, at most +3 s")


def pause_rows(binary, bench):
    yield from hurt_rows(binary, bench, f"pause after {LOST} frames", WAYS, 2 if bench.quick else 10, "10 of 10, at most +3 s")


def cut_client_rows(binary, bench):
    yield from hurt_rows(binary, bench, f"cut client after {LOST} frames", WAYS, 2 if bench.quick else 10, "10 of 10, at most +1 s")


def drop_rows(binary, bench):
    """Single frames that are lost, and one call that fails."""
    rounds = 1 if bench.quick else 3
    for fault, aim in (("drop 1%", "exact, no slower than 9.6 s"), ("drop 2%", "exact, no slower than 21 s")):
        yield from hurt_rows(binary, bench, fault, ["exec down"], rounds, aim)
    yield from hurt_rows(binary, bench, "fail StartSession with 500", ["exec down"], 1, "exact")


def far_rows(binary, bench):
    """A line of 40 ms each way, beside what the agent's own window allows there.

    Towards the node that is what the agent takes without any latency, measured here: it keeps 10,000 frames that come out of
    order and needs no window for those that come in order, which on this line is 122 MiB/s. From the node it is what the
    agent sends to AWS's plugin on the same line: it has no window of its own but the 10,000 frames that it remembers.
    """
    options, (arguments, whose) = bench.options, node(bench.options)
    size, took = 8 if bench.quick else 64, {}
    with Bytes(size) as cargo:
        with faulty(binary, bench, "latency 40ms") as far:
            for what in WAYS:
                took[what] = cargo.carry(far, what, 120)
        with Demo(binary, *arguments) as near:
            allowed = {what: size / seconds for what in WAYS if what.endswith("up") and (seconds := cargo.carry(near, what, 120)[0])}
    if has_plugin(options):
        alone, said = bench.once("agent alone", lambda: agent_alone(binary, options, size))
        yield Figure(f"{size} MiB down by AWS's plugin and agent, separate streams, 40 ms each way",
                     [Value("", alone, "MiB/s", 1, True)] if alone else [], said)
        allowed |= {what: alone for what in WAYS if alone and what.endswith("down")}
    else:
        yield missing("what the agent sends by itself, 40 ms each way", "--agent", "--plugin", "--aws")
    for what in WAYS:
        seconds, said = took[what]
        values = [Value("", size / seconds, "MiB/s", 1, True)] if seconds else []
        if seconds and what in allowed:
            said = f"{size / seconds / allowed[what]:.0%} of {allowed[what]:.1f} MiB/s (at least 50%)"
        yield Figure(f"{size} MiB {what}, 40 ms each way, {whose}", values, said if seconds else f"FAILED: {said}")


def agent_alone(binary, options, size):
    """MiB/s of one session of the agent's on such a line, without a gateway; and what went wrong."""
    with Emulator(binary, options.agent, options.plugin, options.aws, "--fault", "latency 40ms") as emulator:
        remote = json.dumps({"command": [f"head -c {size << 20} /dev/zero"]})
        document = ["--document-name", "Figures-FarAgent", "--parameters", remote]
        content = {"schemaVersion": "1.0", "description": "", "sessionType": "NonInteractiveCommands",
                   "parameters": {"command": {"type": "String", "default": "true"}},
                   "properties": {"linux": {"commands": "{{ command }}", "separateOutputStream": True}}}
        subprocess.run([options.aws, "--endpoint-url", emulator.url, "ssm", "create-document", "--document-type", "Session",
                        "--name", "Figures-FarAgent", "--content", json.dumps(content)], check=True, stdout=subprocess.DEVNULL)
        client = subprocess.Popen([*emulator.start, *document], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        got, first, last, end = 0, None, None, time.monotonic() + 120
        while got < size << 20 and time.monotonic() < end:
            if not select.select([client.stdout], [], [], 5)[0]:
                break
            chunk = os.read(client.stdout.fileno(), 1 << 20)
            if not chunk:
                break
            if b"\0" in chunk:
                first, last = first or time.monotonic(), time.monotonic()
            got += chunk.count(b"\0")
        client.kill()
        client.wait()
        whole = got == size << 20 and last > first
        return (size / (last - first), "") if whole else (None, f"FAILED: {got} bytes came")


def worker_rows(binary, bench):
    """A worker is killed under a command that goes on, and all of them with the agent itself: how long until that is told."""
    if not bench.options.agent:
        yield missing("a lane's worker killed: the embedded agent has none", "--agent")
        return
    _, whose = node(bench.options)
    with faulty(binary, bench) as real:
        for which in (0, -1):
            client = subprocess.Popen(real.ssh("demo", "cat; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo $i; done; exit 7"),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            client.stdin.write("first\n")
            client.stdin.flush()
            client.stdout.readline()
            os.kill(sorted(called(descendants(real.process.pid), "ssm-session-wor"))[which], signal.SIGKILL)
            began = time.monotonic()
            try:
                out, said = client.communicate("last\n", timeout=60)
            except subprocess.TimeoutExpired:
                client.kill()
                out, said = client.communicate()
            took = time.monotonic() - began
            whole = client.returncode == 7 and out == "last\n" + "".join(f"{i}\n" for i in range(1, 9))
            beside = f"a command of 4 s: {took - 4:+.1f} s (at most +3 s)" if whole else f"FAILED: status {client.returncode}, {said.strip()}"
            yield Figure(f"{'first' if which == 0 else 'last'} worker of a command killed, {whose}", [Value("", took, "s")], beside)
    with faulty(binary, bench) as real:
        client = subprocess.Popen(real.ssh("demo", "echo up; sleep 1000"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        client.stdout.readline()
        for pid in [pid for pid in descendants(real.process.pid) if Path(f"/proc/{pid}/comm").read_text().strip() != "unshare"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        told = client.stderr.readline()
        at = time.monotonic() - began
        try:
            _, said = client.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            client.kill()
            _, said = client.communicate()
        values = [Value("told", at, "s"), Value("given up", time.monotonic() - began, "s")]
        yield Figure(f"the node is gone, {whose}", values,
                     f"told within 10: status {client.returncode}, {' '.join((told + said).split())}")
