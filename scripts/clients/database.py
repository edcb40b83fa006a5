"""A PostgreSQL on the node's loopback, for database tools: its client speaks first, and its driver dials when somebody stops a statement."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from measured.places import free_port

from .client import Failed, expect, ok
from .libraries import Jsch


class Postgres:
    user = "gate"

    def __enter__(self):
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
        if not programs:
            raise Failed("PostgreSQL is not there; scripts/setup.sh clients installs it")
        bin, self.port = programs[-1].parent, free_port()
        self.dir = Path(tempfile.mkdtemp(prefix="pg"))
        # it does not run as root
        who = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.dir, nobody.pw_uid, nobody.pw_gid)
            who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        data = self.dir / "data"
        how = {"cwd": "/", "stdin": subprocess.DEVNULL, **who}
        made = subprocess.run([bin / "initdb", "--auth=trust", f"--username={self.user}", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", data],
                              capture_output=True, check=False, **how)
        expect(made.returncode == 0, made.stderr)
        self.process = subprocess.Popen([bin / "postgres", "-D", data, "-F", "-k", self.dir, "-c", "listen_addresses=127.0.0.1", "-p", str(self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
        end = time.monotonic() + 60
        while subprocess.run([bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode:
            expect(self.process.poll() is None and time.monotonic() < end, "PostgreSQL does not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        # SIGINT is its fast shutdown
        self.process.send_signal(2)
        self.process.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)


def dbeaver(place):
    """What it is made of: a local port of JSch, and PostgreSQL's JDBC driver on it."""
    with Postgres() as server:
        ok(Jsch(place).ask("database", "127.0.0.1", server.port, server.user), None)
