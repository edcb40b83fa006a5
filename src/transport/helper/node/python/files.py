# The job of a file service: requests on its input, answers on its standard output, in the order of the requests.
#
#   request:  length u32, id u32, operation u8, arguments      answer:  length u32, id u32, errno u32, result
import errno
import os
import pwd
import struct

from job import Job
from operations import OPERATIONS, Operations, arguments

# how many bytes of answers may wait before requests do
MOST_HELD = 1048576
# so many requests are answered before the lanes have their turn
AT_ONCE = 16


class Files(Job):
    streams = b"o"
    # a disk may be as slow as the gateway is patient
    longest_end = 70

    def __init__(self, owner, opts):
        Job.__init__(self, owner, opts)
        self.operations = Operations()
        # requests that are not answered yet, and answers that are not sent yet
        self.inbox = bytearray()
        self.answers = []
        self.held = 0

    def begin(self, text):
        import resource

        # each open file is a descriptor, and nothing is started that would inherit them
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        # relative paths start at the user's home
        try:
            os.chdir(pwd.getpwuid(os.getuid()).pw_dir)
        except (OSError, KeyError):
            os.chdir("/")

    def take_input(self, payload):
        # taken only when it is answered, so that the gateway's window bounds what waits here
        self.inbox += payload

    def end_input(self):
        self.input_ended = True
        self.finish()

    def has_request(self):
        return len(self.inbox) >= 4 and len(self.inbox) - 4 >= struct.unpack_from(">I", self.inbox)[0]

    def has_work(self):
        return (self.held and self.owner.may_send()) or (self.held < MOST_HELD and self.has_request())

    def work(self):
        for _ in range(AT_ONCE):
            if not (self.held < MOST_HELD and self.has_request()):
                break
            length, number, code = struct.unpack_from(">IIB", self.inbox)
            body = bytes(self.inbox[9 : 4 + length])
            del self.inbox[: 4 + length]
            self.owner.took(4 + length)
            self.answer(number, code, body)
        self.owner.lanes.say_state()
        self.send()
        if self.input_ended:
            self.finish()

    def answer(self, number, code, body):
        status = 0
        try:
            name, kinds = OPERATIONS[code]
            result = getattr(self.operations, name)(*arguments(kinds, body)) or b""
        except OSError as error:
            status = error.errno or errno.EIO
            result = os.strerror(status).encode()
        except (AttributeError, KeyError, ValueError, IndexError, struct.error, OverflowError):
            status = errno.EINVAL
            result = b"the file operation is malformed, or names a handle that is not open"
        # cut without being copied
        self.answers.append(memoryview(struct.pack(">III", len(result) + 8, number, status) + result))
        self.held += len(result) + 12

    def send(self):
        # several short answers go in one record, a long one in several
        while self.answers and self.owner.may_send():
            room = self.owner.room()
            parts = []
            size = 0
            while self.answers and size < room:
                part = self.answers[0][: room - size]
                if len(part) == len(self.answers[0]):
                    del self.answers[0]
                else:
                    self.answers[0] = self.answers[0][len(part) :]
                parts.append(part)
                size += len(part)
            self.held -= size
            self.owner.data(b"o", b"".join(parts))
            self.owner.lanes.flush()

    def finish(self):
        if self.owner.open[b"o"] and not self.has_request() and not self.held:
            self.owner.end(b"o")
            self.owner.exit(False, 0, False)
