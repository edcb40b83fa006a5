"""PuTTY's programs without a window: plink, pscp, psftp."""

import re
import socket
import subprocess
import threading
import time

from .client import PATIENCE, TERMINAL, Client, Failed, expect, ok, run
from .features import content, feed
from .place import GREETING, free_port

PROMPT = "Verification code"


class Putty(Client):
    name, slug = "PuTTY (plink, pscp, psftp)", "putty"
    links = False

    def __init__(self, place):
        super().__init__(place)
        # its own form of a key, and its own files of what it has seen
        self.home = place.dir / "putty"
        self.home.mkdir(exist_ok=True)
        self.key = self.own(place.keys["ed25519"])
        fingerprint = ok(["ssh-keygen", "-lf", place.dir / "demo" / "host_key.pub"]).out.decode().split()[1]
        self.trusts = ["-hostkey", fingerprint]

    def own(self, key):
        path = self.home / f"{key.name}.ppk"
        if not path.exists():
            ok(["puttygen", key, "-o", path])
        return path

    def common(self, user=None, profile="compatible", key=None):
        return ["-P", self.place.ports[profile], "-l", user or self.place.login, "-i", key or self.key, *self.trusts]

    def at_home(self, *words):
        return ["env", f"HOME={self.home}", *words]

    def plink(self, *words, **how):
        return self.at_home("plink", "-batch", *self.common(**how), "127.0.0.1", *words)

    def exec(self, command, profile="compatible"):
        return self.plink(command, profile=profile)

    def shell(self):
        return self.at_home(*TERMINAL, *self.plink()[2:])

    def sftp(self, local, there, back):
        batch = (f"mkdir {there}\nput {local} {there}/file\nmv {there}/file {there}/moved\nls {there}\n"
                 f"get {there}/moved {back}\nquit\n")
        script = local.parent / "batch"
        script.write_text(batch)
        ok(self.at_home("psftp", "-b", script, "-batch", *self.common(), "127.0.0.1"))

    def scp(self, local, there, back):
        for turn, mode in enumerate(("-scp", "-sftp")):
            if turn:
                there.unlink()
                back.unlink()
            pscp = self.at_home("pscp", "-q", "-batch", mode, *self.common())
            ok([*pscp, local, f"127.0.0.1:{there}"])
            ok([*pscp, f"127.0.0.1:{there}", back])

    def many(self, count):
        """One connection that the others share, as from one window to the next."""
        place = self.place.fresh("putty-many")
        plink = " ".join(map(str, self.plink("-share")[:-2]))
        script = place / "many.sh"
        script.write_text(
            f"{plink} -share -N 127.0.0.1 & upstream=$!\n"
            f"n=0; until {plink} -shareexists 127.0.0.1; do n=$((n + 1)); [ $n -lt 200 ] || exit 9; sleep 0.1; done\n"
            f"for n in $(seq 0 {count - 1}); do (r=$({plink} -share 127.0.0.1 \"sleep 0.2; echo $n; exit $((n % 7))\"); "
            f"echo \"$r $?\" >{place}/$n) & eval \"p$n=$!\"; done\n"
            f"for n in $(seq 0 {count - 1}); do eval \"wait \\$p$n\"; cat {place}/$n; done\nkill $upstream\n")
        return ["sh", script]

    def forward(self, host, port):
        return self.at_home("plink", "-batch", *self.common(), "-nc", f"{host}:{port}", "127.0.0.1")

    def hop(self, node, user, command):
        through = self.at_home("plink", "-batch", *self.common(user=self.place.person), "-nc", "%host:%port", "127.0.0.1")
        outer = " ".join(map(str, through))
        inner = self.at_home("plink", "-batch", "-proxycmd", outer, "-P", "22", "-l", user)
        # PuTTY asks about each node's key: the first time it says which it is, and that is what a person would agree to
        said = run([*inner, node, "true"], None).err.decode(errors="replace")
        found = re.search(r"(SHA256:\S+)", said)
        agreed = ["-hostkey", found.group(1)] if found else []
        return [*inner, *agreed, node, command]

    def coded(self, command):
        who = self.place.coded("ed25519")
        plink = ["plink", "-no-antispoof", *self.common(user=who.login, key=self.own(who.key)), "127.0.0.1", command]
        return self.at_home(*TERMINAL, "--answer", PROMPT, who.code(), *plink), {}, b""


def bursts(place):
    """A local port of plink whose reader takes little, in bursts, as windows' programs do; and beside it others, who do not wait for that."""
    port, putty = free_port(), Putty(place)
    argv = putty.at_home("plink", "-batch", *putty.common(), "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{place.server.port}", "127.0.0.1")
    process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"plink does not listen: {process.stderr.read()[-600:]}")
            time.sleep(0.05)
        sent = content(4 << 20)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 10)
        slow.settimeout(PATIENCE)
        slow.connect(("127.0.0.1", port))
        with slow, slow.makefile("rwb") as stream:
            expect(stream.read(len(GREETING)) == GREETING, "no greeting came")
            threading.Thread(target=feed, args=(stream, len(sent).to_bytes(4, "big") + sent), daemon=True).start()
            came, beside = b"", []
            while len(came) < len(sent):
                part = stream.read(min(64 << 10, len(sent) - len(came)))
                expect(part, f"it ended after {len(came)} bytes")
                came += part
                time.sleep(0.02)
                if len(came) >> 20 > len(beside):
                    began = time.monotonic()
                    with socket.create_connection(("127.0.0.1", port), PATIENCE) as other:
                        expect(other.recv(len(GREETING)) == GREETING, "no greeting came to another")
                    beside.append(time.monotonic() - began)
            expect(came == sent, "what came back is not what was sent")
        expect(min(beside) < 1, f"others waited: {beside}")
    finally:
        process.kill()
        process.wait()
