#!/usr/bin/env python3
"""The figures: one command measures them and prints a table.

    scripts/figures.py [--agent DIR] [--plugin FILE --aws COMMAND] [--frames 1024,32768] [--shells 500] [--quick]

Builds the release binary, starts demos with it, and drives OpenSSH's own client. What is compared is measured in the same
run. Without AWS's agent (--agent) or plugin, the rows that need them say so.
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
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = []


def row(what, value, beside=""):
    ROWS.append((what, value, beside))
    print(f"{what}: {value} {beside}".rstrip(), file=sys.stderr, flush=True)


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
    def __init__(self, binary, *args):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        self.process = subprocess.Popen(
            [binary, "demo", "--dir", self.dir / "demo", "--listen", "127.0.0.1:0", "--until-stdin-closes", *args],
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


class Sshd:
    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / key], check=True)
        self.port = free_port()
        Path("/run/sshd").mkdir(exist_ok=True)
        (self.dir / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\nAuthorizedKeysFile {self.dir}/user.pub\n"
            "StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n")
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", self.dir / "sshd_config"], stderr=subprocess.DEVNULL)
        self.config = self.client("HostName 127.0.0.1\n Port %d" % self.port, "ssh_config")
        while subprocess.run(["ssh", "-F", self.config, "local", "true"], stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.1)

    def client(self, how, name):
        path = self.dir / name
        path.write_text(
            f"Host local\n {how}\n IdentityFile {self.dir}/user\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {self.dir}/known\n StrictHostKeyChecking no\n HostKeyAlias local\n LogLevel ERROR\n")
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


# a login shell's own start-up files may take a second, which is nobody's figure here; the agent's shell reads none
PLAIN = ["-tt", "demo", "exec env PS1='$ ' sh -i"]


class Emulator:
    """The service with AWS's agent, for AWS's plugin: what Portcullis is compared with."""

    NODE = "mi-0fedcba9876543210"

    def __init__(self, binary, agent, plugin, aws):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        self.aws, self.plugin = aws, plugin
        ca, keys = self.dir / "ca.pem", self.dir / "keys"
        self.process = subprocess.Popen(
            [binary, "emulator", "--listen", "127.0.0.1:0", "--tls-ca-out", ca, "--keys-out", keys,
             "--node", f"{self.NODE}=figures", "--until-stdin-closes"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if match := re.match(r"ready: .*(https:\S+) in", line):
                self.url = match.group(1)
                break
        (self.dir / "node").mkdir()
        (self.dir / "run").mkdir()
        section = keys.read_text().split("[agent]")[1]
        value = lambda name: re.search(rf"{name} = (\S+)", section).group(1)
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


# --- the rows -------------------------------------------------------------------------------------------------------


def embedded_rows(binary, frames, quick):
    size = 16 if quick else 64
    for frame in frames:
        with Demo(binary, "--frame-bytes", str(frame)) as demo:
            place = Path(tempfile.mkdtemp(prefix="figures"))
            up, down = transfers("embedded", Scp(demo.config, "demo"), size, place)
            row(f"scp {size} MiB, embedded agent (fast), frames of {frame}",
                f"up {up * 1.048576:.0f} MB/s, down {down * 1.048576:.0f} MB/s", "must reach 40 each")
            shutil.rmtree(place)


def latency_rows(binary, sshd, count):
    with Demo(binary) as demo:
        local = ["ssh", "-F", str(sshd.config), "local", "true"]
        ours = demo.ssh("demo", "true")
        times(local, 2), times(ours, 2)
        pairs = [(times(local, 1)[0], times(ours, 1)[0]) for _ in range(count)]
        base, here = (statistics.median(column) for column in zip(*pairs))
        row("ssh demo true, cold", f"{here:.0f} ms", f"sshd {base:.0f} ms: {here - base:+.0f} ms (at most +100)")
        masters = []
        for config, host in ((sshd.config, "local"), (demo.config, "demo")):
            control = Path(tempfile.mkdtemp(prefix="m")) / "c"
            masters.append((subprocess.Popen(["ssh", "-F", config, "-MN", "-S", control, host]), control, config, host))
        time.sleep(2)
        medians = []
        for _, control, config, host in masters:
            command = ["ssh", "-F", str(config), "-S", str(control), host, "true"]
            times(command, 2)
            medians.append(statistics.median(times(command, count)))
        for process, *_ in masters:
            process.terminate()
            process.wait()
        row("ssh demo true, on a connection already up", f"{medians[1]:.0f} ms",
            f"sshd {medians[0]:.0f} ms: {medians[1] - medians[0]:+.0f} ms (at most +60)")


def shells_rows(binary, count):
    """Idle shells at once, with the gateway in a process of its own: the service and the node are another."""
    place = Path(tempfile.mkdtemp(prefix="figures"))
    with Demo(binary) as demo:
        text = (demo.dir / "demo" / "gateway.toml").read_text()
        files = demo.dir / "demo"
        keys = place / "keys"
        service = subprocess.Popen(
            [binary, "emulator", "--listen", "127.0.0.1:0", "--keys-out", keys, "--with-node", "demo", "--fast",
             "--node-dir", place / "node", "--until-stdin-closes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        url = next(m.group(1) for m in map(lambda l: re.match(r"ready: .*(http:\S+) in", l), service.stdout) if m)
        text = re.sub(r'http://[^"]*', url, text)
        text = re.sub(r'ws://[^"]*', url.replace("http", "ws"), text)
        text = re.sub(r"listen = .*", f'listen = ["127.0.0.1:{(port := free_port())}"]', text)
        text = re.sub(r'directory = .*', f'directory = "{place}"', text)
        # all of them come from one address
        text = re.sub(r'connections_per_address = .*', 'connections_per_address = 1000', text)
        (place / "gateway.toml").write_text(text)
        env = {**os.environ, "AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_CONFIG_FILE": "/dev/null"}
        subprocess.run([binary, "documents", "--apply", "--config", place / "gateway.toml"], env=env, check=True,
                       stdout=subprocess.DEVNULL)
        gateway = subprocess.Popen([binary, "serve", "--config", place / "gateway.toml"], env=env,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        config = place / "ssh_config"
        config.write_text(re.sub(r"Port \d+", f"Port {port}", (files / "ssh_config").read_text()))
        ssh = ["ssh", "-F", str(config)]
        while subprocess.run([*ssh, "demo", "true"], stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.2)
        before, started = resident(gateway.pid), []
        for _ in range(count):
            started.append(Shell([*ssh, *PLAIN]))
            started[-1].first_prompt()
        time.sleep(2)
        row(f"gateway memory per idle shell, {count} at once", f"{(resident(gateway.pid) - before) / count:.0f} KiB",
            "at most 300; the plugin takes 8,000 to 19,000")
        node = [pss(pid) for pid in descendants(service.pid)]
        for shell in started:
            os.write(shell.fd, b"echo $((40+2))x\r")
        for shell in started:
            shell.read_until(lambda seen: b"42x" in seen)
        row(f"{count} idle shells at once", "all hold and answer",
            f"on the node {len(node) / count:.1f} processes and {sum(node) / count / 1024:.1f} MiB (PSS) each")
        for shell in started:
            shell.end()
        gateway.terminate()
        gateway.wait()
        service.stdin.close()
        service.wait()
    shutil.rmtree(place, ignore_errors=True)


def echo_rows(label, shell, count, aim=""):
    """A key as soon as the last one is there, and at a pace at which every process on the way falls asleep in between."""
    shell.cat()
    for how, pause in (("one key after the other", 0), ("a key every 10 ms", 0.01)):
        median, tail = spread(shell.echoes(count, pause))
        row(f"keystroke echo, {how}, {label}", f"p50 {median:.2f} ms, p99 {tail:.2f} ms", aim)


def real_rows(binary, options, frames, sshd, quick):
    size, count = (4, 100) if quick else (64, 750)
    node = f"{ROOT}/scripts/real-agent.sh {options.agent}"
    plugin_speed = None
    place = Path(tempfile.mkdtemp(prefix="figures"))
    if options.plugin and options.aws:
        with Emulator(binary, options.agent, options.plugin, options.aws) as emulator:
            proxy = " ".join([*emulator.start, "--document-name AWS-StartSSHSession --parameters", f"portNumber={sshd.port}"])
            config = sshd.client(f"ProxyCommand {proxy}", "plugin_config")
            plugin_speed = transfers("plugin", Scp(config, "local"), 4, place)
            row("scp 4 MiB, ProxyCommand with AWS's plugin and agent",
                f"up {plugin_speed[0]:.2f} MiB/s, down {plugin_speed[1]:.2f} MiB/s")
            shell = Shell(emulator.start)
            row("first prompt, AWS's CLI, plugin and agent", f"{shell.first_prompt():.0f} ms")
            echo_rows("AWS's plugin and agent", shell, count)
            shell.end()
    for frame in frames:
        with Demo(binary, "--node-command", node, "--frame-bytes", str(frame)) as demo:
            up, down = transfers("real", Scp(demo.config, "demo"), size, place)
            ratio = f"{up / plugin_speed[0]:.0f} and {down / plugin_speed[1]:.0f} times the plugin (at least 20)" if plugin_speed else ""
            row(f"scp {size} MiB, AWS's agent, frames of {frame}", f"up {up:.1f} MiB/s, down {down:.1f} MiB/s", ratio)
    for helper in ("auto", "sh"):
        try:
            helper_rows(binary, node, helper, count, quick)
        except Broken as broken:
            row(f"AWS's agent, helper {helper}", "FAILED", str(broken))
    shutil.rmtree(place)


def helper_rows(binary, node, helper, count, quick):
    with Demo(binary, "--node-command", node, "--helper", helper) as demo:
        prompts = []
        for _ in range(3 if quick else 11):
            shell = Shell(demo.ssh(*PLAIN))
            prompts.append(shell.first_prompt())
            shell.end()
        row(f"first prompt of ssh, AWS's agent, helper {helper}", f"{statistics.median(prompts):.0f} ms", "at most 400 for auto")
        shell = Shell(demo.ssh(*PLAIN))
        shell.first_prompt()
        echo_rows(f"AWS's agent, helper {helper}", shell, count, "at most the plugin's for auto")
        before = descendants(demo.process.pid)
        shells = [Shell(demo.ssh(*PLAIN)) for _ in range(5)]
        for other in shells:
            other.first_prompt()
        time.sleep(1)
        fresh = [pid for pid in descendants(demo.process.pid) if pid not in before]
        row(f"on the node per shell, helper {helper}", f"{len(fresh) / 5:.1f} processes, {sum(map(pss, fresh)) / 5 / 1024:.1f} MiB (PSS)")
        for other in shells:
            other.end()
        time.sleep(3)
        before = descendants(demo.process.pid)
        clients = [subprocess.Popen(demo.ssh("demo", "sleep 20"), stdin=subprocess.DEVNULL) for _ in range(5)]
        time.sleep(3)
        fresh = [pid for pid in descendants(demo.process.pid) if pid not in before]
        row(f"on the node per exec without input, helper {helper}",
            f"{len(fresh) / 5:.1f} processes, {sum(map(pss, fresh)) / 5 / 1024:.1f} MiB (PSS)")
        for client in clients:
            client.kill()
            client.wait()
        shell.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent")
    parser.add_argument("--plugin")
    parser.add_argument("--aws")
    parser.add_argument("--frames", default="1024,32768")
    parser.add_argument("--shells", type=int, default=500)
    parser.add_argument("--binary", help="a binary that is built already")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="embedded,latency,shells,real")
    options = parser.parse_args()
    binary = options.binary
    if not binary:
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "portcullis"], cwd=ROOT, check=True)
        metadata = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                                  capture_output=True, text=True).stdout
        binary = f"{json.loads(metadata)['target_directory']}/release/portcullis"
    frames = [int(frame) for frame in options.frames.split(",")]
    wanted = options.only.split(",")
    with Sshd() as sshd:
        if "embedded" in wanted:
            embedded_rows(binary, frames, options.quick)
        if "latency" in wanted:
            latency_rows(binary, sshd, 5 if options.quick else 21)
        if "shells" in wanted:
            shells_rows(binary, 20 if options.quick else options.shells)
        if "real" in wanted:
            if options.agent:
                real_rows(binary, options, frames, sshd, options.quick)
            else:
                row("the rows with AWS's agent", "SKIPPED", "give --agent, --plugin and --aws")
    print("\n| | measured | |\n| --- | --- | --- |")
    for what, value, beside in ROWS:
        print(f"| {what} | {value} | {beside} |")


if __name__ == "__main__":

    main()
