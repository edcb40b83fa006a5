"""The rows with the embedded service: what a gateway costs and holds, and what it takes beside an sshd."""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from .places import PLAIN, Demo, Gateway, Master
from .tools import (
    Scp,
    activity,
    all_answer,
    at_once,
    cpu_ms,
    descendants,
    idle_shells,
    pss,
    resident,
    through,
    times,
    transfers,
)
from .values import Figure, Value, speeds


def embedded_rows(binary, bench):
    size = 16 if bench.quick else 64
    for frame in bench.frames:
        with Demo(binary, "--frame-bytes", str(frame)) as demo:
            place = Path(tempfile.mkdtemp(prefix="figures"))
            up, down = transfers("embedded", Scp(demo.config, "demo"), os.urandom(size << 20), place)
            shutil.rmtree(place)
        yield Figure(f"scp {size} MiB, embedded agent (fast), frames of {frame}",
                     speeds(up * 1.048576, down * 1.048576, "MB/s", 0), "must reach 40 each")


def cpu_rows(binary, bench):
    """What a MiB costs the gateway, both ways, beside what it costs an sshd that is a jump host."""
    size = 16 if bench.quick else 128

    # bytes that nobody can make fewer
    noise = tempfile.NamedTemporaryFile()
    noise.write(os.urandom(size << 20))
    noise.flush()

    def both_ways(master, pids):
        costs = []
        through(master.command, "true")
        for remote, up in (("cat >/dev/null", noise.name), (f"cat {noise.name}", None)):
            before = cpu_ms(pids())
            through(master.command, remote, up)
            costs.append((cpu_ms(pids()) - before) / size)
        return costs

    def jump_host():
        with Master(bench.sshd.behind, "local") as master:
            return both_ways(master, lambda: descendants(bench.sshd.jump.pid))

    jump = bench.once("jump host", jump_host)
    with Gateway(binary) as gateway, Master(gateway.config, "demo") as master:
        up, down = both_ways(master, lambda: [gateway.pid])
    yield Figure("CPU of the gateway's process per MiB, frames of 1024", [Value("up", up, "ms"), Value("down", down, "ms")],
                 f"sshd as a jump host: up {jump[0]:.1f}, down {jump[1]:.1f} ms")


def latency_rows(binary, bench):
    """A command, beside the same on an sshd: one user, one machine, and the same start-up files, which are none."""
    sshd, count = bench.sshd, 5 if bench.quick else 31
    with Demo(binary, home=sshd.home) as demo:
        local = ["ssh", "-F", str(sshd.config), "local", "true"]
        ours = demo.ssh("demo", "true")

        def pairs(local, ours):
            times(local, 2), times(ours, 2)
            columns = zip(*[(times(local, 1)[0], times(ours, 1)[0]) for _ in range(count)])
            return [statistics.median(column) for column in columns]

        base, here = pairs(local, ours)
        yield Figure("ssh demo true, cold", [Value("", here, "ms")], f"clean sshd {base:.1f} ms: {here - base:+.1f} ms (at most +100)")
        with Master(sshd.config, "local") as other, Master(demo.config, "demo") as master:
            base, here = pairs([*other.command, "true"], [*master.command, "true"])
        yield Figure("ssh demo true, on a connection already up", [Value("", here, "ms")],
                     f"clean sshd {base:.1f} ms: {here - base:+.1f} ms (at most +15)")


def shells_rows(binary, bench):
    """Idle shells at once: what each costs the gateway in memory, wakings and time."""
    count = 20 if bench.quick else bench.options.shells
    seconds = 10 if bench.quick else 60

    def rates(pid):
        before = activity(pid)
        time.sleep(seconds)
        return [(late - early) / seconds for early, late in zip(before, activity(pid))]

    with Gateway(binary) as gateway:
        time.sleep(2)
        alone = rates(gateway.pid)
        before = resident(gateway.pid)
        with idle_shells([*gateway.ssh, *PLAIN], count) as shells:
            # what the start of the last ones leaves to do is not idleness
            time.sleep(5)
            memory = (resident(gateway.pid) - before) / count
            wakings, milliseconds = ((full - empty) / count for full, empty in zip(rates(gateway.pid), alone))
            yield Figure(f"the gateway per idle shell, {count} at once",
                         [Value("", memory, "KiB", 0), Value("", wakings, "wake-ups/s", 2), Value("", milliseconds, "ms of CPU/s", 3)],
                         "at most 200 KiB; the plugin takes 8,000 to 19,000")
            node = [pss(pid) for pid in descendants(gateway.service.pid)]
            all_answer(shells)
            yield Figure(f"{count} idle shells at once: all hold and answer; each on the node",
                         [Value("", len(node) / count, "processes"), Value("", sum(node) / count / 1024, "MiB (PSS)")])


def burst_rows(binary, bench):
    """What the gateway holds 30 s after a burst."""
    copies, sessions = (6, 50) if bench.quick else (24, 500)
    with Gateway(binary) as gateway:
        time.sleep(2)
        first = resident(gateway.pid)
        place = Path(tempfile.mkdtemp(prefix="figures"))
        (place / "here").write_bytes(os.urandom(8 << 20))
        scp = ["scp", "-q", "-F", str(gateway.config)]
        fine = at_once([*scp, place / "here", f"demo:{place}/there{n}"] for n in range(copies))
        fine += at_once([*scp, f"demo:{place}/there{n}", place / f"back{n}"] for n in range(copies))
        shutil.rmtree(place)
        for begin in range(0, sessions, 25):
            fine += at_once([*gateway.ssh, "demo", "true"] for _ in range(begin, min(begin + 25, sessions)))
        if not all(fine):
            sys.exit(f"{fine.count(False)} of the burst failed")
        time.sleep(30)
        yield Figure(f"the gateway's memory 30 s after {copies} copies of 8 MiB each way and {sessions} sessions",
                     [Value("", resident(gateway.pid) / first, "times the first", 1)], "at most 2")


def nobody_rows(binary, bench):
    """What the gateway holds for somebody who may do nothing."""
    with Gateway(binary) as gateway:
        time.sleep(2)
        first, most, dir = resident(gateway.pid), 0, Path(tempfile.mkdtemp(prefix="figures"))
        nobody = [*gateway.ssh, *gateway.nobody, "-o", "BatchMode=yes", "demo"]
        masters = [subprocess.Popen([*nobody[:-1], "-MN", "-S", dir / f"{n}", "demo"], stdin=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for n in range(8)]
        time.sleep(3)
        with open("/dev/zero", "rb") as zero:
            asking = [subprocess.Popen([*nobody[:-1], "-o", "ProxyCommand=false", "-S", dir / f"{n % 8}", "demo", "cat"],
                                       stdin=zero, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(8 * 64)]
            end = time.monotonic() + 10
            while time.monotonic() < end:
                most = max(most, resident(gateway.pid))
                time.sleep(0.1)
        for process in asking + masters:
            process.kill()
            process.wait()
        shutil.rmtree(dir, ignore_errors=True)
        yield Figure("the gateway's memory for a person without a rule, 8 connections of 64 sessions that send all they may",
                     [Value("", (most - first) / 1024, "MiB")], "at most 8")


def strangers_rows(binary, bench):
    """A person's login beside 1,000 connections that say nothing, and 50 new ones a second."""
    def connect(number, port):
        stranger = socket.socket()
        stranger.bind((f"127.{1 + number // 65536}.{number // 256 % 256}.{number % 256}", 0))
        stranger.settimeout(1)
        with contextlib.suppress(OSError):
            stranger.connect(("127.0.0.1", port))
        return stranger

    count = 10 if bench.quick else 30
    with Gateway(binary) as gateway:
        login = [*gateway.ssh, "demo", "true"]
        alone = times(login, count)
        held, done = [connect(number, gateway.port) for number in range(1000)], threading.Event()

        def come():
            number = 1000
            while not done.wait(0.02):
                held.append(connect(number, gateway.port))
                number += 1

        coming = threading.Thread(target=come)
        coming.start()
        beside, refused = [], ""
        try:
            for _ in range(count):
                beside += times(login, 1)
        except subprocess.CalledProcessError:
            refused = f"FAILED: login {len(beside) + 1} of {count} was refused; "
        done.set()
        coming.join()
        for stranger in held:
            stranger.close()
        yield Figure("ssh demo true, beside 1,000 silent strangers and 50 new ones a second",
                     [Value("p50", statistics.median(beside), "ms"), Value("longest", max(beside), "ms")] if beside else [],
                     f"{refused}alone {statistics.median(alone):.0f} ms, longest {max(alone):.0f} ms; at most 1,000 ms")
