# The job of a shell or a command line: its input goes into the process, what it says goes to the gateway.
import _signal
import os
import select

from job import Job
from proc import signal_each
from process import Process, set_size


class Command(Job):
    def __init__(self, owner, opts):
        Job.__init__(self, owner, opts)
        # a terminal has one stream
        self.streams = b"o" if "t" in opts else b"oe"
        # not there yet while a long command line or variables are still on their way
        self.process = None
        # the SHA-256 of such a line, and what has come of it
        self.announced = None
        self.line = bytearray()
        # what is to be run, once it is known: no line is a login shell
        self.known = False
        self.variables = None if "ew" in opts else b""
        # input that the process has not taken
        self.waiting = []

    def begin(self, text):
        if text.startswith("sha256:"):
            self.announced = text[7:]
        elif text == "shell:":
            self.know(None)
        elif text.startswith("base64:"):
            import binascii

            self.know(binascii.a2b_base64(text[7:]))
        else:
            self.know(os.fsencode(text))

    def take_line(self, part):
        if self.announced is None:
            return
        self.line += part
        if not part:
            import hashlib

            # nothing but what the gateway has decided about is run
            if hashlib.sha256(self.line).hexdigest() != self.announced:
                self.owner.fault("the command that came over the lane is not the one that was announced")
                return
            self.announced = None
            self.know(bytes(self.line))

    def take_variables(self, text):
        self.variables = text
        self.start()

    def know(self, line):
        self.line = line
        self.known = True
        self.start()

    def start(self):
        if self.known and self.variables is not None and self.process is None:
            self.process = Process(self.opts, self.line, self.variables)
            self.feed()

    # --- input

    def take_input(self, payload):
        if self.process is None or self.process.stdin >= 0:
            self.waiting.append(payload)
            self.feed()
        else:
            self.owner.took(len(payload))

    def end_input(self):
        self.input_ended = True
        self.feed()

    def feed(self):
        process = self.process
        if process is None:
            return
        while self.waiting and process.stdin >= 0:
            try:
                done = os.write(process.stdin, self.waiting[0])
            except BlockingIOError:
                return
            except OSError:
                # nobody reads any more: what comes is taken and thrown away, so that the lane goes on
                self.owner.took(sum(len(part) for part in self.waiting))
                self.waiting = []
                self.close_stdin()
                break
            self.owner.took(done)
            if done < len(self.waiting[0]):
                self.waiting[0] = self.waiting[0][done:]
                return
            del self.waiting[0]
        # a terminal has no end of input: whoever types says so by a character
        if self.input_ended and not self.waiting and not process.terminal:
            self.close_stdin()

    def close_stdin(self):
        process = self.process
        if process.stdin >= 0:
            # a terminal is open as long as its output is
            if process.stdin != process.stdout:
                self.owner.watch(process.stdin, 0)
                os.close(process.stdin)
            process.stdin = -1

    def resize(self, size):
        process = self.process
        if process is not None and process.terminal and process.stdout >= 0:
            set_size(process.stdout, *size)

    def signal(self, name):
        process = self.process
        if process is None or process.exited is not None:
            return
        number = getattr(_signal, "SIG" + name, None) if name.isalnum() else None
        if number is not None:
            signal_each((-process.foreground(),), number)

    # --- output

    def close_stdout(self):
        # as sshd: a terminal is not closed, its program hears nothing of it
        if self.process is not None and not self.process.terminal:
            self.close_output(b"o")

    def interests(self, may_send):
        process = self.process
        if process is None:
            return
        watch = self.owner.watch
        readable = select.POLLIN if may_send else 0
        writable = select.POLLOUT if self.waiting else 0
        if process.terminal:
            if process.stdout >= 0:
                watch(process.stdout, readable | writable)
            return
        if process.stdout >= 0:
            watch(process.stdout, readable)
        if process.stderr >= 0:
            watch(process.stderr, readable)
        if process.stdin >= 0:
            watch(process.stdin, writable)

    def event(self, fd, event):
        process = self.process
        if process is None:
            return
        if fd == process.stdin and event & (select.POLLOUT | select.POLLERR):
            self.feed()
            self.owner.lanes.say_state()
        if fd == process.stdout and event & (select.POLLIN | select.POLLHUP):
            self.read_output(b"o", fd)
            self.owner.lanes.flush()
        elif fd == process.stderr and event & (select.POLLIN | select.POLLHUP):
            self.read_output(b"e", fd)
            self.owner.lanes.flush()

    def read_output(self, kind, fd):
        room = self.owner.room()
        if room <= 0:
            return
        try:
            payload = os.read(fd, room)
        except BlockingIOError:
            return
        except OSError:
            # a terminal that nobody has open any more
            payload = b""
        if payload:
            self.owner.data(kind, payload)
        else:
            self.close_output(kind)

    def close_output(self, kind):
        if not self.owner.open[kind]:
            return
        self.owner.end(kind)
        process = self.process
        fd = process.stdout if kind == b"o" else process.stderr
        if fd >= 0:
            self.owner.watch(fd, 0)
            os.close(fd)
        if kind == b"o":
            if process.stdin == fd:
                process.stdin = -1
            process.stdout = -1
        else:
            process.stderr = -1

    def work(self):
        process = self.process
        if process is None or not process.terminal or process.exited is None:
            return
        # as sshd: what the terminal still holds is sent, who else has it open is not waited for
        while process.stdout >= 0 and self.owner.room() > 0:
            try:
                payload = os.read(process.stdout, self.owner.room())
            except OSError:
                payload = b""
            if not payload:
                self.close_output(b"o")
                return
            self.owner.data(b"o", payload)

    # --- the end

    def reap(self):
        status = self.process.reap() if self.process is not None else None
        if status is not None:
            signalled = status.si_code != os.CLD_EXITED
            self.owner.exit(signalled, status.si_status, signalled and status.si_code == os.CLD_DUMPED)

    def is_over(self):
        return self.process is not None and self.process.exited is not None

    def hang_up(self):
        if self.process is None:
            return
        self.close_stdin()
        for kind in (b"o", b"e"):
            self.close_output(kind)
        if self.process.exited is None:
            # what is stopped must run to hear of it
            for number in (_signal.SIGHUP, _signal.SIGCONT):
                signal_each(self.left(), number)

    def left(self):
        return self.process.members() if self.process is not None else []

    def abandon(self):
        if self.process is not None and self.process.exited is None:
            signal_each((-self.process.pid,), _signal.SIGHUP)
