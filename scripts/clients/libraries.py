"""Libraries, each by a small program of ours in tests/clients."""

import hashlib
import os
import shutil

from .client import Probe, ok
from .place import ROOT

PROGRAMS = ROOT / "tests" / "clients"
# what scripts/setup.sh clients fetches, and what is compiled here
INSTALLED = ROOT / "target" / "clients"


def compiled(source, argv, env=None):
    """What is compiled of a source, by the source's hash; whoever else does so at the same time makes the same."""
    name = f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    result, fresh = INSTALLED / name, INSTALLED / f"{name}.{os.getpid()}"
    if not result.exists():
        ok(argv(fresh), env=env)
        try:
            fresh.rename(result)
        except OSError:
            # somebody's directory is there already
            shutil.rmtree(fresh)
    return result


class Python(Probe):
    def __init__(self, place):
        super().__init__(place)
        self.program = (INSTALLED / "bin" / "python", PROGRAMS / f"with_{self.slug}.py")


class Paramiko(Python):
    name, slug = "Paramiko", "paramiko"
    lacks = {"scp": "it has SFTP alone"}


class AsyncSsh(Python):
    name, slug = "AsyncSSH", "asyncssh"


class Libssh(Python):
    name, slug = "libssh", "libssh"
    lacks = {"hop": "its Python bindings take no channel for a socket"}


class Ssh2(Probe):
    name, slug = "npm `ssh2`", "ssh2"
    lacks = {"scp": "it has SFTP alone"}

    def __init__(self, place):
        super().__init__(place)
        self.program = ("env", f"NODE_PATH={INSTALLED / 'node_modules'}", "node", PROGRAMS / "with_ssh2.cjs")


class XCrypto(Probe):
    name, slug = "Go x/crypto/ssh, pkg/sftp", "xcrypto"

    def __init__(self, place):
        super().__init__(place)
        source = PROGRAMS / "with_xcrypto.go"
        # the libraries are Debian's packages, so nothing is asked of a proxy of modules
        env = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(INSTALLED / "go-cache"), "GOFLAGS": ""}
        program = compiled(source, lambda to: ["go", "build", "-o", to, source], env)
        self.program = (program,)


class Jsch(Probe):
    """The old one, which Debian has; it reads no ed25519 key, and no key in OpenSSH's own form."""

    name, slug, key = "JSch 0.1.55 (Java)", "jsch", "ecdsa"
    lacks = {"scp": "it has SFTP alone"}
    cannot = {"modern": "the default has no key exchange, cipher or MAC of its age; `gateway.algorithms = \"compatible\"` has"}
    jar = "/usr/share/java/jsch.jar"

    def __init__(self, place):
        super().__init__(place)
        source = PROGRAMS / "WithJsch.java"
        classes = compiled(source, lambda to: ["javac", "-cp", self.jar, "-d", to, source])
        self.program = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{self.jar}:{classes}", "WithJsch")
