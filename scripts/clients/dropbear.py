"""Dropbear's client, as routers and small images have it."""

from .client import TERMINAL, Client, ok


class Dropbear(Client):
    name, slug = "Dropbear (dbclient)", "dropbear"
    lacks = {"many": "it has one session a connection"}

    def __init__(self, place):
        super().__init__(place)
        self.home = place.dir / "dropbear"
        self.home.mkdir(exist_ok=True)
        self.key = self.own(place.keys["ed25519"])
        # it knows hosts by their name alone, whatever the port
        known = self.home / ".ssh" / "known_hosts"
        known.parent.mkdir(exist_ok=True)
        known.write_text("127.0.0.1 " + " ".join((place.dir / "demo" / "host_key.pub").read_text().split()[:2]) + "\n")

    def own(self, key):
        path = self.home / key.name
        if not path.exists():
            # it reads OpenSSH's own form of a key and no other
            copy = self.home / f"{key.name}.openssh"
            copy.write_bytes(key.read_bytes())
            copy.chmod(0o600)
            ok(["ssh-keygen", "-q", "-p", "-N", "", "-f", copy])
            ok(["dropbearconvert", "openssh", "dropbear", copy, path])
        return path

    def dbclient(self, *words, user=None, profile="compatible", key=None, options=()):
        place = self.place
        return ["env", f"HOME={self.home}", "dbclient", "-i", key or self.key, "-p", place.ports[profile], *options,
                f"{user or place.login}@127.0.0.1", *words]

    def exec(self, command, profile="compatible"):
        return self.dbclient(command, profile=profile)

    def shell(self):
        return ["env", f"HOME={self.home}", *TERMINAL, *self.dbclient()[2:]]

    def wrapped(self, words):
        """A program of that name for scp and sftp of OpenSSH, which bring no SSH of their own."""
        path = self.home / "ssh"
        path.write_text(f'#!/bin/sh\nexport HOME={self.home}\nexec dbclient -i {self.key} {words}\n')
        path.chmod(0o700)
        return path

    def sftp(self, local, there, back):
        batch = (f"mkdir {there}\nput {local} {there}/file\nrename {there}/file {there}/moved\nsymlink moved {there}/link\n"
                 f"chmod 600 {there}/moved\nls -l {there}\nget {there}/moved {back}\n")
        server = self.wrapped(f"-p {self.place.ports['compatible']} -s {self.place.login}@127.0.0.1 sftp")
        ok(["sftp", "-b", "-", "-D", server], batch.encode())

    def scp(self, local, there, back):
        scp = ["scp", "-q", "-O", "-S", self.wrapped('"$@"'), "-P", self.place.ports["compatible"]]
        host = f"{self.place.login}@127.0.0.1"
        ok([*scp, local, f"{host}:{there}"])
        ok([*scp, f"{host}:{there}", back])

    def forward(self, host, port):
        return self.dbclient(options=("-B", f"{host}:{port}"))

    def hop(self, node, user, command):
        """As its own `gate,node` does it, which starts itself by a name that not every package has in the PATH."""
        place = self.place
        outer = " ".join(map(str, self.dbclient(user=place.person, options=("-B", f"{node}:22"))))
        return ["env", f"HOME={self.home}", "dbclient", "-y", "-y", "-i", self.key, "-J", outer, f"{user}@{node}/22", command]

    def coded(self, command):
        who = self.place.coded("ed25519")
        dbclient = self.dbclient(command, user=who.login, key=self.own(who.key))
        return [*dbclient[:2], *TERMINAL, "--answer", "Verification code", who.code(), *dbclient[2:]], {}, b""
