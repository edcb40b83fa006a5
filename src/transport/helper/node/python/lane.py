# The lanes of one owner, whichever are attached, and the records on them.
#
# A record: kind (1 byte), number (4), length (4), payload; towards the node a check (4) stands before the payload: the CRC-32
# of all the rest, since the agent may deliver a piece twice. Number 0 marks state that a later record replaces; the others
# are counted from 1 in each direction and kept until the other end has acknowledged them, so that a lost lane loses
# nothing. Towards the gateway every record is escaped (DLE A, DLE B) and followed by a trailer of ASCII bytes, because the
# agent alters some bytes that are not UTF-8, and holds back what may be the beginning of a character.
#
# Where both ends can, a record z stands for one of data: towards the node it is input, deflated; towards the gateway the
# kind that it stands for, the length of its data (4), and that data deflated.
import _socket
import binascii
import fcntl
import os
import struct
import sys
import time

HEAD = struct.Struct(">BII")
CHECK = struct.Struct(">I")
TRAILER = b"~~~\n"
# the longest payload that either end accepts
LONGEST_PAYLOAD = 131072
# how much input may be on its way to the job: 25 MiB a second where that takes 80 ms there and back
WINDOW = 2097152
# how much of it the gateway sends before it has been told
FIRST = 1048576
# fcntl(2): so much may wait in the pipe to the agent; the fcntl module has a name for it since Python 3.10
F_SETPIPE_SZ = 1031
# ioctl_tty(2), of a pipe's either end: what waits in it; the termios module, which has its name, is not loaded for it
FIONREAD = 0x541B
FEW = 32768
# so much a terminal gives at once; it holds four and a half of them
PIECE = 4096
# for how many seconds a long record is left to come at most
LONGEST_REST = 0.002
# what a lane process ends with whose lane was let go of, so that the gateway can tell it from a session that was ended
LET_GO = 75
# what is said on the in lane, where nothing is said otherwise, when the out lane broke
OUT_LOST = b"PCR1 the way out is lost\n"


def encode(kind, number, payload):
    record = HEAD.pack(kind[0], number, len(payload)) + payload
    return record.replace(b"\x10", b"\x10A").replace(b"\xef", b"\x10B") + TRAILER


class Lanes:
    def __init__(self, where, listener, watch, handle, deflater):
        self.where = where
        self.deflater = deflater
        self.listener = listener
        # how the loop is told what to wait for, and who takes the records
        self.watch = watch
        self.handle = handle
        # the lane processes, by the descriptor of their socket, and by what their lane is for
        self.waiting = {}
        self.waiting_as = {"out": None, "in": None}
        self.out_fd = -1
        self.in_fd = -1
        # which of its in lanes this is, in the gateway's count: what is said of one must not be taken for another's
        self.in_lane = 0
        # which of its out lanes this is, in its own, and which of them ended without having been let go of, the last few:
        # nobody but the owner knows whether somebody else has ended a lane
        self.out_lane = -1
        self.lost = []
        # whether the in lane has ended in that way
        self.in_lost = 0
        # how far the gateway was when it asked for the out lane
        self.out_ack = 0
        # towards the gateway: the last number, what is not acknowledged yet, what the lane has still to take
        self.number = 0
        self.kept = []
        self.acked = 0
        self.queue = []
        # the same of state, which goes before all that, and what is left of a record that was begun
        self.urgent = []
        self.begun = b""
        # from the gateway: what came and is no whole record yet, the last number, and which of them was said last
        self.inbox = bytearray()
        # how much of that record is missing, and for how long it is left to come before that is looked at again
        self.missing = 0
        self.rest = 0
        self.received = 0
        self.said = 0
        # how many bytes of input the job has taken, and up to how many the gateway may send in all
        self.taken = 0
        self.granted = FIRST

    # --- attached and lost

    def add(self, role, sock, fd, ack):
        old = self.waiting_as[role]
        if old is not None and old is not sock:
            if role == "out" and self.is_killed(role):
                self.lost = self.lost[-7:] + [self.out_lane]
            self.drop(role)
        self.waiting_as[role] = sock
        self.waiting[sock.fileno()] = sock
        os.set_blocking(fd, False)
        if role == "out":
            self.out_fd = fd
            self.out_lane += 1
            self.out_ack = ack
            try:
                fcntl.fcntl(fd, F_SETPIPE_SZ, 1048576)
            except OSError:
                pass
            self.acknowledge(ack)
            # every byte value at its end shows the gateway that the lane carries them all
            hello = "v=1;h=python%d.%d;d=%s;u=%d;p=%d;n=%d;k=%s;z=%d" % (
                sys.version_info[0],
                sys.version_info[1],
                "".join("%%%02x" % byte for byte in os.fsencode(self.where)),
                os.getuid(),
                os.getpid(),
                self.out_lane,
                ",".join(map(str, self.lost)),
                self.deflater.works,
            )
            self.begun = b"PCR1\n" + encode(b"H", 0, hello.encode() + b";" + bytes(range(256)))
            self.urgent = []
            self.queue = [record for _, record in self.kept]
            if self.in_fd >= 0:
                self.say_ready()
            elif self.in_lane:
                self.say_in_gone()
        else:
            self.in_fd = fd
            self.in_lane = ack
            self.in_lost = 0
            # the rest of a record that the lane before cut short comes again as a whole
            self.inbox = bytearray()
            self.missing = 0
            if self.out_fd < 0:
                # lost when there was no other lane to say so
                self.say_out_lost()
            self.say_ready()
        self.flush()

    def say_ready(self):
        self.send_now(b"R", struct.pack(">II", self.received, self.in_lane))

    def drop(self, role, code=LET_GO):
        sock = self.waiting_as[role]
        fd = self.out_fd if role == "out" else self.in_fd
        # one lane may have both roles: then it is closed with the second
        if fd >= 0 and self.out_fd != self.in_fd:
            self.watch(fd, 0)
            os.close(fd)
        if role == "out":
            self.out_fd = -1
            self.queue = []
            self.urgent = []
            self.begun = b""
        else:
            self.in_fd = -1
        self.waiting_as[role] = None
        if sock is not None and sock not in self.waiting_as.values():
            self.watch(sock.fileno(), 0)
            self.waiting.pop(sock.fileno(), None)
            try:
                sock.send(b"%d\n" % code)
            except OSError:
                pass
            sock.close()

    def is_killed(self, role):
        try:
            return not self.waiting_as[role].recv(1, _socket.MSG_DONTWAIT)
        except OSError:
            return False

    def lose(self, role):
        # it broke: the gateway may not know yet, and hears of it by the other lane
        self.drop(role)
        if role == "in":
            self.in_lost = 1
            self.say_in_gone()
            return
        self.lost = self.lost[-7:] + [self.out_lane]
        if self.in_fd >= 0:
            self.say_out_lost()

    def let_go_of_in(self):
        # what came on it is not what was said: another brings it as it was
        self.drop("in")
        self.say_in_gone()

    def say_out_lost(self):
        try:
            os.write(self.in_fd, OUT_LOST)
        except OSError:
            pass

    def say_in_gone(self):
        self.send_now(b"L", struct.pack(">IB", self.in_lane, self.in_lost))

    def lose_of(self, sock):
        # a lane process has gone, and its lane with it
        for role in ("out", "in"):
            if self.waiting_as[role] is sock:
                self.lose(role)

    def accept(self):
        fd, _ = self.listener._accept()
        sock = _socket.socket(fileno=fd)
        uid = struct.unpack("3i", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))[1]
        # root can come in as well, and is not this user
        if uid != os.getuid():
            sock.close()
            return
        # what is to come has been sent already; a stranger to the protocol must not hold the loop up
        sock.settimeout(2)
        fds = []
        try:
            text, extra, _, _ = sock.recvmsg(64, _socket.CMSG_SPACE(4))
            for level, kind, data in extra:
                if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                    fds += [fd for (fd,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])]
            role, _, ack = text.decode().strip().partition(" ")
            ack = int(ack or 0)
        except (OSError, ValueError):
            role = ""
        if len(fds) != 1 or role not in ("out", "in", "both"):
            for fd in fds:
                os.close(fd)
            sock.close()
            return
        sock.settimeout(None)
        os.set_inheritable(fds[0], False)
        # one that was asked for before the one there is comes late, and nobody is at its other end
        if ack < (self.in_lane if role == "in" else self.out_ack):
            os.close(fds[0])
            sock.close()
            return
        if role == "both":
            self.add("out", sock, fds[0], ack)
            if self.out_fd < 0:
                return
            role, ack = "in", 0
        self.add(role, sock, fds[0], ack)

    # --- towards the gateway

    def send(self, kind, payload=b""):
        self.number += 1
        record = encode(kind, self.number, payload)
        self.kept.append((self.number, record))
        if self.out_fd >= 0:
            self.queue.append(record)

    def send_data(self, kind, payload):
        packed = self.deflater.deflate(payload)
        if packed is None:
            self.send(kind, payload)
        else:
            self.send(b"z", kind + struct.pack(">I", len(payload)) + packed)

    def send_now(self, kind, payload):
        # unnumbered: state that a later one replaces, of no use to a lane that is not there. It goes first: on a lane that
        # is in trouble what stands behind much data may never come
        if self.out_fd >= 0:
            self.urgent.append(encode(kind, 0, payload))

    def is_idle(self):
        # whether all there is to say is in the lane
        return not (self.begun or self.urgent or self.queue)

    def is_read(self):
        # whether the agent has taken nearly all of that: what it holds itself is a second's work for a lane that crawls
        try:
            left = fcntl.ioctl(self.out_fd, FIONREAD, bytes(4))
        except OSError:
            return True
        return struct.unpack("i", left)[0] < FEW

    def acknowledge(self, number):
        if number > self.acked:
            self.acked = number
            at = 0
            while at < len(self.kept) and self.kept[at][0] <= number:
                at += 1
            del self.kept[:at]

    def flush(self):
        while self.out_fd >= 0 and not self.is_idle():
            if not self.begun:
                self.begun = (self.urgent or self.queue).pop(0)
            try:
                done = os.write(self.out_fd, self.begun)
            except BlockingIOError:
                return
            except OSError:
                self.lose("out")
                return
            if done < len(self.begun):
                self.begun = memoryview(self.begun)[done:]
                return
            self.begun = b""

    def say_state(self, force=False):
        # not for every record: the gateway only needs to know before its window is used up
        grant = self.taken + WINDOW
        if force or self.received - self.said >= 64 or grant - self.granted >= WINDOW // 4:
            self.said = self.received
            self.granted = grant
            self.send_now(b"A", struct.pack(">IQ", self.received, grant))

    def fault(self, text):
        self.send(b"F", text.encode())
        self.drop("in")

    # --- from the gateway

    def read(self):
        # the agent writes a KiB at a time, and each would wake this up. While much of a record is missing nothing can be done
        # with what comes, so it is left to come; for as long as half fills the terminal, since the agent must not wait
        rests = self.missing > PIECE
        if rests:
            time.sleep(self.rest)
        inbox = self.inbox
        size = 0
        data = b""
        while not size or len(data) >= PIECE - 1 and size < self.missing:
            try:
                data = os.read(self.in_fd, PIECE)
            except BlockingIOError:
                break
            except OSError:
                # a terminal whose other end has gone gives an error, which is its end
                data = b""
            if not data:
                self.lose("in")
                return
            inbox += data
            size += len(data)
        if size >= 3 * PIECE:
            self.rest /= 2
        elif rests and size < min(2 * PIECE, self.missing):
            self.rest = min(self.rest + 0.0001, LONGEST_REST)
        self.missing -= size
        if self.missing > 0:
            return
        at = 0
        whole = HEAD.size + CHECK.size
        while len(inbox) - at >= whole:
            kind, number, length = HEAD.unpack_from(inbox, at)
            if length > LONGEST_PAYLOAD:
                self.let_go_of_in()
                return
            self.missing = at + whole + length - len(inbox)
            if self.missing > 0:
                break
            payload = bytes(inbox[at + whole : at + whole + length])
            check = binascii.crc32(payload, binascii.crc32(inbox[at : at + HEAD.size]))
            # what follows a piece that came twice is not where it should be
            if check != CHECK.unpack_from(inbox, at + HEAD.size)[0]:
                self.let_go_of_in()
                return
            at += whole + length
            if number:
                # what a new in lane brings again has been dealt with
                if number <= self.received:
                    continue
                if number != self.received + 1:
                    self.let_go_of_in()
                    return
                self.received = number
            self.handle(bytes([kind]), payload)
            if self.in_fd < 0:
                return
        del inbox[:at]
        self.say_state()
