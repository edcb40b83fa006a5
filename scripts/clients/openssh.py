"""OpenSSH: every feature, and what its connections that are shared are used for."""

import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from .client import PATIENCE, TERMINAL, Client, expect, ok, run
from .features import relayed
from .place import GREETING, free_port


class OpenSsh(Client):
    name, slug = "OpenSSH", "openssh"

    def __init__(self, place):
        super().__init__(place)
        self.config = place.dir / "openssh_config"
        if not self.config.exists():
            host_ca = (place.dir / "demo" / "host_ca.pub").read_text().strip()
            known = place.dir / "openssh_known_hosts"
            known.write_text(place.known.read_text() + f"@cert-authority * {host_ca}\n")
            common = (f"    HostName 127.0.0.1\n    HostKeyAlias portcullis-demo\n    IdentityFile {place.keys['ed25519']}\n"
                      f"    IdentitiesOnly yes\n    IdentityAgent none\n    UserKnownHostsFile {known}\n    GlobalKnownHostsFile /dev/null\n"
                      "    StrictHostKeyChecking yes\n    UpdateHostKeys no\n    LogLevel ERROR\n")
            login, person = place.login, place.person
            self.config.write_text(
                f"Host demo\n    User {login}\n    Port {place.ports['compatible']}\n{common}"
                f"Host modern\n    User {login}\n    Port {place.ports['modern']}\n{common}"
                f"Host gate\n    User {person}\n    Port {place.ports['compatible']}\n{common}"
                # a node by its own name, through the gateway: no key is shown to it
                f"Host hop\n    HostName {place.node}\n    ProxyJump gate\n    IdentityFile none\n    IdentitiesOnly yes\n    IdentityAgent none\n"
                f"    UserKnownHostsFile {known}\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    LogLevel ERROR\n")

    def ssh(self, *words):
        return ["ssh", "-F", self.config, *words]

    def exec(self, command, profile="compatible"):
        return self.ssh("demo" if profile == "compatible" else "modern", command)

    def shell(self):
        return [*TERMINAL, *self.ssh("demo")]

    def sftp(self, local, there, back):
        batch = (f"mkdir {there}\nput {local} {there}/file\nrename {there}/file {there}/moved\nsymlink moved {there}/link\n"
                 f"chmod 600 {there}/moved\nls -l {there}\nget {there}/moved {back}\n")
        ok(["sftp", "-F", self.config, "-b", "-", "demo"], batch.encode())

    def scp(self, local, there, back):
        # the old protocol, and the one that is SFTP
        for turn, mode in enumerate(("-O", "-s")):
            if turn:
                there.unlink()
                back.unlink()
            ok(["scp", "-q", mode, "-F", self.config, local, f"demo:{there}"])
            ok(["scp", "-q", mode, "-F", self.config, f"demo:{there}", back])

    def many(self, count):
        # one connection, and so many clients of it at once
        path = self.place.fresh("openssh-many") / "c"
        return ["sh", "-c", f"ssh -F '{self.config}' -MNf -S {path} demo && "
                f"for n in $(seq 0 {count - 1}); do (r=$(ssh -F '{self.config}' -o ProxyCommand=false -S {path} demo "
                f"\"sleep 0.2; echo $n; exit $((n % 7))\"); echo \"$r $?\" >{path}.$n) & done; wait; "
                f"for n in $(seq 0 {count - 1}); do cat {path}.$n; done; ssh -F '{self.config}' -S {path} -O exit demo 2>/dev/null"]

    def forward(self, host, port):
        return self.ssh("-W", f"{host}:{port}", "demo")

    def hop(self, node, user, command):
        return self.ssh("-l", user, "hop", command)

    def coded(self, command):
        who = self.place.coded("ed25519")
        ask = self.place.dir / "askpass"
        ask.write_text('#!/bin/sh\necho "$CODE"\n')
        ask.chmod(0o700)
        env = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "CODE": who.code(), "DISPLAY": "none"}
        return self.ssh("-l", who.login, "-i", who.key, "-o", f"IdentityFile={who.key}", "demo", command), env, b""


class Shared:
    """A connection that stays open, and what goes through it and no other way."""

    def __init__(self, ssh, *options):
        self.ssh, self.path = ssh, ssh.place.fresh("openssh-shared") / "c"
        ok(ssh.ssh("-MNf", "-S", self.path, *options, "demo"))

    def through(self, *words):
        return self.ssh.ssh("-o", "ProxyCommand=false", "-S", self.path, *words)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run(self.ssh.ssh("-S", self.path, "-O", "exit", "demo"))


def multiplexed(place):
    """200 commands through one connection, in several at once: every exit status is its own."""
    with Shared(OpenSsh(place)) as shared:
        wrong, next_one, running = [], 0, {}
        while next_one < 200 or running:
            while next_one < 200 and len(running) < 8:
                argv = [str(word) for word in shared.through("demo", f"exit {next_one % 250}")]
                running[next_one] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                next_one += 1
            for number, process in list(running.items()):
                if process.poll() is not None:
                    if process.returncode != number % 250:
                        wrong.append((number % 250, process.returncode))
                    del running[number]
            time.sleep(0.002)
        expect(not wrong, f"wanted and got: {wrong}")


def talked(port, data):
    """To the server behind a local port and back."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection, connection.makefile("rwb") as stream:
        expect(stream.read(len(GREETING)) == GREETING, "no greeting came")
        stream.write(len(data).to_bytes(4, "big") + data)
        stream.flush()
        expect(stream.read(len(data)) == data, "other bytes came back")


def forwards(place):
    """Asked for when the connection is there already, used at once beside a command, and taken back."""
    data, ports = os.urandom(300_000), [free_port() for _ in range(4)]
    with Shared(OpenSsh(place)) as shared:
        def control(what, port):
            ok(shared.ssh.ssh("-S", shared.path, "-O", what, "-L", f"127.0.0.1:{port}:127.0.0.1:{place.server.port}", "demo"))

        for port in ports:
            control("forward", port)
        with ThreadPoolExecutor() as threads:
            talks = [threads.submit(talked, port, data) for port in ports for _ in range(3)]
            beside = [threads.submit(ok, shared.through("demo", f"echo {number}")) for number in range(4)]
            for talk in talks:
                talk.result()
            expect([done.result().out for done in beside] == [b"0\n", b"1\n", b"2\n", b"3\n"], "a command beside them said something else")
        # a client of the connection that is a forward itself
        done = relayed(shared.through("-W", f"127.0.0.1:{place.server.port}", "demo"), data)
        expect(done.out == GREETING + data, f"{len(done.out)} bytes came: {done}")
        control("cancel", ports[0])
        with socket.socket() as gone:
            expect(gone.connect_ex(("127.0.0.1", ports[0])) != 0, "what was taken back is still there")
        talked(ports[1], data)


def background(place):
    """`ssh -T -N -f -n`, as tools dial: there at once, and gone when it is told to."""
    path = place.fresh("openssh-background") / "c"
    ssh = OpenSsh(place)
    done = ok(ssh.ssh("-T", "-N", "-f", "-n", "-M", "-S", path, "demo"), None)
    expect(done.out == b"" and done.err == b"", done)
    asked = ok(ssh.ssh("-S", path, "-O", "check", "demo"))
    pid = int(re.search(rb"pid=(\d+)", asked.out + asked.err).group(1))
    time.sleep(1)
    os.kill(pid, 0)
    os.kill(pid, signal.SIGTERM)
