"""The features that each client is tried for: the columns of the table. A check says nothing where it holds, and raises Failed."""

import os
import stat
import subprocess
import threading
import time

from .client import PATIENCE, Run, expect, ok, run
from .place import GREETING

# what carriers are known to damage: every byte, what looks like the agent's own marks, ends that are no whole letters
TRICKY = bytes(range(256)) + b"\xef\xbf\xbd and \xf0\x9f\x98\r\n~.\r\n" + bytes(8)
MANY = 20


def content(size):
    """Bytes that nothing shrinks, with all that is tricky at both ends."""
    return TRICKY + os.urandom(size) + TRICKY + b"\xfd\xfe\xff"


def key(place, client):
    done = ok(client.exec("echo in"))
    expect(done.out == b"in\n", done)


def modern(place, client):
    done = ok(client.exec("echo in", profile="modern"))
    expect(done.out == b"in\n", done)


def coded(place, client):
    argv, env, stdin = client.coded("echo in")
    done = ok(argv, stdin, env=env)
    expect(b"in\n" in done.out.replace(b"\r", b""), done)


def status(place, client):
    for code in (0, 1, 3, 42, 126, 130):
        done = run(client.exec(f"exit {code}"), None)
        expect(done.code == code, f"wanted {code}: {done}")
    done = run(client.exec("no-such-command-anywhere"), None)
    expect(done.code == 127, done)


def exact(place, client):
    sent = content(3 << 20)
    done = ok(client.exec("cat"), sent)
    expect(done.out == sent, f"{len(done.out)} of {len(sent)} bytes came back, or others: {done}")
    # the end of input is told, and what comes after it is heard
    done = ok(client.exec("wc -c; echo after"), sent[:100_000])
    expect(done.out.split() == [b"100000", b"after"], done)


def errors(place, client):
    sent = content(100_000)
    done = ok(client.exec("tee /dev/stderr"), sent)
    expect(done.out == sent, f"stdout: {len(done.out)} of {len(sent)} bytes")
    expect(done.err == sent, f"stderr: {len(done.err)} of {len(sent)} bytes")


def shell(place, client):
    """Typed one line after the other, as a person would, and read as it comes."""
    typed = b"stty -echo; export PS1=; stty size | tr ' ' x; tty | cut -c-5; echo in-$((40 + 2)); exit 5\n"
    argv = client.shell()
    said = run(argv, typed)
    shown = said.out.replace(b"\r", b"")
    expect(b"in-42" in shown and b"/dev/" in shown, said)
    expect(client.terminal is None or client.terminal in shown, f"the terminal is not {client.terminal}: {said}")
    expect(said.code == client.shell_ends(5), said)


def sftp(place, client):
    there = place.fresh(f"{client.slug}-sftp")
    local, back, sent = there / "local", there / "back", content(2 << 20)
    local.write_bytes(sent)
    remote = there / "made"
    argv = client.sftp(local, remote, back)
    if argv:
        ok(argv)
    moved = remote / "moved"
    expect(moved.read_bytes() == sent, "what came to the node is not what was sent")
    expect(back.read_bytes() == sent, "what came back is not what was sent")
    link = remote / "link"
    if client.links:
        expect(link.is_symlink() and os.readlink(link).endswith("moved"), f"{link} is no link to `moved`: {os.listdir(remote)}")
        expect(stat.S_IMODE(moved.stat().st_mode) == 0o600, f"mode {moved.stat().st_mode:o}")


def scp(place, client):
    there = place.fresh(f"{client.slug}-scp")
    local, back, sent = there / "local", there / "back", content(2 << 20)
    local.write_bytes(sent)
    argv = client.scp(local, there / "copied", back)
    if argv:
        ok(argv)
    expect((there / "copied").read_bytes() == sent, "what came to the node is not what was sent")
    expect(back.read_bytes() == sent, "what came back is not what was sent")


def many(place, client):
    done = ok(client.many(MANY), None)
    wanted = [f"{number} {number % 7}" for number in range(MANY)]
    expect(done.out.decode().split("\n")[:MANY] == wanted, done)


def relayed(argv, data, **how):
    """Gives a program this on standard input, which stays open, until as much and the greeting have come back."""
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    try:
        greeting = process.stdout.read(len(GREETING))
        came = b""
        if greeting == GREETING:
            threading.Thread(target=feed, args=(process.stdin, len(data).to_bytes(4, "big") + data), daemon=True).start()
            came = process.stdout.read(len(data))
        else:
            process.stdin.close()
        # whoever holds its input open till now lets go
        process.terminate()
        err = process.stderr.read()
        return Run(argv, process.wait(), greeting + came, err, time.monotonic() - began)
    finally:
        killer.cancel()


def feed(pipe, data):
    try:
        pipe.write(data)
        pipe.flush()
    except OSError:
        pass


def forward(place, client):
    data = content(300_000)
    done = relayed(client.forward("127.0.0.1", place.server.port), data)
    expect(done.out == GREETING + data, f"{len(done.out)} bytes came: {done}")


def hop(place, client):
    done = ok(client.hop(place.node, place.os_user, "cat; exit 0"), b"through")
    expect(done.out == b"through", done)


# in the order of the columns; what the table calls them
FEATURES = {
    "key": (key, "key"),
    "code": (coded, "key and code"),
    "modern": (modern, "default algorithms"),
    "status": (status, "exit status"),
    "exact": (exact, "stdin, stdout exact"),
    "errors": (errors, "stderr apart"),
    "shell": (shell, "shell, pty"),
    "sftp": (sftp, "SFTP"),
    "scp": (scp, "SCP"),
    "many": (many, f"{MANY} channels"),
    "forward": (forward, "forward"),
    "hop": (hop, "hop"),
}
