#!/usr/bin/env python3
"""The figures: one command measures them and prints a table.

    scripts/figures.py [--agent DIR] [--plugin FILE --aws COMMAND] [--frames 1024,32768] [--shells 500] [--quick]
    scripts/figures.py --portcullis FILE --before FILE [...]

Builds the release binary (or takes the one that is given), starts demos with it, and drives OpenSSH's own client. What is
compared is measured in the same run. Without AWS's agent (--agent) or plugin, the rows that need them say so. With --before,
every row is measured with both programs, in turns, and the table says how much slower the second one is.
"""

import argparse
import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Value(NamedTuple):
    """A number that can be compared with another program's."""

    name: str
    number: float
    unit: str
    digits: int = 1
    more_is_better: bool = False

    def __str__(self):
        return f"{self.name} {self.number:.{self.digits}f} {self.unit}".strip()


class Figure(NamedTuple):
    """A row: what was measured, its numbers, and what it is to be read beside."""

    what: str
    values: list
    beside: str = ""


def speeds(up, down, unit="MiB/s", digits=1):
    return [Value("up", up, unit, digits, True), Value("down", down, unit, digits, True)]


# --- what is measured -----------------------------------------------------------------------------------------------


def transfers(label, scp, mebibytes, place):
    """MiB/s of scp up and down; the files are compared."""
    here, there, back = place / "here", place / "there", place / "back"
    here.write_bytes(os.urandom(mebibytes << 20))
    speeds = []
    for source, target in ((str(here), f"HOST:{there}"), (f"HOST:{there}", str(back))):
        began = time.monotonic()
        subprocess.run([*scp, source.replace("HOST", scp.host), target.replace("HOST", scp.host)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        speeds.append(mebibytes / (time.monotonic() - began))
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


def through(command, remote, mebibytes=0):
    """Runs a remote command on a connection that is open, with so many MiB of noise on its input."""
    with tempfile.TemporaryFile() as noise:
        for _ in range(mebibytes):
            noise.write(os.urandom(1 << 20))
        noise.seek(0)
        subprocess.run([*command, remote], check=True, stdin=noise, stdout=subprocess.DEVNULL)


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


def spread(values):
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def resident(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def cpu_ms(pids):
    """What processes have had of the CPU so far, user and system, all their threads, in milliseconds."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
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


def pss(pid):
    with contextlib.suppress(OSError):
        return int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text()).group(1))
    return 0


# --- what it is measured on -----------------------------------------------------------------------------------------


class Demo:
    def __init__(self, binary, *args, home=None):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        env = {**os.environ, "HOME": str(home)} if home else None
        self.process = subprocess.Popen(
            [binary, "demo", "--dir", self.dir / "demo", "--listen", "127.0.0.1:0", "--until-stdin-closes", *args], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.startswith("ready"):
                break
        else:
            sys.exit("the demo does not start")
        self.config = self.dir / "demo" / "ssh_config"

    def ssh(self, *args):
        return ["ssh", "-F", str(self.config), *args]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Master:
    """A connection that stays open, and commands through it."""

    def __init__(self, config, host, *options):
        self.dir = Path(tempfile.mkdtemp(prefix="m"))
        self.process = subprocess.Popen(["ssh", "-F", config, *options, "-MN", "-S", self.dir / "c", host], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not (self.dir / "c").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Broken(f"no connection to {host}")
            time.sleep(0.02)
        # no way but through it
        self.command = ["ssh", "-F", str(config), "-o", "ProxyCommand=false", "-S", str(self.dir / "c"), host]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Sshd:
    """OpenSSH's server. Its sessions have an empty home, so that no start-up file of this machine's is in the figures."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        self.home = self.dir / "home"
        self.home.mkdir()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / key], check=True)
        self.port, jump_port = free_port(), free_port()
        Path("/run/sshd").mkdir(exist_ok=True)
        self.process, self.jump = (self.start(name, port) for name, port in (("sshd_config", self.port), ("jump_config", jump_port)))
        self.config = self.client("HostName 127.0.0.1\n Port %d" % self.port, "ssh_config")
        jump = self.client("HostName 127.0.0.1\n Port %d" % jump_port, "jump_ssh_config")
        # the same server, with another one on the way to it
        self.behind = self.client(f"HostName 127.0.0.1\n Port {self.port}\n ProxyCommand ssh -F {jump} -W %h:%p local", "behind_ssh_config")
        for config in (self.config, jump):
            while subprocess.run(["ssh", "-F", config, "local", "true"], stderr=subprocess.DEVNULL).returncode:
                time.sleep(0.1)

    def start(self, name, port):
        (self.dir / name).write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\nAuthorizedKeysFile {self.dir}/user.pub\n"
            f"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\nSetEnv HOME={self.home}\n")
        return subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", self.dir / name], stderr=subprocess.DEVNULL)

    def client(self, how, name):
        path = self.dir / name
        path.write_text(
            f"Host local\n {how}\n IdentityFile {self.dir}/user\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {self.dir}/known\n StrictHostKeyChecking no\n HostKeyAlias local\n LogLevel ERROR\n")
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.process, self.jump):
            process.terminate()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


# a login shell's own start-up files may take a second, which is nobody's figure here; the agent's shell reads none
PLAIN = ["-tt", "demo", "exec env PS1='$ ' sh -i"]


class Emulator:
    """The service with AWS's agent, for AWS's plugin: what Portcullis is compared with."""

    NODE = "mi-0fedcba9876543210"

    def __init__(self, binary, agent, plugin, aws, *args):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        self.aws, self.plugin = aws, plugin
        ca, keys = self.dir / "ca.pem", self.dir / "keys"
        self.process = subprocess.Popen(
            [binary, "emulator", "--listen", "127.0.0.1:0", "--tls-ca-out", ca, "--keys-out", keys,
             "--node", f"{self.NODE}=figures", "--until-stdin-closes", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if match := re.match(r"ready: .*(https:\S+) in", line):
                self.url = match.group(1)
                break
        (self.dir / "node").mkdir()
        (self.dir / "run").mkdir()
        section = keys.read_text().split("[agent]")[1]

        def value(name):
            return re.search(rf"{name} = (\S+)", section).group(1)

        self.agent = subprocess.Popen(
            [ROOT / "scripts/real-agent.sh", agent], stdin=subprocess.PIPE,
            env={**os.environ, "PORTCULLIS_ENDPOINT": self.url, "PORTCULLIS_REGION": "us-east-1",
                 "PORTCULLIS_NODE_ID": self.NODE, "PORTCULLIS_NODE_DIR": str(self.dir / "node"), "PORTCULLIS_CA_FILE": str(ca),
                 "XDG_RUNTIME_DIR": str(self.dir / "run"), "AWS_ACCESS_KEY_ID": value("aws_access_key_id"),
                 "AWS_SECRET_ACCESS_KEY": value("aws_secret_access_key")})
        self.env = {"AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_CONFIG_FILE": str(self.dir / "none"),
                    "AWS_CA_BUNDLE": str(ca), "SSL_CERT_FILE": str(ca), "AWS_DEFAULT_REGION": "us-east-1",
                    "PATH": f"{Path(plugin).parent}:{os.environ['PATH']}"}
        os.environ.update(self.env)
        self.start = [aws, "--endpoint-url", self.url, "ssm", "start-session", "--target", self.NODE]
        status = [aws, "--endpoint-url", self.url, "ssm", "get-connection-status", "--target", self.NODE]
        while b'"connected"' not in subprocess.run(status, capture_output=True).stdout:
            time.sleep(0.5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.agent.stdin.close()
        self.agent.wait(60)
        self.process.stdin.close()
        self.process.wait(60)
        for name in self.env:
            if name != "PATH":
                os.environ.pop(name, None)
        shutil.rmtree(self.dir, ignore_errors=True)


class Gateway:
    """The gateway in a process of its own; the service and the node are another, without TLS, as fast as they can."""

    def __init__(self, binary):
        self.dir = place = Path(tempfile.mkdtemp(prefix="figures"))
        # a demo knows how to write the configuration
        with Demo(binary) as demo:
            files = demo.dir / "demo"
            text = (files / "gateway.toml").read_text()
            shutil.copytree(files, place / "demo")
            old = str(files)
        keys = place / "keys"
        self.service = subprocess.Popen(
            [binary, "emulator", "--listen", "127.0.0.1:0", "--keys-out", keys, "--with-node", "demo", "--fast",
             "--node-dir", place / "node", "--until-stdin-closes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        url = next(m.group(1) for m in (re.match(r"ready: .*(http:\S+) in", line) for line in self.service.stdout) if m)
        text = text.replace(old, str(place / "demo"))
        text = re.sub(r'http://[^"]*', url, text)
        text = re.sub(r'ws://[^"]*', url.replace("http", "ws"), text)
        text = re.sub(r"listen = .*", f'listen = ["127.0.0.1:{(port := free_port())}"]', text)
        text = re.sub(r"directory = .*", f'directory = "{place}"', text)
        # all of them come from one address, and are one person
        text = re.sub(r"connections_per_(address|person) = .*", r"connections_per_\1 = 1000", text)
        # somebody whom no rule lets do anything
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "nobody"], check=True)
        text += f'\n[[people]]\nname = "nobody"\nkeys = ["{(place / "nobody.pub").read_text().strip()}"]\n'
        (place / "gateway.toml").write_text(text)
        env = {**os.environ, "AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_CONFIG_FILE": "/dev/null"}
        subprocess.run([binary, "documents", "--apply", "--config", place / "gateway.toml"], env=env, check=True,
                       stdout=subprocess.DEVNULL)
        self.process = subprocess.Popen([binary, "serve", "--config", place / "gateway.toml"], env=env,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.config = place / "ssh_config"
        told = (place / "demo" / "ssh_config").read_text().replace(old, str(place / "demo"))
        self.config.write_text(re.sub(r"Port \d+", f"Port {port}", told))
        self.ssh = ["ssh", "-F", str(self.config)]
        self.port = port
        self.nobody = ["-i", str(place / "nobody")]
        while subprocess.run([*self.ssh, "demo", "true"], stderr=subprocess.DEVNULL).returncode:
            if self.process.poll() is not None:
                sys.exit("the gateway does not start")
            time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.service.stdin.close()
        self.service.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


# --- the rows -------------------------------------------------------------------------------------------------------


class Bench:
    """What the rows are measured with."""

    def __init__(self, options, sshd):
        self.options, self.sshd, self.quick = options, sshd, options.quick
        self.frames = [int(frame) for frame in options.frames.split(",")]
        # what is measured of others need not be measured again for a second program
        self.others = {}

    def once(self, name, measure):
        if name not in self.others:
            self.others[name] = measure()
        return self.others[name]


def embedded_rows(binary, bench):
    size = 16 if bench.quick else 64
    for frame in bench.frames:
        with Demo(binary, "--frame-bytes", str(frame)) as demo:
            place = Path(tempfile.mkdtemp(prefix="figures"))
            up, down = transfers("embedded", Scp(demo.config, "demo"), size, place)
            shutil.rmtree(place)
        yield Figure(f"scp {size} MiB, embedded agent (fast), frames of {frame}",
                     speeds(up * 1.048576, down * 1.048576, "MB/s", 0), "must reach 40 each")


def cpu_rows(binary, bench):
    """What a MiB costs the gateway, both ways, beside what it costs an sshd that is a jump host."""
    size = 16 if bench.quick else 128

    def both_ways(master, pids):
        costs = []
        through(master.command, "true")
        for remote, up in (("cat >/dev/null", size), (f"head -c {size << 20} /dev/zero", 0)):
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
                     f"clean sshd {base:.1f} ms: {here - base:+.1f} ms (at most +60)")


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
        before, started = resident(gateway.pid), []
        for _ in range(count):
            started.append(Shell([*gateway.ssh, *PLAIN]))
            started[-1].first_prompt()
        # what the start of the last ones leaves to do is not idleness
        time.sleep(5)
        memory = (resident(gateway.pid) - before) / count
        wakings, milliseconds = ((full - empty) / count for full, empty in zip(rates(gateway.pid), alone))
        yield Figure(f"the gateway per idle shell, {count} at once",
                     [Value("", memory, "KiB", 0), Value("", wakings, "wake-ups/s", 2), Value("", milliseconds, "ms of CPU/s", 3)],
                     "at most 300 KiB; the plugin takes 8,000 to 19,000")
        node = [pss(pid) for pid in descendants(gateway.service.pid)]
        for shell in started:
            os.write(shell.fd, b"echo $((40+2))x\r")
        for shell in started:
            shell.read_until(lambda seen: b"42x" in seen)
        yield Figure(f"{count} idle shells at once: all hold and answer; each on the node",
                     [Value("", len(node) / count, "processes"), Value("", sum(node) / count / 1024, "MiB (PSS)")])
        for shell in started:
            shell.end()


def at_once(commands):
    """Starts all of them, and waits for them all; whether each went well."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return [process.wait() == 0 for process in [subprocess.Popen(command, **quiet) for command in commands]]


def memory_rows(binary, bench):
    """What the gateway holds 30 s after a burst, and for somebody who may do nothing."""
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
        beside = times(login, count)
        done.set()
        coming.join()
        for stranger in held:
            stranger.close()
        yield Figure("ssh demo true, beside 1,000 silent strangers and 50 new ones a second",
                     [Value("p50", statistics.median(beside), "ms"), Value("longest", max(beside), "ms")],
                     f"alone {statistics.median(alone):.0f} ms, longest {max(alone):.0f} ms; at most 1,000 ms")


def echo_rows(label, shell, count, aim=""):
    """A key as soon as the last one is there, and at a pace at which every process on the way falls asleep in between."""
    shell.cat()
    for how, pause in (("one key after the other", 0), ("a key every 10 ms", 0.01)):
        median, tail = spread(shell.echoes(count, pause))
        yield Figure(f"keystroke echo, {how}, {label}", [Value("p50", median, "ms", 2), Value("p99", tail, "ms", 2)], aim)


def plugin_rows(binary, bench, count):
    """AWS's own plugin, which is what Portcullis is compared with. Gives its speeds too."""
    options, sshd, found = bench.options, bench.sshd, []
    place = Path(tempfile.mkdtemp(prefix="figures"))
    with Emulator(binary, options.agent, options.plugin, options.aws) as emulator:
        proxy = " ".join([*emulator.start, "--document-name AWS-StartSSHSession --parameters", f"portNumber={sshd.port}"])
        config = sshd.client(f"ProxyCommand {proxy}", "plugin_config")
        speed = transfers("plugin", Scp(config, "local"), 4, place)
        found.append(Figure("scp 4 MiB, ProxyCommand with AWS's plugin and agent", speeds(*speed, digits=2)))
        shell = Shell(emulator.start)
        found.append(Figure("first prompt, AWS's CLI, plugin and agent", [Value("", shell.first_prompt(), "ms", 0)]))
        found += echo_rows("AWS's plugin and agent", shell, count)
        shell.end()
    shutil.rmtree(place)
    return found, speed


def real_rows(binary, bench):
    options = bench.options
    if not options.agent:
        yield Figure("the rows with AWS's agent", [], "SKIPPED: give --agent, --plugin and --aws")
        return
    size, count = (4, 100) if bench.quick else (64, 750)
    node = f"{ROOT}/scripts/real-agent.sh {options.agent}"
    plugin_speed = None
    if options.plugin and options.aws:
        found, plugin_speed = bench.once("plugin", lambda: plugin_rows(binary, bench, count))
        yield from found
    place = Path(tempfile.mkdtemp(prefix="figures"))
    for frame in bench.frames:
        with Demo(binary, "--node-command", node, "--frame-bytes", str(frame)) as demo:
            up, down = transfers("real", Scp(demo.config, "demo"), size, place)
        ratio = f"{up / plugin_speed[0]:.0f} and {down / plugin_speed[1]:.0f} times the plugin (at least 20)" if plugin_speed else ""
        yield Figure(f"scp {size} MiB, AWS's agent, frames of {frame}", speeds(up, down), ratio)
    shutil.rmtree(place)
    for helper in ("auto", "sh"):
        try:
            yield from helper_rows(binary, node, helper, count, bench.quick)
        except Broken as broken:
            yield Figure(f"AWS's agent, helper {helper}", [], f"FAILED: {broken}")


def helper_rows(binary, node, helper, count, quick):
    with Demo(binary, "--node-command", node, "--helper", helper) as demo:
        prompts = []
        for _ in range(3 if quick else 11):
            shell = Shell(demo.ssh(*PLAIN))
            prompts.append(shell.first_prompt())
            shell.end()
        yield Figure(f"first prompt of ssh, AWS's agent, helper {helper}", [Value("", statistics.median(prompts), "ms", 0)],
                     "at most 400 for auto")
        shell = Shell(demo.ssh(*PLAIN))
        shell.first_prompt()
        yield from echo_rows(f"AWS's agent, helper {helper}", shell, count, "at most the plugin's for auto")
        before = descendants(demo.process.pid)
        shells = [Shell(demo.ssh(*PLAIN)) for _ in range(5)]
        for other in shells:
            other.first_prompt()
        time.sleep(1)
        yield on_the_node(f"on the node per shell, helper {helper}", demo, before, 5)
        for other in shells:
            other.end()
        time.sleep(3)
        before = descendants(demo.process.pid)
        clients = [subprocess.Popen(demo.ssh("demo", "sleep 20"), stdin=subprocess.DEVNULL) for _ in range(5)]
        time.sleep(3)
        yield on_the_node(f"on the node per exec without input, helper {helper}", demo, before, 5)
        for client in clients:
            client.kill()
            client.wait()
        shell.end()


LOST = 700  # frames of a lane before it is hurt: in the middle of 8 MiB in frames of 1 KiB


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


def workers(demo):
    """The session workers of AWS's agent behind a demo."""
    for pid in descendants(demo.process.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "ssm-session-wor":
                yield pid


def lanes_rows(binary, bench):
    """What a command and a file survive, and at what cost: AWS's agent if it is there, else the embedded one as true to it."""
    options, quick = bench.options, bench.quick
    node = ["--node-command", f"{ROOT}/scripts/real-agent.sh {options.agent}"] if options.agent else ["--faithful"]
    whose = "AWS's agent" if options.agent else "the embedded agent, faithful"
    rounds, limit = (2, 40) if quick else (10, 40)

    def demo(*faults):
        return Demo(binary, *node, *(word for fault in faults for word in ("--fault", fault)))

    with Bytes(8) as cargo:
        with demo() as fine:
            clean = {what: statistics.median(took for took, _ in (cargo.carry(fine, what, limit) for _ in range(2 if quick else 5)) if took)
                     for what in ("exec down", "exec up", "file down", "file up")}
        hurts = [(f"cut agent after {LOST} frames", clean, rounds, "10 of 10, at most +3 s"),
                 (f"pause after {LOST} frames", clean, rounds, "10 of 10, at most +3 s"),
                 (f"cut client after {LOST} frames", clean, rounds, "10 of 10, at most +1 s"),
                 ("drop 1%", ["exec down"], max(1, rounds // 3), "exact, no slower than 9.6 s"),
                 ("drop 2%", ["exec down"], max(1, rounds // 3), "exact, no slower than 21 s"),
                 ("fail StartSession with 500", ["exec down"], 1, "exact")]
        for fault, whats, times_each, aim in hurts:
            with demo(fault) as hurt:
                for what in whats:
                    found = []
                    for _ in range(times_each):
                        found.append(cargo.carry(hurt, what, limit))
                        # what fails every time need not be waited for ten times
                        if len(found) >= 3 and all(took is None for took, _ in found):
                            break
                    yield counted(f"8 MiB {what}, {fault}, {whose}", found, clean[what], aim)
    size = 8 if quick else 64
    with Bytes(size) as cargo, demo("latency 40ms") as far:
        for what in ("exec down", "exec up", "file down", "file up"):
            took, said = cargo.carry(far, what, 120)
            values = [Value("", size / took, "MiB/s", 1, True)] if took else []
            yield Figure(f"{size} MiB {what}, 40 ms each way, {whose}", values, said or "at least half of what the agent's window allows")
    yield from far_agent_rows(binary, bench, size)
    yield from worker_rows(demo, options, whose, quick)


def far_agent_rows(binary, bench, size):
    """What one session of the agent carries on such a line, without a gateway: the plugin's own way, down, which has no window."""
    options = bench.options
    if not (options.agent and options.plugin and options.aws):
        yield Figure(f"{size} MiB by AWS's plugin, 40 ms each way", [], "SKIPPED: give --agent, --plugin and --aws")
        return
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
        yield Figure(f"{size} MiB down by AWS's plugin and agent, separate streams, 40 ms each way",
                     [Value("", size / (last - first), "MiB/s", 1, True)] if whole else [], "" if whole else f"FAILED: {got} bytes came")


def worker_rows(demo, options, whose, quick):
    """A worker is killed under a command that goes on, and all of them with the agent itself: how long until that is told."""
    if not options.agent:
        yield Figure("a lane's worker killed", [], "SKIPPED: the embedded agent has no workers; give --agent")
        return
    with demo() as real:
        for which in (0, -1):
            client = subprocess.Popen(real.ssh("demo", "cat; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo $i; done; exit 7"),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            client.stdin.write("first\n")
            client.stdin.flush()
            client.stdout.readline()
            os.kill(sorted(workers(real))[which], signal.SIGKILL)
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
    with demo() as real:
        client = subprocess.Popen(real.ssh("demo", "echo up; sleep 1000"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        client.stdout.readline()
        for pid in [pid for pid in descendants(real.process.pid) if Path(f"/proc/{pid}/comm").read_text().strip() != "unshare"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        try:
            _, said = client.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            client.kill()
            _, said = client.communicate()
        yield Figure(f"the node is gone: seconds until told, {whose}", [Value("", time.monotonic() - began, "s")],
                     f"at most 10: status {client.returncode}, {' '.join(said.split())}")


def on_the_node(what, demo, before, count):
    fresh = [pid for pid in descendants(demo.process.pid) if pid not in before]
    return Figure(what, [Value("", len(fresh) / count, "processes"), Value("", sum(map(pss, fresh)) / count / 1024, "MiB (PSS)")])


SECTIONS = {"embedded": embedded_rows, "cpu": cpu_rows, "latency": latency_rows, "shells": shells_rows, "memory": memory_rows,
            "strangers": strangers_rows, "lanes": lanes_rows, "real": real_rows}

# --- one program, or two in turns -----------------------------------------------------------------------------------


def say(figure, whose=""):
    text = ", ".join(map(str, figure.values))
    print(f"{whose}{figure.what}: {text} {figure.beside}".rstrip(), file=sys.stderr, flush=True)


def measure(section, binary, bench, whose=""):
    found = []
    for figure in section(binary, bench):
        say(figure, whose)
        found.append(figure)
    return found


def single(wanted, binary, bench):
    found = [figure for name in wanted for figure in measure(SECTIONS[name], binary, bench)]
    print("\n| | measured | |\n| --- | --- | --- |")
    for figure in found:
        print(f"| {figure.what} | {', '.join(map(str, figure.values))} | {figure.beside} |")


def middle(rounds, what, place):
    """The median of one number over the rounds, in the number's own dress."""
    values = [figure.values[place] for found in rounds for figure in found if figure.what == what and figure.values]
    return values[0]._replace(number=statistics.median(value.number for value in values)) if values else None


def slower(before, after):
    """How much slower (or larger) the second one is, in percent."""
    old, new = before.number, after.number
    if before.more_is_better:
        old, new = new, old
    return f"{(new / old - 1) * 100:+.0f}%" if old > 0 else "?"


def in_turns(wanted, binary, before, bench):
    table = []
    for name in wanted:
        rounds = {"before": [], "after": []}
        for number in range(bench.options.rounds):
            # whoever comes second finds the machine warmer
            order = [("before", before), ("after", binary)]
            for which, program in order if number % 2 == 0 else reversed(order):
                rounds[which].append(measure(SECTIONS[name], program, bench, f"[{number + 1}, {which}] "))
        for figure in rounds["after"][0]:
            for place in range(len(figure.values)):
                old, new = (middle(rounds[which], figure.what, place) for which in ("before", "after"))
                if old and new:
                    table.append((f"{figure.what} {new.name}".rstrip(), old._replace(name=""), new._replace(name=""), slower(old, new)))
            if not figure.values:
                table.append((figure.what, "", "", figure.beside))
    print(f"\nmedians of {bench.options.rounds} rounds in turns; a plus is slower, or larger")
    print("\n| | before | after | slower by |\n| --- | --- | --- | --- |")
    for what, old, new, by in table:
        print(f"| {what} | {old} | {new} | {by} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", metavar="DIR", help="AWS's agent: amazon-ssm-agent and its workers")
    parser.add_argument("--plugin", metavar="FILE", help="AWS's session-manager-plugin")
    parser.add_argument("--aws", metavar="COMMAND", help="AWS's CLI")
    parser.add_argument("--frames", default="1024,32768", help="sizes of data frames")
    parser.add_argument("--shells", type=int, default=500, help="how many idle shells")
    parser.add_argument("--portcullis", metavar="FILE", help="a program that is built already")
    parser.add_argument("--before", metavar="FILE", help="another one, which is measured in turns with the first")
    parser.add_argument("--rounds", type=int, default=3, help="with --before: how often each is measured")
    parser.add_argument("--quick", action="store_true", help="little of everything: shows that it works, not how well")
    parser.add_argument("--only", default=",".join(SECTIONS), help="some of the sections: %(default)s")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    binary = options.portcullis
    if not binary:
        subprocess.run(["./scripts/patch.sh"], cwd=ROOT, check=True)
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "portcullis"], cwd=ROOT, check=True)
        metadata = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                                  capture_output=True, text=True).stdout
        binary = f"{json.loads(metadata)['target_directory']}/release/portcullis"
    binary = str(Path(binary).resolve())
    with Sshd() as sshd:
        bench = Bench(options, sshd)
        if options.before:
            in_turns(wanted, binary, str(Path(options.before).resolve()), bench)
        else:
            single(wanted, binary, bench)


if __name__ == "__main__":
    main()
