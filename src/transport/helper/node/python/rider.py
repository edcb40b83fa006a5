# A command among others that one relay carries: a process of its own, forked from the relay's, which keeps that command as an
# owner does. Its lane is a socket to the relay, for which that is one more stream.
#
#   kind u8, length u32, payload
#
#   from the gateway: P options, first of all    c the command line    i I W K C v   as over lanes
#   to it:            o e O E X F Q A            as over lanes
#
# Input comes only as far as it was allowed, so that nothing that is said beside it ever waits behind it.
import os
import select
import struct
import time

from command import Command
from common import options
from keeper import RUNNING, Keeper

RIDE = struct.Struct(">BI")
# how much output waits here at most, and how much input beyond what the command has taken
MOST_OUTPUT = 65536
MOST_INPUT = 524288


class Rider(Keeper):
    def __init__(self, sock):
        Keeper.__init__(self)
        self.sock = sock
        # it is its own lane
        self.lanes = self
        self.gone = False
        # what has come of a record that is not whole, and what waits to be sent
        self.inbox = bytearray()
        self.outbox = bytearray()
        # how much input was taken in all, and how much the gateway may send
        self.taken = 0
        self.granted = MOST_INPUT

    # --- what the job is given

    def send(self, kind, payload=b""):
        if not self.gone:
            self.outbox += RIDE.pack(kind[0], len(payload))
            self.outbox += payload

    send_data = send

    def took(self, size):
        self.taken += size
        if self.taken + MOST_INPUT - self.granted >= MOST_INPUT // 2:
            self.granted = self.taken + MOST_INPUT
            self.send(b"A", struct.pack(">IQ", 0, self.granted))

    def say_state(self):
        self.flush()

    def fault(self, text):
        self.send(b"F", text.encode())

    def room(self):
        return MOST_OUTPUT - len(self.outbox)

    def may_send(self):
        return not self.gone and self.room() > 0

    def flush(self):
        while self.outbox:
            try:
                done = self.sock.send(self.outbox)
            except BlockingIOError:
                return
            except OSError:
                self.lose()
                return
            del self.outbox[:done]

    # --- what the gateway says

    def read(self):
        try:
            piece = self.sock.recv(MOST_OUTPUT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.lose()
            return
        self.inbox += piece
        at = 0
        while len(self.inbox) - at >= RIDE.size:
            kind, length = RIDE.unpack_from(self.inbox, at)
            end = at + RIDE.size + length
            if end > len(self.inbox):
                break
            self.handle(bytes([kind]), bytes(self.inbox[at + RIDE.size : end]))
            at = end
        del self.inbox[:at]

    def handle(self, kind, payload):
        if kind == b"P":
            self.take_on(Command(self, options(payload.decode())))
        elif kind == b"c":
            self.job.know(payload)
        else:
            self.tell(kind, payload)

    # --- the end

    def lose(self):
        # nobody is there any more who would hear how it goes on
        self.gone = True
        self.watch(self.sock.fileno(), 0)
        self.outbox.clear()
        if self.job is None or self.done:
            self.leave(0)
        self.hang_up()

    def leave(self, code):
        os._exit(code)

    # --- the loop

    def run(self):
        while True:
            if self.stage != RUNNING:
                self.escalate(time.monotonic())
            elif self.done and not self.outbox:
                self.leave(0)
            self.interests()
            for fd, event in self.poll.poll(None if self.stage == RUNNING else 100):
                self.event(fd, event)
            if self.job is not None:
                self.job.work()
                self.end_if_over()
            self.flush()

    def interests(self):
        self.watch(self.signals, select.POLLIN)
        if not self.gone:
            self.watch(self.sock.fileno(), select.POLLIN | (select.POLLOUT if self.outbox else 0))
        if self.job is not None:
            self.job.interests(self.may_send())

    def event(self, fd, event):
        if fd == self.signals:
            self.reap()
        elif fd == self.sock.fileno():
            if event & ~select.POLLOUT and not self.gone:
                self.read()
        elif self.job is not None:
            self.job.event(fd, event)


def ride(sock):
    # in the process that the relay has forked; nothing comes back from here. What else the relay has open is not this one's
    rider = None
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != sock.fileno():
                try:
                    os.close(int(name))
                except OSError:
                    # the listing's own
                    pass
        sock.setblocking(False)
        rider = Rider(sock)
        rider.run()
    except BaseException as error:
        if rider is not None:
            if rider.job is not None:
                rider.job.abandon()
            rider.fault("the helper failed: %s: %s" % (type(error).__name__, error))
            rider.flush()
    os._exit(70)
