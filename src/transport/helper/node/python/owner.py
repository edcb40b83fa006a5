# The owner of one job: the lanes, the lease, the output's credit, and the end.
#
#   running ──▶ all is said ─────────────────────────────────▶ gone, once the gateway has it all
#      └──▶ hung up (lease over, gateway's word) ──▶ keeper.py ──▶ gone
import _signal
import _socket
import fcntl
import os
import select
import struct
import sys
import time

from common import raw, wait_and_leave
from deflate import Deflater, inflate
from keeper import RUNNING, Keeper
from lane import Lanes
from settle import remove_tree, settle

# the longest payload that is sent; two of them and what they are escaped to fit the gateway's window many times
CHUNK = 49152
# so many records may wait for a lane before the job's output is no longer read
QUEUE = 16
# how many seconds the gateway has to acknowledge the end if no lane is left by which it could
LINGER = 8


class Owner(Keeper):
    def __init__(self, opts, where, listener, job):
        Keeper.__init__(self)
        self.where = where
        self.lanes = Lanes(where, listener, self.watch, self.handle, Deflater("z" in opts))
        # how much output the gateway has allowed in all
        self.credit = int(opts.get("c", "0"))
        self.send = self.lanes.send
        self.fault = self.lanes.fault
        self.take_on(job(self, opts))
        # the lease: until when the job may live on without a word from the gateway, whether it has lanes or not
        self.deadline = 0
        self.live_for(int(opts.get("l", "40")))
        # since all is said and all of it has gone until when its acknowledgement is waited for
        self.linger_until = None
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)

    # --- what the job is given

    def took(self, size):
        self.lanes.taken += size

    def room(self):
        # how much may be sent at once
        return min(CHUNK, self.credit - sum(self.count.values()))

    def may_send(self):
        return self.room() > 0 and len(self.lanes.queue) < QUEUE

    # --- what the gateway says

    def handle(self, kind, payload):
        if kind == b"S":
            ack, credit, lease, stamp = struct.unpack(">IQII", payload)
            self.lanes.acknowledge(ack)
            self.credit = max(self.credit, credit)
            self.live_for(lease)
            self.lanes.say_state(True)
            self.lanes.send_now(b"P", struct.pack(">II", stamp, self.lanes.received))
        elif kind == b"z":
            self.job.take_input(inflate(payload))
        elif kind == b"B":
            self.hang_up()
        elif kind == b"c":
            self.job.take_line(payload)
        else:
            self.tell(kind, payload)

    # --- the end

    def live_for(self, lease):
        self.deadline = time.monotonic() + lease
        # whatever call to the system the job is in by then: its own time is over, and the signal ends what waits
        _signal.alarm(lease + self.job.longest_end)

    def finish(self, now):
        # all is said: once the gateway has it all, or can no longer ask for it, leave. Without a way for it to say so it
        # gets a moment, from when the last of it has gone; a slow reader has as long as the lease
        lanes = self.lanes
        if not self.is_released():
            self.linger_until = None
        elif self.linger_until is None:
            self.linger_until = now + LINGER
        if not lanes.kept or now >= (self.linger_until or self.deadline):
            self.leave(0)

    def is_released(self):
        # whether no lane is there for an acknowledgement to come by
        return self.lanes.out_fd < 0 and self.lanes.in_fd < 0

    def release_out(self):
        # no way for an acknowledgement to come: let the lane end, and stay a little in case it was lost. An agent that loses
        # what it has read gives up after seconds, so that moment must not begin before it has
        lanes = self.lanes
        if lanes.is_idle() and lanes.out_fd >= 0 and lanes.is_read():
            lanes.drop("out", 0)

    def leave(self, code):
        for role in ("in", "out"):
            self.lanes.drop(role, code)
        os.chdir("/")
        remove_tree(self.where)
        os._exit(0)

    # --- the loop

    def run(self):
        woke = time.monotonic()
        while True:
            now = time.monotonic()
            if now - woke > 1:
                # a slow disk held us up: the gateway may have spoken meanwhile
                self.deadline += now - woke
            if self.stage != RUNNING:
                self.escalate(now)
            elif self.done:
                self.finish(now)
            elif now >= self.deadline:
                self.hang_up()
                continue
            self.interests()
            events = self.poll.poll(0 if self.job.has_work() else self.timeout(now))
            woke = time.monotonic()
            for fd, event in events:
                self.event(fd, event)
            self.job.work()
            self.end_if_over()
            self.lanes.flush()
            if self.done and self.lanes.in_fd < 0:
                self.release_out()

    def interests(self):
        watch = self.watch
        lanes = self.lanes
        watch(self.signals, select.POLLIN)
        watch(lanes.listener.fileno(), select.POLLIN)
        for fd in lanes.waiting:
            watch(fd, select.POLLIN)
        if lanes.out_fd >= 0 and lanes.out_fd == lanes.in_fd:
            watch(lanes.out_fd, select.POLLIN | (0 if lanes.is_idle() else select.POLLOUT))
        else:
            if lanes.out_fd >= 0:
                # with nothing to send, its end must still be noticed
                watch(lanes.out_fd, select.POLLERR if lanes.is_idle() else select.POLLOUT)
            if lanes.in_fd >= 0:
                watch(lanes.in_fd, select.POLLIN)
        self.job.interests(self.may_send())

    def timeout(self, now):
        if self.stage != RUNNING:
            return 100
        lanes = self.lanes
        until = min(self.deadline, self.job.next_at)
        if self.done and lanes.in_fd < 0:
            if lanes.out_fd >= 0 and lanes.is_idle():
                return 20
            until = self.linger_until or until
        return max(0, int((until - now) * 1000) + 1)

    def event(self, fd, event):
        lanes = self.lanes
        if fd == self.signals:
            self.reap()
        elif fd == lanes.listener.fileno():
            lanes.accept()
        elif fd in lanes.waiting:
            # a lane process says nothing: it has gone
            lanes.lose_of(lanes.waiting[fd])
        elif fd == lanes.in_fd and event & (select.POLLIN | select.POLLHUP | select.POLLERR):
            lanes.read()
        elif fd == lanes.out_fd:
            if event & select.POLLOUT:
                lanes.flush()
            elif event & (select.POLLERR | select.POLLHUP):
                lanes.lose("out")
        else:
            self.job.event(fd, event)


def own(opts, null, job):
    where, listener = settle(opts["d"])
    one_lane = opts["r"] == "both"
    if one_lane:
        raw(0)
    lane, ours = _socket.socketpair()
    if os.fork() > 0:
        ours.close()
        listener.close()
        wait_and_leave(lane)
    lane.close()
    os.setsid()
    # out of the way of the descriptors that a command is given
    out_fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 20)
    for fd in (0, 1, 2):
        os.dup2(null, fd, inheritable=True)
    os.close(null)
    owner = Owner(opts, where, listener, job)
    owner.lanes.add("out", ours, out_fd, 0)
    if one_lane and owner.lanes.out_fd >= 0:
        owner.lanes.add("in", ours, out_fd, 0)
    if owner.lanes.out_fd < 0:
        # the gateway has gone already, perhaps to run this another way
        owner.leave(75)
    try:
        owner.job.begin(sys.argv[2])
        owner.run()
    except BaseException as error:
        owner.job.abandon()
        owner.lanes.send(b"F", ("the helper failed: %s: %s" % (type(error).__name__, error)).encode())
        owner.lanes.flush()
        owner.leave(70)
