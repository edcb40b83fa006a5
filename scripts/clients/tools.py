"""Tools that bring SSH along or use OpenSSH's: what each is there for, done once and looked at."""

import errno
import filecmp
import os
import shutil
import socket
import subprocess
import sys
import time

from .client import Failed, expect, ok, run
from .features import content
from .kernel import Kernel
from .openssh import OpenSsh
from .place import GREETING, ROOT, Server


def tree(path):
    """A small tree with what is easily lost on the way."""
    (path / "a b" / "deep").mkdir(parents=True)
    (path / "a b" / "deep" / "file").write_bytes(content(300_000))
    (path / "empty").touch()
    (path / "ünï \u00e9").write_text("named\n")
    script = path / "run.sh"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    os.symlink("run.sh", path / "link")
    return path


def same(here, there):
    """Two trees with the same names, bytes, links and modes."""
    def walk(root):
        found = {}
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, root)] = os.readlink(path) if os.path.islink(path) else os.stat(path).st_mode & 0o777
        return found

    ours, theirs = walk(here), walk(there)
    expect(ours == theirs, f"the trees differ: {sorted(set(ours.items()) ^ set(theirs.items()))}")
    for name in ours:
        path = os.path.join(here, name)
        if os.path.isfile(path):
            expect(filecmp.cmp(path, os.path.join(there, name), shallow=False), f"{name} differs")


def ssh_command(place):
    return " ".join(map(str, OpenSsh(place).ssh()))


def rsync(place):
    work = place.fresh("rsync")
    here, there, back = tree(work / "here"), work / "there", work / "back"
    command = ["rsync", "-a", "--delete", "-e", ssh_command(place)]
    ok([*command, f"{here}/", f"demo:{there}/"])
    same(here, there)
    (here / "empty").write_text("no more")
    (here / "link").unlink()
    ok([*command, "--checksum", f"{here}/", f"demo:{there}/"])
    same(here, there)
    ok([*command, f"demo:{there}/", f"{back}/"])
    same(here, back)


def unison(place):
    work = place.fresh("unison")
    here, there = tree(work / "here"), work / "there"
    there.mkdir()
    (there / "of there").write_text("x")
    command = ["unison", here, f"ssh://demo/{there}", "-batch", "-ui", "text", "-sshargs", f"-F {OpenSsh(place).config}", "-perms", "-1"]
    ok(command, env={"UNISON": str(work / "archives"), "HOME": str(work)})
    same(here, there)
    expect((here / "of there").exists(), "what was there did not come here")


def git(place):
    work = place.fresh("git")
    there, here = work / "there.git", work / "here"
    env = {"GIT_SSH_COMMAND": ssh_command(place), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
           "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    ok(["git", "init", "-q", "--bare", there])
    ok(["git", "init", "-q", "-b", "main", here])
    (here / "file").write_bytes(content(500_000))
    at_home = ["git", "-C", here]
    ok([*at_home, "add", "."])
    ok([*at_home, "commit", "-qm", "first"], env=env)
    ok([*at_home, "push", "-q", f"demo:{there}", "main"], env=env)
    cloned = work / "cloned"
    traced = ok(["git", "-c", "protocol.version=2", "clone", "-b", "main", f"demo:{there}", cloned], env={**env, "GIT_TRACE_PACKET": "1"})
    expect(b"version 2" in traced.err, "protocol version 2 was not spoken")
    expect((cloned / "file").read_bytes() == (here / "file").read_bytes(), "what was cloned is not what was pushed")
    ok([*at_home, "commit", "-q", "--allow-empty", "-m", "second"], env=env)
    ok([*at_home, "push", "-q", f"demo:{there}", "main"], env=env)
    ok(["git", "-C", cloned, "pull", "-q"], env=env)
    shown = ok(["git", "-C", cloned, "log", "--format=%s"]).out
    expect(shown.split() == [b"second", b"first"], shown)
    # whoever asks for what is not there is told so by git itself
    done = run(["git", "ls-remote", f"demo:{work}/none.git"], env=env)
    expect(done.code == 128 and b"does not appear to be a git repository" in done.err, done)


def curl_config(place, work):
    """libssh2 wants both halves of a key, in the old form."""
    key = place.keys["ecdsa"]
    config = work / "curlrc"
    config.write_text(f'silent\nshow-error\ninsecure\nuser = "{place.login}:"\nkey = "{key}"\npubkey = "{key}.pub"\nmax-time = 60\n')
    return ["curl", "-K", config], f"127.0.0.1:{place.ports['compatible']}"


def curl_sftp(place):
    work = place.fresh("curl-sftp")
    curl, host = curl_config(place, work)
    sent = content(2 << 20)
    (work / "here").write_bytes(sent)
    ok([*curl, "--ftp-create-dirs", "-T", work / "here", f"sftp://{host}{work}/made/there"])
    expect((work / "made" / "there").read_bytes() == sent, "what came to the node is not what was sent")
    expect(ok([*curl, f"sftp://{host}{work}/made/there"]).out == sent, "what came back is not what was sent")
    listed = ok([*curl, f"sftp://{host}{work}/made/"]).out
    expect(b" there" in listed, listed)
    part = ok([*curl, "-r", "100-199", f"sftp://{host}{work}/made/there"]).out
    expect(part == sent[100:200], "a part of a file is another")
    ok([*curl, "-Q", f"rename {work}/made/there {work}/made/moved", f"sftp://{host}{work}/made/"])
    expect((work / "made" / "moved").exists(), os.listdir(work / "made"))
    done = run([*curl, f"sftp://{host}{work}/none"])
    expect(done.code == 78, done)


def curl_scp(place):
    work = place.fresh("curl-scp")
    curl, host = curl_config(place, work)
    sent = content(2 << 20)
    (work / "here").write_bytes(sent)
    ok([*curl, "-T", work / "here", f"scp://{host}{work}/there"])
    expect((work / "there").read_bytes() == sent, "what came to the node is not what was sent")
    expect(ok([*curl, f"scp://{host}{work}/there"]).out == sent, "what came back is not what was sent")
    done = run([*curl, f"scp://{host}{work}/none"])
    expect(done.code != 0, done)


def lftp(place):
    work = place.fresh("lftp")
    here, there, back = tree(work / "here"), work / "there", work / "back"
    connect = f"set sftp:connect-program \"{ssh_command(place)} -a -x\"; open sftp://{place.login}:@demo"
    ok(["lftp", "-c", f"set cmd:fail-exit yes; {connect}; mirror -R '{here}' '{there}'; mirror -P 4 '{there}' '{back}'; mv '{there}/empty' '{there}/full'; ls '{there}'"],
       env={"HOME": str(work)})
    same(here, back)
    expect((there / "full").exists(), os.listdir(there))


def rclone(place):
    work = place.fresh("rclone")
    here, there, back = tree(work / "here"), work / "there", work / "back"
    (here / "link").unlink()
    config = work / "rclone.conf"
    config.write_text(f"[demo]\ntype = sftp\nhost = 127.0.0.1\nuser = {place.login}\nport = {place.ports['compatible']}\n"
                      f"key_file = {place.keys['ed25519']}\nknown_hosts_file = {work}/known\n")
    # Go's known_hosts wants a certificate's authority where the server has a certificate, whatever key of it is known
    authority = (place.dir / "demo" / "host_ca.pub").read_text()
    (work / "known").write_text(f"@cert-authority [127.0.0.1]:{place.ports['compatible']} {authority}")
    command = ["rclone", "--config", config]
    ok([*command, "sync", here, f"demo:{there}"])
    # it asks the node's own md5sum or sha1sum, by commands
    checked = ok([*command, "check", here, f"demo:{there}"])
    expect(b"0 differences found" in checked.err and b"hashes could not be checked" not in checked.err, checked)
    ok([*command, "copy", f"demo:{there}", back])
    said = ok([*command, "cat", f"demo:{there}/run.sh"]).out
    expect(said == (here / "run.sh").read_bytes(), said)
    ok([*command, "moveto", f"demo:{there}/empty", f"demo:{there}/full"])
    expect((there / "full").exists(), os.listdir(there))


def sshfs_options(place):
    return [f"-F{OpenSsh(place).config}", "-o", "idmap=none"]


class Unavailable(Exception):
    """This machine does not allow it, whatever the gateway does."""


def sshfs(place):
    """With the kernel's side played by this, anywhere; and mounted, where the machine allows that."""
    work = place.fresh("sshfs")
    here, there = tree(work / "here"), work / "there"
    (here / "more").write_bytes(content(3 << 20))
    there.mkdir()
    with Kernel(["sshfs", "-f", *sshfs_options(place), f"demo:{there}"], work / "log") as kernel:
        kernel.copy_in(here, "tree")
        same(here, there / "tree")
        expect(kernel.listdir("tree") == sorted(os.listdir(here)), kernel.listdir("tree"))
        expect(kernel.size("tree/more") == (here / "more").stat().st_size, kernel.size("tree/more"))
        kernel.copy_out("tree", work / "back")
        same(here, work / "back")
        kernel.rename("tree/empty", "tree/full")
        kernel.append("tree/full", b"appended", 4)
        expect((there / "tree" / "full").read_bytes() == b"appe", "what was appended and cut is not there")
        kernel.refuses(errno.ENOENT, kernel.lookup, "tree/empty")
        # of which SFTP says that it failed, and sshfs looks why
        kernel.refuses(errno.ENOTEMPTY, kernel.rmdir, "tree")
        blocks, free, size = kernel.free_space()
        of_node = os.statvfs(there)
        expect(blocks * size == of_node.f_blocks * of_node.f_frsize and 0 < free <= blocks, f"{blocks} blocks of {size}, {free} free")
        kernel.remove("tree")
        expect(os.listdir(there) == [], os.listdir(there))
    return sshfs_mounted(place, work, there)


def sshfs_mounted(place, work, there):
    mounted = work / "mounted"
    mounted.mkdir()
    done = run(["sshfs", *sshfs_options(place), f"demo:{there}", mounted])
    if done.code and (b"/dev/fuse" in done.err or b"Operation not permitted" in done.err or b"fuse device" in done.err):
        return "not mounted, since this machine allows no FUSE: " + done.err.decode(errors="replace").strip().splitlines()[-1]
    expect(done.code == 0, done)
    try:
        tree(mounted / "tree")
        same(mounted / "tree", there / "tree")
        (mounted / "tree" / "empty").rename(mounted / "tree" / "full")
        with (mounted / "tree" / "full").open("ab") as file:
            file.write(b"appended")
            file.truncate(4)
        expect((there / "tree" / "full").read_bytes() == b"appe", "what was appended and cut is not there")
        expect(shutil.disk_usage(mounted).total > 0, "no statvfs")
        shutil.rmtree(mounted / "tree")
        expect(not (there / "tree").exists(), "what was removed is still there")
    finally:
        ok(["fusermount3", "-u", mounted])
    return "mounted as well"


def restic(place):
    work = place.fresh("restic")
    here, there, back = tree(work / "here"), work / "there", work / "back"
    env = {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(work / "cache"), "HOME": str(work)}
    restic = ["restic", "-q", "-r", f"sftp:demo:{there}", "-o", f"sftp.command={ssh_command(place)} demo -s sftp"]
    ok([*restic, "init"], env=env)
    ok([*restic, "backup", "."], env=env, cwd=here)
    ok([*restic, "check", "--read-data"], env=env)
    ok([*restic, "restore", "latest", "--target", back], env=env)
    same(here, back)


class Elsewhere:
    """A network namespace in which sshuttle is, since what it redirects would be what the node dials, were both on one machine. Its way to
    the node's address leads nowhere but through sshuttle; `ssh` itself dials from outside."""

    def __init__(self):
        # two runs at once on one machine are not in each other's way
        pid = os.getpid()
        self.name, self.address = f"portcullis-{pid}", f"10.231.{pid >> 8 & 0xFF}.{pid & 0xFF}"

    def __enter__(self):
        run(["ip", "netns", "del", self.name])
        done = run(["ip", "netns", "add", self.name])
        if done.code:
            raise Unavailable("nobody may make a network namespace here: " + done.err.decode().strip())
        self.inside, self.outside = ["ip", "netns", "exec", self.name], f"nsenter --net=/proc/{os.getpid()}/ns/net"
        ok(["ip", "-n", self.name, "link", "set", "lo", "up"])
        # somewhere to come from
        ok(["ip", "-n", self.name, "address", "add", "10.230.0.1/32", "dev", "lo"])
        ok(["ip", "-n", self.name, "route", "add", f"{self.address}/32", "dev", "lo"])
        run(["ip", "address", "add", f"{self.address}/32", "dev", "lo"])
        self.server = Server(self.address)
        return self

    def __exit__(self, *_):
        self.server.close()
        run(["ip", "address", "del", f"{self.address}/32", "dev", "lo"])
        run(["ip", "netns", "del", self.name])


def sshuttle(place):
    """A connection to an address of the node's, which is redirected into sshuttle."""
    work = place.fresh("sshuttle")
    with Elsewhere() as elsewhere, (work / "log").open("wb") as log:
        if run([*elsewhere.inside, "iptables", "-w", "-t", "nat", "-S"]).code:
            raise Unavailable("nobody may use iptables here, which sshuttle itself needs")
        process = subprocess.Popen([*elsewhere.inside, "sshuttle", "--method", "nat", "-r", "demo", "-e", f"{elsewhere.outside} {ssh_command(place)}",
                                    "-v", f"{elsewhere.address}/32"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            while b"REDIRECT" not in run([*elsewhere.inside, "iptables", "-w", "-t", "nat", "-S"]).out:
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"it does not connect: {(work / 'log').read_text()[-1500:]}")
                time.sleep(0.1)
            data = content(100_000)
            relay = [sys.executable, "-c", "import socket, sys; from clients.tools import talk; talk(sys.argv[1], int(sys.argv[2]))",
                     elsewhere.address, elsewhere.server.port]
            done = run([*elsewhere.inside, *relay], data, cwd=ROOT / "scripts")
            expect(done.out == data, f"{len(done.out)} bytes came back: {done}; sshuttle: {(work / 'log').read_text()[-3000:]}")
            expect(b"Accept TCP" in (work / "log").read_bytes(), f"it went past sshuttle: {(work / 'log').read_text()[-3000:]}")
        finally:
            process.terminate()
            process.wait(30)


def talk(host, port):
    """Standard input to the server and back, where this is run."""
    data = sys.stdin.buffer.read()
    connection = socket.create_connection((host, port), 30)
    with connection, connection.makefile("rwb") as stream:
        expect(stream.read(len(GREETING)) == GREETING, "no greeting came")
        stream.write(len(data).to_bytes(4, "big") + data)
        stream.flush()
        sys.stdout.buffer.write(stream.read(len(data)))
