"""The row of logins: what a key exchange and the proof of a key cost, beside OpenSSH's server."""

import statistics
import subprocess

from .places import Gateway
from .tools import Broken, cpu_ms
from .values import Figure, Value

# both the same, of what either of them would choose from
ALIKE = ["-o", "KexAlgorithms=curve25519-sha256", "-o", "HostKeyAlgorithms=ssh-ed25519", "-o", "Ciphers=aes256-gcm@openssh.com"]
# it goes as soon as it has been let in, so that no session is in the figure
LEAVE = ["-N", "-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo in; kill -TERM $PPID"]
CONNECTIONS = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]


def cost(pid, ssh, host, count):
    """CPU seconds of one login: an sshd has children for each connection, which it waits for."""
    before = cpu_ms([pid], waited_for=True)
    for _ in range(count):
        said = subprocess.run([*ssh, *CONNECTIONS, *ALIKE, *LEAVE, host], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60).stdout
        if said != b"in\n":
            raise Broken(f"no login at {host}")
    return (cpu_ms([pid], waited_for=True) - before) / 1000 / count


def handshake_rows(binary, bench):
    count, rounds = (20, 1) if bench.quick else (100, 5)
    with Gateway(binary) as gateway:
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(cost(bench.sshd.process.pid, ["ssh", "-F", str(bench.sshd.config)], "local", count))
            ours.append(cost(gateway.pid, gateway.ssh, "demo", count))
    here, there = 1 / statistics.median(ours), 1 / statistics.median(theirs)
    yield Figure("logins a second of one core: key exchange (curve25519), an Ed25519 key, no session",
                 [Value("", here, "logins", 0, True), Value("", here / there, "times an sshd's", 2, True)],
                 f"clean sshd {there:.0f}; at least half of it")
