"""Libraries, each by a small program of ours in tests/clients."""

import hashlib
import os
import shutil

from .client import Probe, ok
from .place import ROOT

PROGRAMS = ROOT / "tests" / "clients"
# what scripts/setup.sh clients fetches, and what is compiled here
INSTALLED = ROOT / "target" / "clients"


def compiled(source, argv, env=None, against=""):
    """What is compiled of a source, by the source's hash; whoever else does so at the same time makes the same. `against` is what
    else it depends on."""
    name = f"{source.stem}-{hashlib.sha256(source.read_bytes() + against.encode()).hexdigest()[:16]}"
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


class Java(Probe):
    # what it is compiled against, and what it wants besides where it runs
    jar, more = "", ""

    def __init__(self, place):
        super().__init__(place)
        source = self.source()
        classes = compiled(source, lambda to: ["javac", "-cp", self.jar, "-d", to, source], against=self.jar)
        self.program = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{self.jar}:{classes}{self.more}", source.stem)


class Jsch(Java):
    """The old one, which Debian has and which names itself 0.1.54; it reads no ed25519 key, and no key in OpenSSH's own form."""

    name, slug, key = "JSch 0.1.55 (Java)", "jsch", "ecdsa"
    lacks = {"scp": "it has SFTP alone"}
    cannot = {"modern": "the default has no key exchange, cipher or MAC of its age; `gateway.algorithms = \"compatible\"` has"}
    jar, more = "/usr/share/java/jsch.jar", ":/usr/share/java/postgresql.jar"

    def source(self):
        return PROGRAMS / "WithJsch.java"


class Trilead(Java):
    """What JSch's peers of before 2010 are, and what they grew into: RSA with SHA-1 throughout."""

    name, slug, key, home = "Trilead SSH-2 (Java)", "trilead", "rsa", "legacy"
    cannot = {"modern": "it knows SHA-1 alone; `algorithms = \"legacy\"` has it, where all else of its line was tried"}
    jar = "/usr/share/java/trilead-ssh2.jar"

    def source(self):
        return PROGRAMS / "WithTrilead.java"


class Jenkins(Trilead):
    name, slug, jar = "Jenkins' Trilead (Java)", "jenkins", "/usr/share/java/jenkins-trilead-ssh2.jar"


class Ganymed(Trilead):
    """The same classes in the package that they had before."""

    name, slug, jar = "Ganymed SSH-2 (Java)", "ganymed", "/usr/share/java/ganymed-ssh2.jar"

    def source(self):
        text = super().source().read_text().replace("com.trilead.ssh2", "ch.ethz.ssh2")
        path = INSTALLED / self.slug / super().source().name
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.rename(path)
        return path
