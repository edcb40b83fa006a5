"""How editors, database tools and image builders dial: the sequences that they are known by, with the clients that they are made of."""

import re
import socket
import subprocess
import time

from .client import PATIENCE, Failed, expect, ok, run
from .features import content
from .libraries import Jsch, XCrypto
from .openssh import OpenSsh, Shared
from .place import GREETING, free_port

# an editor's script in small: it makes its directory, unpacks what came, starts a server that outlives this, and says where it listens
INSTALL = r"""
set -e
echo "%(id)s: running"
mkdir -p "$HERE" && cd "$HERE"
uname -rsv
printf '%%s' '%(payload)s' >payload
if [ ! -e port ]; then
  nohup python3 server.py >log 2>&1 </dev/null &
fi
n=0; until [ -s port ]; do n=$((n + 1)); [ $n -lt 200 ]; sleep 0.1; done
echo "%(id)s: start"
echo "listeningOn==$(cat port)=="
echo "%(id)s: end"
"""

SERVER = r"""
import os, socket, threading
listener = socket.create_server(("127.0.0.1", 0))
open("port.new", "w").write(str(listener.getsockname()[1]))
os.rename("port.new", "port")
def serve(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.close()
listener.settimeout(120)
try:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
except TimeoutError:
    pass
"""


def vscode_dial(place, work, *options):
    """One dial: `ssh -T … host bash`, the script on standard input, which stays open as the editor's does."""
    script = f"HERE='{work}/server'\n" + INSTALL % {"id": "portcullis-dial", "payload": "x" * 200_000}
    argv = [str(word) for word in OpenSsh(place).ssh("-T", *options, "demo", "bash")]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(script.encode())
    process.stdin.flush()
    said, end = b"", time.monotonic() + PATIENCE
    while b"portcullis-dial: end" not in said:
        line = process.stdout.readline()
        said += line
        if not line or time.monotonic() > end:
            process.kill()
            raise Failed(f"the install does not come to its end: {said!r}, {process.stderr.read()[-500:]!r}")
    return process, int(re.search(rb"listeningOn==(\d+)==", said).group(1))


def vscode_prepare(place, name):
    work = place.fresh(name)
    (work / "server").mkdir()
    (work / "server" / "server.py").write_text(SERVER)
    return work


def vscode_install(place):
    """Five dials one after the other, as a window that is reloaded: each finds the server that the first has left running."""
    work = vscode_prepare(place, "vscode")
    ports = set()
    for _ in range(5):
        process, port = vscode_dial(place, work)
        ports.add(port)
        process.stdin.close()
        expect(process.wait(PATIENCE) == 0, "a dial did not end with 0")
    expect(len(ports) == 1, f"the server did not outlive its dial: {ports}")
    expect(len((work / "server" / "payload").read_bytes()) == 200_000, "the script came in part")


def vscode_forward(place):
    """The server is talked to by -D, on several channels at once, while the dial stays open."""
    work = vscode_prepare(place, "vscode-forward")
    socks = free_port()
    process, port = vscode_dial(place, work, "-D", f"127.0.0.1:{socks}")
    try:
        connections = [socks_connect(socks, "127.0.0.1", port) for _ in range(8)]
        data = content(100_000)
        for number, connection in enumerate(connections):
            connection.sendall(bytes([number]) + data)
        for number, connection in enumerate(connections):
            # ssh stays as long as one of them is open
            with connection:
                came = b""
                while len(came) <= len(data):
                    part = connection.recv(1 << 16)
                    expect(part, f"channel {number} ended after {len(came)} bytes")
                    came += part
                expect(came == bytes([number]) + data, f"channel {number} has others' bytes")
        process.stdin.close()
        expect(process.wait(PATIENCE) == 0, "the dial did not end with 0")
    finally:
        process.kill()
        process.wait()


def socks_connect(port, host, to):
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.sendall(b"\x05\x01\x00")
    expect(connection.recv(2) == b"\x05\x00", "no SOCKS at the dial's end")
    name = host.encode()
    connection.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + to.to_bytes(2, "big"))
    answer = b""
    while len(answer) < 10:
        part = connection.recv(10 - len(answer))
        if not part:
            raise Refused
        answer += part
    expect(answer[1] == 0, f"SOCKS says {answer!r}")
    return connection


class Refused(Exception):
    """The forward was not opened."""


def refused_at_once(place):
    """Editors fall back to another way when a forward is refused, so that is told within 50 ms: the best of five, on a busy machine."""
    ssh, socks = OpenSsh(place), free_port()
    with Shared(ssh, "-D", f"127.0.0.1:{socks}") as shared:
        ok(shared.through("demo", "true"))
        took = []
        for _ in range(5):
            began = time.monotonic()
            try:
                socks_connect(socks, "169.254.169.254", 80).close()
            except Refused:
                took.append(time.monotonic() - began)
            else:
                raise Failed("the address of the metadata service was reached")
        expect(min(took) < 0.05, f"refused after {[f'{1000 * one:.0f} ms' for one in took]}")
        # and what the connection is for goes on
        ok(shared.through("demo", "true"))
        return f"{min(took) * 1000:.0f} ms"


def packer(place):
    """Its communicator: keep-alives of its own, a script and a directory by scp, and the script with variables before it."""
    work = place.fresh("packer")
    script = work / "script.sh"
    script.write_text('#!/bin/sh\necho "built by $PACKER_BUILDER_TYPE"; exit 7\n')
    done = run(XCrypto(place).ask("packer", script, work / "uploaded.sh", work / "back"), None)
    # on a terminal, and without
    expect(done.code == 7 and done.out == b"built by null\r\nbuilt by null\n", done)
    for name in ("one", "two"):
        expect((work / "uploaded.sh.d" / name).read_bytes() == b"content\0\xff\n" * 10_000, f"{name} of the directory came as another")
    expect((work / "back").read_bytes() == script.read_bytes(), "what came back is not what was sent")


def dbeaver(place):
    """A local port of JSch with keep-alives, and a database that speaks first; twice, since a second connection has hung elsewhere."""
    for _ in range(2):
        done = ok(Jsch(place).ask("tunnel", "127.0.0.1", place.server.port), None)
        expect(done.out == GREETING, done)


def jetbrains(place):
    """Several connections one after the other: what the machine is, the backend's files by SFTP, its start, its state, its log."""
    work, client = place.fresh("jetbrains"), Jsch(place)
    for probe in ("uname -sm", 'echo "$HOME"', "test -d /tmp && echo yes", "command -v sh"):
        done = ok(client.exec(probe), None)
        expect(done.out.strip(), done)
    backend = work / "backend.sh"
    backend.write_text("#!/bin/sh\necho started >\"$(dirname \"$0\")/state\"; exec sleep 20\n")
    ok(client.sftp(backend, work / "made", work / "back"), None)
    remote = work / "made" / "moved"
    ok(client.exec(f"chmod 700 {remote}; nohup {remote} >/dev/null 2>&1 </dev/null & echo $!"), None)
    end = time.monotonic() + PATIENCE
    while ok(client.exec(f"cat {remote.parent}/state 2>/dev/null; true"), None).out != b"started\n":
        expect(time.monotonic() < end, "the backend does not run")
