"""The kernel's side of FUSE, for programs that mount, where a machine lets nobody mount: what they would read from /dev/fuse comes from here.

libfuse takes `/dev/fd/N` for a mount point whose device is open already. Here that is a socket that keeps messages apart, and what a
kernel asks when somebody works in the mounted directory is asked by this (linux/fuse.h, protocol 7.31)."""

import errno
import os
import socket
import stat
import struct
import subprocess
from collections import Counter
from pathlib import Path

from .client import PATIENCE, Failed, expect

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKDIR, UNLINK, RMDIR, RENAME = 1, 2, 3, 4, 5, 6, 9, 10, 11, 12
OPEN, READ, WRITE, STATFS, RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, CREATE, DESTROY = 14, 15, 16, 17, 18, 25, 26, 27, 28, 29, 35, 38
ROOT_NODE = 1

IN, OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
# node, generation, how long name and attributes hold; then the attributes
ENTRY = struct.Struct("=QQQQII")
ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
SETTING = struct.Struct("=IIQQQQQQIIIIIIII")
FILE, TRANSFER, RELEASING = struct.Struct("=QII"), struct.Struct("=QQIIQII"), struct.Struct("=QIIQ")
BY_MODE, BY_SIZE, BY_HANDLE = 1 << 0, 1 << 3, 1 << 6
# read ahead of whoever reads, O_TRUNC with the open, writes of more than a page, directories read by several
OFFERED = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 18
# at once, as when a file is read ahead
PIECE, AT_ONCE = 1 << 17, 8


class Kernel:
    """A program with its mount; operations on paths below it."""

    def __init__(self, argv, log):
        self.argv, self.log = [str(word) for word in argv], log
        self.last, self.known = 0, Counter()

    def __enter__(self):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        with theirs, self.log.open("wb") as log:
            self.process = subprocess.Popen([*self.argv, f"/dev/fd/{theirs.fileno()}"], pass_fds=[theirs.fileno()],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            answer = self.ask(INIT, 0, struct.pack("=IIII", 7, 31, PIECE, OFFERED))
            major, self.piece = struct.unpack_from("=I", answer)[0], min(PIECE, struct.unpack_from("=I", answer, 20)[0])
            expect(major == 7, f"FUSE {major}")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.process.poll() is None:
                for node, times in self.known.items():
                    self.send(FORGET, node, struct.pack("=Q", times))
                self.ask(DESTROY, 0)
        finally:
            self.end()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.socket.close()

    # requests and answers

    def send(self, operation, node, body=b""):
        self.last += 2
        self.socket.sendall(IN.pack(IN.size + len(body), operation, self.last, node, os.getuid(), os.getgid(), os.getpid(), 0) + body)
        return self.last

    def ask_all(self, requests):
        """All of them on their way before the first is answered, in whatever order."""
        sent = [self.send(*request) for request in requests]
        answers = {}
        while len(answers) < len(sent):
            try:
                message = self.socket.recv(PIECE + 4096)
            except TimeoutError:
                message = b""
            if not message:
                raise Failed(f"{self.argv[0]} answers nothing more: {self.log.read_text()[-1500:]}")
            length, error, number = OUT.unpack_from(message)
            # 0 is what nobody asked for: a program's word that a cache is stale
            if number:
                expect(length == len(message) and number in sent, f"no answer to anything: {message[:64]!r}")
                answers[number] = error, message[OUT.size:]
        for error, _ in answers.values():
            if error:
                raise OSError(-error, os.strerror(-error))
        return [answers[number][1] for number in sent]

    def ask(self, operation, node, body=b""):
        return self.ask_all([(operation, node, body)])[0]

    def entered(self, answer):
        """The node of an answer that has one, which is to be forgotten as often as it was told."""
        node = ENTRY.unpack_from(answer)[0]
        self.known[node] += 1
        return node, ATTRIBUTES.unpack_from(answer, ENTRY.size)

    def lookup(self, path):
        node, attributes = ROOT_NODE, None
        for name in Path(path).parts:
            node, attributes = self.entered(self.ask(LOOKUP, node, os.fsencode(name) + b"\0"))
        return node, attributes

    def parent(self, path):
        path = Path(path)
        return self.lookup(path.parent)[0], os.fsencode(path.name) + b"\0"

    # what somebody does in the directory

    def mode(self, path):
        return self.lookup(path)[1][9]

    def size(self, path):
        node, _ = self.lookup(path)
        return ATTRIBUTES.unpack_from(self.ask(GETATTR, node, bytes(16)), 16)[1]

    def mkdir(self, path, mode):
        node, name = self.parent(path)
        self.entered(self.ask(MKDIR, node, struct.pack("=II", mode, 0o022) + name))

    def symlink(self, target, path):
        node, name = self.parent(path)
        self.entered(self.ask(SYMLINK, node, name + os.fsencode(target) + b"\0"))

    def readlink(self, path):
        return os.fsdecode(self.ask(READLINK, self.lookup(path)[0]))

    def rename(self, path, to):
        (node, name), (new_node, new_name) = self.parent(path), self.parent(to)
        self.ask(RENAME, node, struct.pack("=Q", new_node) + name + new_name)

    def unlink(self, path):
        node, name = self.parent(path)
        self.ask(UNLINK, node, name)

    def rmdir(self, path):
        node, name = self.parent(path)
        self.ask(RMDIR, node, name)

    def set(self, path, which, size=0, mode=0, handle=0):
        node, _ = self.lookup(path)
        self.ask(SETATTR, node, SETTING.pack(which, 0, handle, size, *[0] * 4, *[0] * 3, mode, *[0] * 4))

    def chmod(self, path, mode):
        self.set(path, BY_MODE, mode=mode)

    def write(self, path, data, mode=0o644):
        node, name = self.parent(path)
        answer = self.ask(CREATE, node, struct.pack("=IIII", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IFREG | mode, 0o022, 0) + name)
        made, _ = self.entered(answer)
        self.put(made, FILE.unpack_from(answer, ENTRY.size + ATTRIBUTES.size)[0], 0, data)

    def append(self, path, data, cut):
        """Adds that and cuts the file to so many bytes before it closes it."""
        node, attributes = self.lookup(path)
        handle = self.open(OPEN, node, os.O_WRONLY | os.O_APPEND)
        self.put(node, handle, attributes[1], data, lambda: self.set(path, BY_SIZE | BY_HANDLE, size=cut, handle=handle))

    def put(self, node, handle, at, data, before_close=lambda: None):
        for piece in range(0, len(data), self.piece):
            part = data[piece:piece + self.piece]
            answer = self.ask(WRITE, node, TRANSFER.pack(handle, at + piece, len(part), 0, 0, os.O_WRONLY, 0) + part)
            expect(struct.unpack_from("=I", answer)[0] == len(part), "a write was taken in part")
        before_close()
        self.close(node, handle)

    def read(self, path):
        node, attributes = self.lookup(path)
        handle = self.open(OPEN, node, os.O_RDONLY)
        data, pieces = b"", list(range(0, attributes[1], self.piece))
        while pieces:
            now, pieces = pieces[:AT_ONCE], pieces[AT_ONCE:]
            data += b"".join(self.ask_all([(READ, node, TRANSFER.pack(handle, at, self.piece, 0, 0, os.O_RDONLY, 0)) for at in now]))
        self.close(node, handle)
        return data

    def open(self, operation, node, flags):
        return FILE.unpack_from(self.ask(operation, node, struct.pack("=II", flags, 0)))[0]

    def close(self, node, handle):
        self.ask(FLUSH, node, struct.pack("=QIIQ", handle, 0, 0, 0))
        self.ask(RELEASE, node, RELEASING.pack(handle, 0, 0, 0))

    def listdir(self, path):
        node, _ = self.lookup(path)
        handle, at, names = self.open(OPENDIR, node, os.O_RDONLY | os.O_DIRECTORY), 0, []
        while data := self.ask(READDIR, node, TRANSFER.pack(handle, at, 4096, 0, 0, 0, 0)):
            place = 0
            while place < len(data):
                _, at, length, _ = struct.unpack_from("=QQII", data, place)
                names.append(os.fsdecode(data[place + 24:place + 24 + length]))
                place += (24 + length + 7) // 8 * 8
        self.ask(RELEASEDIR, node, RELEASING.pack(handle, 0, 0, 0))
        return sorted(name for name in names if name not in (".", ".."))

    def free_space(self):
        """Blocks, those that are free, and the size of one."""
        answer = struct.unpack_from("=QQQQQIIII", self.ask(STATFS, ROOT_NODE))
        return answer[0], answer[1], answer[5]

    # whole trees

    def copy_in(self, here, path):
        self.mkdir(path, stat.S_IMODE(here.stat().st_mode))
        for entry in sorted(here.iterdir()):
            to = f"{path}/{entry.name}"
            if entry.is_symlink():
                self.symlink(os.readlink(entry), to)
            elif entry.is_dir():
                self.copy_in(entry, to)
            else:
                self.write(to, entry.read_bytes())
                self.chmod(to, stat.S_IMODE(entry.stat().st_mode))

    def copy_out(self, path, here):
        here.mkdir()
        for name in self.listdir(path):
            entry, to = f"{path}/{name}", here / name
            mode = self.mode(entry)
            if stat.S_ISLNK(mode):
                to.symlink_to(self.readlink(entry))
            elif stat.S_ISDIR(mode):
                self.copy_out(entry, to)
            else:
                to.write_bytes(self.read(entry))
                to.chmod(stat.S_IMODE(mode))

    def remove(self, path):
        for name in self.listdir(path):
            entry = f"{path}/{name}"
            (self.remove if stat.S_ISDIR(self.mode(entry)) else self.unlink)(entry)
        self.rmdir(path)

    def refuses(self, why, operation, *arguments):
        try:
            operation(*arguments)
        except OSError as error:
            return expect(error.errno == why, f"wanted {errno.errorcode[why]}: {error}")
        raise Failed(f"wanted {errno.errorcode[why]}, and it was done")
