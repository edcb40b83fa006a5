"""Where clients are driven: a gateway in a process of its own, as an operator runs it, once with the algorithms of `compatible`, once
with those that are the default and once with `legacy`; behind it the embedded Session Manager with a node; and servers on that node's
machine."""

import base64
import getpass
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from measured.places import ROOT, Gateway, free_port

from .client import Failed, ok

# what a server that speaks first says
GREETING = b"220 this server speaks first\r\n"


class Coded:
    """A person whose key is not enough: a code is asked for."""

    def __init__(self, name, key):
        self.name, self.key, self.login = name, key, f"{name}/demo"
        self.secret = base64.b32encode(os.urandom(20)).decode()

    def code(self):
        return ok(["oathtool", "--totp", "-b", self.secret]).out.decode().strip()


class Place(Gateway):
    person, login, node = "you", "demo", "demo"

    def __init__(self, binary):
        self.log = None
        super().__init__(binary, roles=True)
        self.binary = binary
        self.os_user = getpass.getuser()
        self.scratch = self.dir / "scratch"
        self.scratch.mkdir()
        (self.dir / "node-server").mkdir()
        self.keys = {"ed25519": self.dir / "demo" / "user_key"}
        for kind in ("ecdsa", "rsa"):
            self.keys[kind] = self.make_key(f"{kind}-key", kind)
        self.people = []
        self.known = self.dir / "demo" / "known_hosts"
        self.let_in()
        self.ports = {"compatible": self.port, "modern": free_port(), "legacy": free_port()}
        # without a word about algorithms; and with what there is for clients of before 2014
        host_key = self.dir / "host-rsa"
        ok(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", host_key])
        self.others = [self.serve_with("modern"),
                       self.serve_with("legacy", legacy_host_keys=f'["{host_key}"]',
                                       algorithms_for='[{ from = ["127.0.0.0/8"], algorithms = "legacy" }]')]
        self.server = Server()

    def make_key(self, name, kind):
        """A key as old programs read it."""
        path = self.dir / name
        ok(["ssh-keygen", "-q", "-t", kind, "-m", "PEM", "-N", "", "-f", path])
        return path

    def let_in(self):
        """The other keys of the person, and people who are asked for a code, a few for each kind of key."""
        config = self.dir / "gateway.toml"
        more = "".join(f', "{self.public(self.keys[kind])}"' for kind in ("ecdsa", "rsa"))
        text = config.read_text()
        text = re.sub(r'(name = "you"\nkeys = \["[^"]*")', rf"\1{more}", text, count=1)
        self.free = {kind: [Coded(f"coded-{kind}-{n}", self.make_key(f"coded-{kind}-{n}", kind)) for n in range(8)]
                     for kind in ("ed25519", "ecdsa", "rsa")}
        secrets = ""
        for one in (one for people in self.free.values() for one in people):
            text += f'\n[[people]]\nname = "{one.name}"\nkeys = ["{self.public(one.key)}"]\ngroups = ["coded", "developers"]\n'
            secrets += f"{one.name} {one.secret}\n"
        text += '\n[[proofs]]\ngroups = ["coded"]\nenough = ["key and totp"]\n[[proofs]]\npeople = ["*"]\nenough = ["key"]\n'
        totp = self.dir / "totp"
        totp.touch(mode=0o600)
        totp.write_text(secrets)
        text = re.sub(r"(\[second_factor\]\n)", rf'\1totp_secrets = "{totp}"\n', text)
        with (self.dir / "demo" / "policies" / "clients.cedar").open("w") as policy:
            policy.write('@id("who-is-asked-for-a-code")\npermit (principal in Group::"coded", action in Action::"Sessions", resource)\n'
                         'when { resource.name == "demo" };\n'
                         '@id("forwards-and-hops")\npermit (principal == Person::"you", action in [Action::"Forward", Action::"Hop"], resource)\n'
                         'when { resource.name == "demo" };\n')
        self.process.terminate()
        self.process.wait()
        # the gateway's certificates are for the address by which all of them dial
        demo = self.dir / "demo"
        for name in ("host_key", "host_key_ecdsa"):
            (demo / f"{name}-cert.pub").unlink()
            ok(["ssh-keygen", "-q", "-s", demo / "host_ca", "-I", "gateway", "-h", "-n", "portcullis-demo,127.0.0.1", demo / f"{name}.pub"])
        text = re.sub(r"\nproofs = \[\]", "", text)
        config.write_text(text)
        self.process = self.serve(config, self.port)

    def public(self, key):
        return Path(f"{key}.pub").read_text().strip()

    def serve(self, config, port):
        log = self.dir / f"log-{port}"
        with log.open("wb") as into:
            process = subprocess.Popen(
                [self.binary, "serve", "--config", config], stdin=subprocess.DEVNULL, stderr=into, stdout=subprocess.DEVNULL,
                env={**os.environ, "AWS_SHARED_CREDENTIALS_FILE": str(self.dir / "keys"), "AWS_CONFIG_FILE": "/dev/null",
                     "PORTCULLIS_LOG": "info,portcullis=debug"})
        end = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"the gateway does not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        return process

    def serve_with(self, profile, **others):
        """The same gateway with the default's algorithms, and with these keys of [gateway] instead of its own."""
        text = (self.dir / "gateway.toml").read_text()
        others = {"listen": f'["127.0.0.1:{self.ports[profile]}"]', "algorithms": '"modern"', **others}
        for key, value in others.items():
            text, count = re.subn(rf"\n{key} = .*", rf"\n{key} = {value}", text)
            if count != 1:
                raise Failed(f"the configuration has {key} {count} times")
        evidence = self.dir / f"{profile}-evidence"
        evidence.mkdir()
        text = re.sub(r"(\[evidence\][^\[]*?directory = ).*", rf'\1"{evidence}"', text)
        config = self.dir / f"{profile}.toml"
        config.write_text(text)
        return self.serve(config, self.ports[profile])

    def coded(self, kind):
        """Somebody with such a key whose code has not been used: one is taken once."""
        return self.free[kind].pop()

    def fresh(self, name):
        """An empty directory, for what one feature of one client leaves."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def __exit__(self, *_):
        self.server.close()
        for other in self.others:
            other.terminate()
            other.wait()
        super().__exit__()


class Server:
    """On the node's loopback: greets first, then gives back so many bytes as it is told (four bytes of length before them)."""

    def __init__(self, address="127.0.0.1"):
        self.socket = socket.create_server((address, 0), backlog=256)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection, connection.makefile("rwb") as stream:
            try:
                stream.write(GREETING)
                stream.flush()
                length = int.from_bytes(stream.read(4), "big")
                stream.write(stream.read(length))
                stream.flush()
            except OSError:
                pass

    def close(self):
        self.socket.close()


__all__ = ["GREETING", "ROOT", "Place", "Server"]
