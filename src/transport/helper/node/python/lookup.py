# Names for a relay, looked up in threads since a resolver may take long: so many at once and no more.
import _socket
import _thread
import os
from _collections import deque

from relayed import BUSY, NO_NAME, OTHER

# so many look-ups run at once, and so many wait
AT_ONCE = 16
MOST_WAITING = 64
# so many addresses of one name are told of
MOST_ADDRESSES = 64


def packed(found):
    # each address once, in the resolver's order
    addresses = []
    for family, _, _, _, where in found:
        if family == _socket.AF_INET:
            address = b"4" + _socket.inet_pton(family, where[0])
        elif family == _socket.AF_INET6:
            # without the name of an interface
            address = b"6" + _socket.inet_pton(family, where[0].partition("%")[0])
        else:
            continue
        if address not in addresses:
            addresses.append(address)
    return b"".join(addresses[:MOST_ADDRESSES])


class LookUps:
    def __init__(self):
        # answers arrive as bytes in a pipe, which poll() can wait for
        self.wake, self.waker = os.pipe()
        for fd in (self.wake, self.waker):
            os.set_blocking(fd, False)
        self.waiting = deque()
        self.running = 0
        self.found = deque()

    def ask(self, number, name):
        if len(self.waiting) >= MOST_WAITING:
            self.found.append((b"N", number, bytes([BUSY])))
            self.running += 1
            self.tell()
            return
        self.waiting.append((number, name))
        self.start()

    def start(self):
        while self.waiting and self.running < AT_ONCE:
            self.running += 1
            try:
                _thread.start_new_thread(self.look_up, self.waiting.popleft())
            except RuntimeError:
                self.running -= 1
                return

    def tell(self):
        try:
            os.write(self.waker, b"x")
        except BlockingIOError:
            pass

    def look_up(self, number, name):
        # in a thread of its own: it only adds to what was found
        try:
            answer = (b"A", number, packed(_socket.getaddrinfo(name, None, 0, _socket.SOCK_STREAM)))
        except _socket.gaierror as error:
            unknown = (_socket.EAI_NONAME, getattr(_socket, "EAI_NODATA", _socket.EAI_NONAME))
            if error.args[0] in unknown:
                answer = (b"N", number, bytes([NO_NAME]))
            else:
                answer = (b"N", number, bytes([OTHER]) + str(error.args[-1]).encode())
        except (OSError, ValueError) as error:
            answer = (b"N", number, bytes([OTHER]) + str(error).encode())
        self.found.append(answer)
        self.tell()

    def answers(self):
        # what has been found since, and what waits goes on
        try:
            while len(os.read(self.wake, 512)) == 512:
                pass
        except BlockingIOError:
            pass
        while self.found:
            self.running -= 1
            yield self.found.popleft()
        self.start()

    def is_idle(self):
        return not (self.running or self.waiting)
