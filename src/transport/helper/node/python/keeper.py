# Whoever keeps a job: what it waits for, what it is told and says, and the end of what it runs.
#
#   running ──▶ hung up ──▶ HUP ─▶ TERM ─▶ KILL ──▶ gone
import _signal
import os
import select
import struct
import time

from proc import signal_each

# how many seconds lie between HUP, TERM and KILL
GRACE = 4
# how far a hang-up has come; after KILL there is one more GRACE, in which what was killed may go
RUNNING, HUP, TERM, KILL = range(4)


class Keeper:
    def __init__(self):
        self.poll = select.poll()
        # what it was told to wait for
        self.told = {}
        self.job = None
        self.count = {b"o": 0, b"e": 0}
        self.open = {}
        self.stage = RUNNING
        self.since = 0
        # whether all is said
        self.done = False
        # signals arrive as bytes in a pipe, which poll() can wait for
        self.signals, wake = os.pipe()
        for fd in (self.signals, wake):
            os.set_blocking(fd, False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(wake)
        for number in (_signal.SIGHUP, _signal.SIGPIPE, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_IGN)
        # nor does whoever started the agent hold any back
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

    def take_on(self, job):
        self.job = job
        for kind in (b"o", b"e"):
            self.open[kind] = kind in job.streams

    # --- what the job is given

    def data(self, kind, payload):
        self.count[kind] += len(payload)
        self.lanes.send_data(kind, payload)

    def end(self, kind):
        # the total tells the gateway whether all of it has arrived
        self.open[kind] = False
        self.send(kind.upper(), struct.pack(">Q", self.count[kind]))

    def exit(self, signalled, status, core_dumped):
        self.send(b"X", struct.pack(">BIB", signalled, status, core_dumped))

    def watch(self, fd, events):
        # asks poll(2) for these events from now on; the same again costs nothing
        if self.told.get(fd, 0) != events:
            if events:
                self.poll.register(fd, events)
                self.told[fd] = events
            else:
                self.poll.unregister(fd)
                del self.told[fd]

    # --- what the gateway says

    def tell(self, kind, payload):
        job = self.job
        if kind == b"i":
            job.take_input(payload)
        elif kind == b"I":
            job.end_input()
        elif kind == b"W":
            job.resize(struct.unpack(">HHHH", payload))
        elif kind == b"K":
            job.signal(payload.decode())
        elif kind == b"C":
            job.close_stdout()
        elif kind == b"v":
            job.take_variables(payload)

    # --- the end

    def reap(self):
        try:
            os.read(self.signals, 512)
        except BlockingIOError:
            pass
        self.job.reap()

    def end_if_over(self):
        if not (self.done or self.open[b"o"] or self.open[b"e"]) and self.job.is_over():
            self.send(b"Q")
            self.done = True

    def hang_up(self):
        if self.stage == RUNNING:
            self.stage = HUP
            self.since = time.monotonic()
            self.job.hang_up()

    def escalate(self, now):
        # what was detached on purpose ignores SIGHUP and is spared: the job does not count it among those that are left
        left = self.job.left()
        if not left or self.stage > KILL:
            self.leave(129)
        if now >= self.since + GRACE:
            self.stage += 1
            self.since = now
            signal_each(left, _signal.SIGTERM if self.stage == TERM else _signal.SIGKILL)
