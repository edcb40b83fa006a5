"""3 GiB each way with recording on (scripts/clients.sh --big): whether all of it comes, and what the gateway's memory does meanwhile."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from measured.tools import resident

from .client import Failed, expect, ok
from .openssh import OpenSsh

SIZE = 3 << 30
# what a transfer may take of the gateway's memory beside what it had, in KiB
GROWTH = 64 << 10
# a debug build on two busy cores; SIZE in that time is 2 MiB/s
PATIENCE = 1500


def sha256(path):
    return ok(["sha256sum", path], timeout=PATIENCE).out.split()[0].decode()


class Watch:
    """The most memory that a process had while this was open, in KiB."""

    def __init__(self, pid):
        self.pid, self.most, self.done = pid, resident(pid), threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.done.wait(0.2):
            self.most = max(self.most, resident(self.pid))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def content(path):
    """Bytes that nothing shrinks, other ones in each piece, so that a piece in another's place shows."""
    with path.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))


def both_ways(place):
    work = place.fresh("big")
    if (free := shutil.disk_usage(work).free) < 4 * SIZE:
        raise Failed(f"{4 * SIZE >> 30} GiB of disk are needed, and {free >> 30} are there")
    ssh = OpenSsh(place)
    here, there, back = work / "here", work / "there", work / "back"
    content(here)
    wanted, told = sha256(here), []
    ways = {
        "SFTP": ((lambda: ok(["scp", "-q", "-s", "-F", ssh.config, here, f"demo:{there}"], timeout=PATIENCE)),
                 (lambda: ok(["scp", "-q", "-s", "-F", ssh.config, f"demo:{there}", back], timeout=PATIENCE))),
        "a command": ((lambda: piped(ssh.ssh("demo", f"cat >{there}"), here, Path(os.devnull))),
                      (lambda: piped(ssh.ssh("demo", f"cat {there}"), Path(os.devnull), back))),
    }
    for name, (up, down) in ways.items():
        for there_and_back, copy, result in (("up", up, there), ("down", down, back)):
            before, began = resident(place.process.pid), time.monotonic()
            with Watch(place.process.pid) as watch:
                copy()
            took = time.monotonic() - began
            expect(result.stat().st_size == SIZE and sha256(result) == wanted, f"{name}, {there_and_back}: other bytes came")
            grew = max(0, watch.most - before)
            expect(grew <= GROWTH, f"{name}, {there_and_back}: the gateway's memory grew by {grew >> 10} MiB, to {watch.most >> 10} MiB")
            told.append(f"{name} {there_and_back} {SIZE / took / (1 << 20):.0f} MiB/s, {watch.most >> 10} MiB of memory (+{grew >> 10})")
        there.unlink()
        back.unlink()
    return f"{'; '.join(told)}; {recorded(place)}"


def piped(argv, stdin, stdout):
    with stdin.open("rb") as source, stdout.open("wb") as to:
        done = subprocess.run([str(word) for word in argv], stdin=source, stdout=to, stderr=subprocess.PIPE, timeout=PATIENCE)
    expect(done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]!r}")


def recorded(place):
    """Each of the transfers has its folder, which is whole."""
    folders = [path.parent for path in (place.dir / "sessions").rglob("manifest*")]
    expect(len(folders) >= 4, f"{len(folders)} sessions were recorded")
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    return f"{len(folders)} recorded sessions, {size >> 10} KiB in their folders"
