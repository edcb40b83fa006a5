# The job of a relay: the gateway opens connections through this node, many at once, runs commands, and looks up names.
#
#   kind u8, stream u32, length u32, payload; the gateway numbers the streams, and none twice
#
#   from it: O open     D data  F end  X reset  C close  W window  B blocked  R look up
#   to it:   O opened   D data  F end  X reset           W window  B blocked  A found   N not opened, not found   V version
#
# Sockets wait in an epoll of their own, which tells of each change once: one that may be read is in the queue until it has
# nothing more, and each in turn fills a piece of a record. A stream sends only what the gateway has allowed it, so that a slow
# reader there stops its own stream and no other.
import _socket
import errno
import os
import pwd
import select
import struct
import time
from _collections import deque

from job import Job
from lookup import LookUps
from relayed import BUSY, FIRST_WINDOW, OTHER, REASONS, TIMED_OUT, Relayed
from rider import ride

FRAME = struct.Struct(">BII")
VERSION = 1
MOST_STREAMS = 512
# by how much all windows together may be wider than they begin: what may wait here for slow readers
WINDOW_POOL = 16777216
# how many seconds a connection may take, and how soon one is tried again whose other end has no room for it
CONNECT_TIME = 10
AGAIN = 0.05
# so many records are filled before the lanes have their turn, and the least of a stream in each
RECORDS = 4
LEAST_PIECE = 8192
# what any frame but one of data fits in
LEAST_ROOM = 2048


class Relay(Job):
    streams = b"o"

    def __init__(self, owner, opts):
        Job.__init__(self, owner, opts)
        self.poll = select.epoll()
        self.lookups = LookUps()
        self.table = {}
        self.by_fd = {}
        # what has come of a frame that is not whole
        self.inbox = b""
        # frames to be sent before any data, and the streams that may have some, in their turn
        self.urgent = deque()
        self.ready = deque()
        self.pool = WINDOW_POOL
        # those that are not connected yet, and of them those that must be tried again
        self.connecting = set()
        self.again = set()

    def begin(self, text):
        import resource

        # each connection is a descriptor; what is started inherits neither them nor this
        self.usual_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = self.usual_limit[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        # relative paths of sockets start at the user's home
        try:
            os.chdir(pwd.getpwuid(os.getuid()).pw_dir)
        except (OSError, KeyError):
            os.chdir("/")
        self.poll.register(self.lookups.wake, select.EPOLLIN)
        self.say(b"V", 0, bytes([VERSION]))

    def say(self, kind, number, payload=b""):
        self.urgent.append(FRAME.pack(kind[0], number, len(payload)) + payload)

    # --- from the gateway

    def take_input(self, payload):
        # taken at once: each stream has a window of its own
        self.owner.took(len(payload))
        if self.inbox:
            payload = self.inbox + payload
            self.inbox = b""
        view = memoryview(payload)
        at = 0
        while len(payload) - at >= FRAME.size:
            kind, number, length = FRAME.unpack_from(payload, at)
            end = at + FRAME.size + length
            if end > len(payload):
                break
            self.handle(kind, number, view[at + FRAME.size : end], length * 2 >= len(payload))
            at = end
        if at < len(payload):
            self.inbox = payload[at:]

    def handle(self, kind, number, body, is_most):
        stream = self.table.get(number)
        if kind == 79:  # O
            self.open(number, bytes(body))
        elif kind == 82:  # R
            self.lookups.ask(number, bytes(body))
        elif stream is None:
            # it is gone, and the gateway did not know yet
            pass
        elif kind == 88:  # X
            stream.reset()
            self.forget(stream)
        elif stream.deadline is not None:
            # before it is there it can only be over: then nothing is read or written
            stream.read_over = stream.read_over or kind == 67
            stream.ended = stream.ended or kind == 70
        elif kind == 68:  # D
            stream.take(body, is_most)
            self.after_writing(stream)
        elif kind == 70:  # F
            stream.ended = True
            self.after_writing(stream)
        elif kind == 67:  # C
            stream.read_over = True
            stream.readable = False
            self.after_writing(stream)
        elif kind == 87:  # W
            stream.credit = max(stream.credit, struct.unpack(">Q", body)[0])
            stream.is_blocked = False
            self.enqueue(stream)
        elif kind == 66:  # B
            self.pool -= stream.widen(self.pool)
            self.grant(stream)

    def end_input(self):
        self.input_ended = True

    # --- connections

    def open(self, number, body):
        credit = struct.unpack_from(">I", body)[0]
        stream = Relayed(number, credit)
        if len(self.table) >= MOST_STREAMS:
            self.refuse(number, BUSY)
            return
        try:
            if body[4:] == b"x":
                error = stream.join(self.start_command())
            else:
                error = stream.connect(body[4:], time.monotonic() + CONNECT_TIME)
        except (OSError, ValueError, struct.error) as why:
            if stream.sock is not None:
                stream.sock.close()
            self.refuse(number, REASONS.get(getattr(why, "errno", None), OTHER), str(why))
            return
        self.table[number] = stream
        self.by_fd[stream.fd] = stream
        self.connecting.add(stream)
        if error == errno.EAGAIN:
            # the queue of a unix socket is full, and nothing tells of room in it
            self.again.add(stream)
            self.next_at = 0
        self.next_at = min(self.next_at, stream.deadline)
        self.poll.register(stream.fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
        if error not in (errno.EINPROGRESS, errno.EAGAIN):
            self.connected(stream, error)

    def start_command(self):
        near, far = _socket.socketpair()
        if os.fork() == 0:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self.usual_limit)
            ride(far)
        return near

    def refuse(self, number, reason, words=""):
        self.say(b"N", number, bytes([reason]) + words[:200].encode("utf-8", "replace"))

    def fail(self, stream, error):
        self.refuse(stream.number, REASONS.get(error, OTHER), os.strerror(error))
        stream.close()
        self.forget(stream)

    def connected(self, stream, error=0):
        error = error or stream.connected()
        if error == errno.EINPROGRESS:
            return
        if error:
            self.fail(stream, error)
            return
        self.connecting.discard(stream)
        self.again.discard(stream)
        self.say(b"O", stream.number, struct.pack(">Q", FIRST_WINDOW))
        stream.readable = not stream.read_over
        self.enqueue(stream)
        self.after_writing(stream)

    def look_at_time(self):
        now = time.monotonic()
        for stream in list(self.again):
            error = stream.try_to_connect()
            if error not in (errno.EAGAIN, errno.EALREADY):
                self.again.discard(stream)
                if error != errno.EINPROGRESS:
                    self.connected(stream, 0 if error == errno.EISCONN else error)
        for stream in list(self.connecting):
            if now >= stream.deadline:
                self.refuse(stream.number, TIMED_OUT)
                stream.close()
                self.forget(stream)
        if self.again:
            self.next_at = now + AGAIN
        else:
            self.next_at = min([stream.deadline for stream in self.connecting], default=float("inf"))

    def forget(self, stream):
        # its socket is closed, and the epoll has let go of it by that
        self.table.pop(stream.number, None)
        self.by_fd.pop(stream.fd, None)
        self.connecting.discard(stream)
        self.again.discard(stream)
        self.pool += stream.window - FIRST_WINDOW
        stream.readable = False

    # --- the loop

    def interests(self, may_send):
        self.owner.watch(self.poll.fileno(), select.POLLIN)

    def has_work(self):
        return bool(self.urgent or self.ready) and self.may_fill()

    def may_fill(self):
        return self.owner.may_send() and self.owner.room() >= LEAST_ROOM

    def event(self, fd, event):
        for at, mask in self.poll.poll(0):
            if at == self.lookups.wake:
                for kind, number, payload in self.lookups.answers():
                    self.say(kind, number, payload)
                continue
            stream = self.by_fd.get(at)
            if stream is None:
                continue
            if stream.deadline is not None:
                if stream not in self.again:
                    self.connected(stream)
                continue
            if mask & ~(select.EPOLLIN | select.EPOLLOUT):
                stream.closing = True
            if mask & ~select.EPOLLOUT and not stream.read_over:
                stream.readable = True
                self.enqueue(stream)
            if mask & select.EPOLLOUT and stream.pending:
                stream.pour()
                self.after_writing(stream)

    def work(self):
        if time.monotonic() >= self.next_at:
            self.look_at_time()
        for _ in range(RECORDS):
            if not self.may_fill() or not self.fill():
                break
            self.owner.lanes.flush()
        if self.input_ended and self.owner.open[b"o"] and not (self.table or self.urgent) and self.lookups.is_idle():
            self.owner.end(b"o")
            self.owner.exit(False, 0, False)

    def fill(self):
        # one record, of whole frames
        room = self.owner.room()
        parts = []
        least = max(LEAST_PIECE, room // (len(self.ready) + 1))
        while room >= LEAST_ROOM:
            if self.urgent:
                parts.append(self.urgent.popleft())
                room -= len(parts[-1])
                continue
            if not self.ready:
                break
            stream = self.ready.popleft()
            stream.queued = False
            size = min(stream.credit - stream.sent, least if self.ready else room, room - FRAME.size)
            data = self.read(stream, size)
            if data:
                parts.append(FRAME.pack(68, stream.number, len(data)))
                parts.append(data)
                room -= FRAME.size + len(data)
        if parts:
            self.owner.data(b"o", b"".join(parts))
        return bool(parts)

    def enqueue(self, stream):
        if stream.readable and not stream.queued:
            if stream.sent < stream.credit:
                stream.queued = True
                self.ready.append(stream)
            elif not stream.is_blocked:
                stream.is_blocked = True
                self.say(b"B", stream.number)

    def read(self, stream, size):
        if not stream.readable or size <= 0:
            self.enqueue(stream)
            return b""
        try:
            data = stream.sock.recv(size)
        except BlockingIOError:
            stream.readable = False
            return b""
        except OSError:
            stream.reset()
            self.forget(stream)
            self.say(b"X", stream.number)
            return b""
        if data:
            stream.sent += len(data)
            # less than was asked for is all there is, unless its end is there already
            if len(data) < size and not stream.closing:
                stream.readable = False
            self.enqueue(stream)
        elif stream.broken:
            # what looks like an end is what a reset has left
            stream.reset()
            self.forget(stream)
            self.say(b"X", stream.number)
        else:
            stream.readable = False
            stream.read_over = True
            self.say(b"F", stream.number)
            self.end_if_over(stream)
        return data

    def after_writing(self, stream):
        stream.end_writing()
        if stream.broken and stream.read_over:
            stream.reset()
            self.forget(stream)
            self.say(b"X", stream.number)
            return
        self.grant(stream)
        self.end_if_over(stream)

    def grant(self, stream):
        if not stream.ended:
            total = stream.grant()
            if total is not None:
                self.say(b"W", stream.number, struct.pack(">Q", total))

    def end_if_over(self, stream):
        if stream.read_over and stream.write_over:
            stream.close()
            self.forget(stream)

    # --- the end

    def reap(self):
        # whoever has carried a command
        try:
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        except ChildProcessError:
            pass

    def hang_up(self):
        for stream in list(self.table.values()):
            stream.reset()
        self.table.clear()

    def abandon(self):
        self.hang_up()
