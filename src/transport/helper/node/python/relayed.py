# One stream of a relay: a socket, what waits to be written to it, and how much either end may send.
#
#   connecting ──▶ connected ──▶ both ends are over ──▶ gone
#        └─ failed ─▶ gone  └─── reset by either ─────▶ gone
import _socket
import errno
import struct
from _collections import deque

# how much the gateway may send before it was written; grown where the gateway would send more and the socket takes it
FIRST_WINDOW = 65536
WIDEST_WINDOW = 4194304
# shorter pieces are put together while they wait
SHORT_PIECE = 4096

# why there is no connection, as the gateway knows it
REFUSED, UNREACHABLE, TIMED_OUT, NO_NAME, FORBIDDEN, BUSY, OTHER = range(1, 8)
REASONS = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: REFUSED,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETDOWN: UNREACHABLE,
    errno.EAFNOSUPPORT: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.EADDRNOTAVAIL: UNREACHABLE,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.ENOENT: NO_NAME,
    errno.ENOTDIR: NO_NAME,
    errno.ENAMETOOLONG: NO_NAME,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.EMFILE: BUSY,
    errno.ENFILE: BUSY,
}


def address_of(target):
    # the family and what connect() takes; the gateway has judged the address, so nothing is looked up here
    kind = target[:1]
    if kind == b"4":
        return _socket.AF_INET, (
            _socket.inet_ntop(_socket.AF_INET, target[1:5]),
            struct.unpack_from(">H", target, 5)[0],
        )
    if kind == b"6":
        port, scope = struct.unpack_from(">HI", target, 17)
        return _socket.AF_INET6, (_socket.inet_ntop(_socket.AF_INET6, target[1:17]), port, 0, scope)
    return _socket.AF_UNIX, target[1:]


class Relayed:
    def __init__(self, number, credit):
        self.number = number
        self.sock = None
        self.fd = -1
        self.address = None
        # until when it may take to connect; None once it is there
        self.deadline = None
        # from the socket: how much may be sent in all, how much was, and whether the gateway knows that more would be
        self.credit = credit
        self.sent = 0
        self.is_blocked = False
        # whether there may be something to read, whether it waits for its turn, whether the other end is known to be closing
        self.readable = False
        self.queued = False
        self.closing = False
        # whether all has been read, and whether the gateway is told of it
        self.read_over = False
        # to the socket: what waits for it, whether no more comes, and whether it has all of it
        self.pending = deque()
        self.held = 0
        self.ended = False
        self.write_over = False
        # nobody reads what is written any more, so its end will not be a clean one
        self.broken = False
        # how much was taken in all, how much the gateway may send, and how wide that window is
        self.taken = 0
        self.granted = FIRST_WINDOW
        self.window = FIRST_WINDOW

    def connect(self, target, deadline):
        family, self.address = address_of(target)
        self.join(_socket.socket(family, _socket.SOCK_STREAM))
        self.deadline = deadline
        if family != _socket.AF_UNIX:
            # what is forwarded waits for no more to come
            self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        return self.try_to_connect()

    def join(self, sock):
        # what is there already
        self.deadline = float("inf")
        self.sock = sock
        self.sock.setblocking(False)
        self.fd = sock.fileno()
        return 0

    def try_to_connect(self):
        # 0 when it is there, or the error; EINPROGRESS and EAGAIN are none
        return self.sock.connect_ex(self.address)

    def connected(self):
        # the same of a connection that was on its way
        number = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if number:
            return number
        try:
            far = self.sock.getpeername()
        except OSError:
            return errno.EINPROGRESS
        # a port of this machine that nobody listens at may be given to the connection itself
        if self.sock.family != _socket.AF_UNIX and far == self.sock.getsockname():
            return errno.ECONNREFUSED
        self.deadline = None
        return 0

    # --- to the socket

    def take(self, body, is_most):
        # what can't be written at once waits; of a long record that is mostly of others a piece is copied out
        size = len(body)
        done = 0
        if self.broken:
            self.taken += size
            return
        if not self.pending:
            done = self.write(body)
            if done == size or self.broken:
                return
        rest = body[done:] if is_most else bytes(body[done:])
        self.held += len(rest)
        if len(rest) < SHORT_PIECE and self.pending and type(self.pending[-1]) is bytearray:
            if len(self.pending[-1]) < 4 * SHORT_PIECE:
                self.pending[-1] += rest
                return
        self.pending.append(bytearray(rest) if len(rest) < SHORT_PIECE else rest)

    def write(self, piece):
        try:
            done = self.sock.send(piece)
        except BlockingIOError:
            return 0
        except OSError:
            # what comes is taken and thrown away, so that its sender goes on; what was answered before may still be read
            self.broken = True
            self.taken += self.held + len(piece)
            self.held = 0
            self.pending.clear()
            return 0
        self.taken += done
        return done

    def pour(self):
        while self.pending:
            piece = self.pending[0]
            self.held -= len(piece)
            done = self.write(piece)
            if self.broken:
                return
            if done < len(piece):
                self.held += len(piece) - done
                if done:
                    self.pending[0] = memoryview(piece)[done:]
                return
            self.pending.popleft()

    def end_writing(self):
        # once all of it is there
        if self.ended and not self.pending and not self.write_over:
            self.write_over = True
            try:
                self.sock.shutdown(_socket.SHUT_WR)
            except OSError:
                self.broken = True

    def widen(self, room):
        # the gateway would send more: if that is not because of who reads here, it may. By how much it is wider
        more = min(self.window, WIDEST_WINDOW - self.window, room)
        if more <= 0 or self.held > self.window // 4:
            return 0
        self.window += more
        return more

    def grant(self):
        # how much the gateway may send in all, where that is worth a word
        total = self.taken + self.window
        if total - self.granted < self.window // 2:
            return None
        self.granted = total
        return total

    # --- the end

    def reset(self):
        # the other end hears that it is not all there is
        try:
            self.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()

    def close(self):
        self.pending.clear()
        self.sock.close()
