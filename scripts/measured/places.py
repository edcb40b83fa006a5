"""What is measured on: demos, sshds, the service with AWS's agent for AWS's plugin, and a gateway in a process of its own."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .tools import Broken

ROOT = Path(__file__).resolve().parent.parent.parent


class Demo:
    def __init__(self, binary, *args, home=None):
        self.dir = Path(tempfile.mkdtemp(prefix="figures"))
        env = {**os.environ, "HOME": str(home)} if home else None
        self.log = self.dir / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "demo", "--dir", self.dir / "demo", "--listen", "127.0.0.1:0", "--until-stdin-closes", *args], env=env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
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


def real_agent(options):
    """What makes AWS's agent a demo's node."""
    return ["--node-command", f"{ROOT}/scripts/real-agent.sh {options.agent}"]


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
    """The gateway in a process of its own; the service and the node are another, without TLS, as fast as they can. With `roles`
    everybody is themselves in AWS, as in the demo."""

    def __init__(self, binary, roles=False, recording=None):
        self.dir = place = Path(tempfile.mkdtemp(prefix="figures"))
        # a demo knows how to write the configuration
        with Demo(binary) as demo:
            files = demo.dir / "demo"
            text = (files / "gateway.toml").read_text()
            # but for what the demo itself has recorded, and its sockets
            shutil.copytree(files, place / "demo", ignore=shutil.ignore_patterns("evidence"))
            old = str(files)
        keys = place / "keys"
        self.service = subprocess.Popen(
            [binary, "emulator", "--listen", "127.0.0.1:0", "--keys-out", keys, "--with-node", "demo", "--fast",
             "--node-dir", place / "node", "--until-stdin-closes", *(["--as-deployed"] if roles else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        url = next(m.group(1) for m in (re.match(r"ready: .*(http:\S+) in", line) for line in self.service.stdout) if m)
        text = text.replace(old, str(place / "demo"))
        text = re.sub(r'http://[^"]*', url, text)
        text = re.sub(r'ws://[^"]*', url.replace("http", "ws"), text)
        text = re.sub(r"listen = .*", f'listen = ["127.0.0.1:{(port := free_port())}"]', text)
        text = re.sub(r"(\[evidence\][^\[]*?directory = ).*", rf'\1"{place}"', text)
        if recording:
            text = re.sub(r'\nrecording = .*', f'\nrecording = "{recording}"', text)
        if not roles:
            text = text.replace('identity = "person"', 'identity = "gateway"')
        # all of them come from one address, and are one person
        text = re.sub(r"connections_per_(address|person) = .*", r"connections_per_\1 = 1000", text)
        # somebody whom no rule lets do anything
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "nobody"], check=True)
        text += f'\n[[people]]\nname = "nobody"\nkeys = ["{(place / "nobody.pub").read_text().strip()}"]\n'
        (place / "gateway.toml").write_text(text)
        env = {**os.environ, "AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_CONFIG_FILE": "/dev/null"}
        deployer = {**env, "AWS_PROFILE": "deployer"} if roles else env
        subprocess.run([binary, "documents", "--apply", "--config", place / "gateway.toml"], env=deployer, check=True,
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

    def changed(self, sections, enough):
        """Adds sections to the configuration, and waits until what came into force is enough; how many seconds that took."""
        config = self.dir / "gateway.toml"
        began = time.monotonic()
        config.write_text(config.read_text() + sections)
        while not enough(self.loaded()[-1]):
            if time.monotonic() > began + 60:
                raise Broken("the change is not in force")
            time.sleep(0.05)
        return time.monotonic() - began

    def loaded(self):
        """What of the configuration came into force, and when, by the event log."""
        events = map(json.loads, (self.dir / "events.jsonl").read_text().splitlines())
        return [event for event in events if event["event"] == "configuration.loaded"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.service.stdin.close()
        self.service.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        # the evidence's key is made beside it
        for key in ("-key", "-key.pub"):
            Path(f"{self.dir}{key}").unlink(missing_ok=True)
