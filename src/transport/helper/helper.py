# The Portcullis node helper for Python 3.6 and later. It is sent along in the session document, never installed.
#
# One lane process starts the owner, which outlives it: the owner has the command (or the file service), keeps what the
# gateway has not acknowledged, and speaks records over whatever lanes are attached. A later lane process hands the
# owner its own terminal or pipe over a unix socket and then only waits.
#
# A record: kind (1 byte), number (4), length (4), payload. Towards the gateway every record is escaped (DLE A, DLE B)
# and followed by a trailer of ASCII bytes, because the agent alters some bytes that are not UTF-8.
# This text is quoted with apostrophes in the document, so it has none, and no double braces or double dollars. A document
# carries only the parts that its lanes need: a line "# part: ..." begins one, and "all" is in each.
import os, sys, select, struct, errno, fcntl, termios, time, pwd
import _socket, _signal

HEAD = struct.Struct(">BII")
TRAILER = b"~~~\n"
CHUNK = 49152
WINDOW = 1048576
LINGER = 8
UNATTENDED = 12
GRACE = 4


def options(text):
    found = {}
    for item in text.split(";"):
        key, _, value = item.partition("=")
        found[key] = value
    return found


def unquote(text):
    parts = text.encode().split(b"%")
    return parts[0] + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in parts[1:])


def die(text, code=70):
    sys.stderr.write("portcullis: " + text + "\n")
    sys.stderr.flush()
    os._exit(code)


def raw(fd):
    mode = termios.tcgetattr(fd)
    mode[0] = 0
    mode[1] = 0
    mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8 | termios.CREAD
    mode[3] = 0
    mode[6][termios.VMIN] = 1
    mode[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def become(name):
    # only a root agent comes here with a user still to become; others went through sudo
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
    os.environ.pop("XDG_RUNTIME_DIR", None)


def own_directory(path):
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_mode & 0o170000 == 0o040000 and found.st_uid == os.getuid()


def base_directories():
    for name in ("XDG_RUNTIME_DIR", "HOME"):
        path = os.environ.get(name, "")
        if path.startswith("/") and own_directory(path) and os.access(path, os.W_OK | os.X_OK):
            yield path
    yield "/tmp"


# part: owner
def remove_tree(path):
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except OSError:
        pass


def process(pid):
    # its state, parent, group and so on: what comes after the name, which may be any bytes
    with open("/proc/" + pid + "/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].decode().split()


def owner_lives(path):
    try:
        with open(path) as owner:
            pid, since, machine = owner.read().split()
        # a home may be that of many machines, and their processes are not here
        if machine != os.uname()[1]:
            return True
        fields = process(pid)
        return fields[0] not in "ZX" and fields[19] == since
    except (OSError, ValueError):
        return False


def sweep(base):
    # a live owner holds the lock of its directory; whoever gets it has found a dead one
    try:
        names = [name for name in os.listdir(base) if name.startswith(".portcullis-")]
    except OSError:
        return
    for name in names:
        path = os.path.join(base, name)
        try:
            # a young one may be about to take its lock
            if not own_directory(path) or os.lstat(path).st_mtime > time.time() - 60:
                continue
            if os.path.exists(os.path.join(path, "owner")):
                # the sh helper can hold no lock: it leaves the id of a process and when that started
                if not owner_lives(os.path.join(path, "owner")):
                    remove_tree(path)
                continue
            lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            remove_tree(path)
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(path)
        except OSError:
            pass
        os.close(lock)


# part: all
def wait_and_leave(sock):
    # the lane process: nothing to do but to live until the owner says how to end. A shell does it in a tenth of the memory
    os.dup2(sock.fileno(), 3)
    os.set_inheritable(3, True)
    try:
        os.execv("/bin/sh", ["sh", "-c", "read code <&3 && exit $code; exit 75"])
    except OSError:
        os._exit(int(os.read(3, 4).strip() or 75))


# part: attach
def attach(role, opts):
    path = unquote(opts["d"]).decode("utf-8", "surrogateescape")
    if "/" not in path:
        # the gateway never heard where it is
        paths = [os.path.join(base, ".portcullis-" + path) for base in base_directories()]
        path = ([path for path in paths if own_directory(path)] or paths)[0]
    if not own_directory(path) or os.lstat(path).st_mode & 0o077:
        die("the directory of that command is gone, or not of this user", 69)
    os.chdir(path)
    fd = 1
    if role == "in":
        fd = 0
        raw(0)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect("s")
    except OSError:
        die("that command has ended", 69)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))
    sock.sendmsg([("%s %s\n" % (role, opts.get("a", "0"))).encode()], [rights])
    wait_and_leave(sock)


# part: command
CHARACTERS = {1: "VINTR", 2: "VQUIT", 3: "VERASE", 4: "VKILL", 5: "VEOF", 6: "VEOL", 7: "VEOL2", 8: "VSTART", 9: "VSTOP",
              10: "VSUSP", 12: "VREPRINT", 13: "VWERASE", 14: "VLNEXT", 16: "VSWTC", 18: "VDISCARD"}
FLAGS = {30: (0, 0o4), 31: (0, 0o10), 32: (0, 0o20), 33: (0, 0o40), 34: (0, 0o100), 35: (0, 0o200), 36: (0, 0o400),
         37: (0, 0o1000), 38: (0, 0o2000), 39: (0, 0o4000), 40: (0, 0o10000), 41: (0, 0o20000), 42: (0, 0o40000),
         50: (3, 0o1), 51: (3, 0o2), 52: (3, 0o4), 53: (3, 0o10), 54: (3, 0o20), 55: (3, 0o40), 56: (3, 0o100),
         57: (3, 0o200), 58: (3, 0o400), 59: (3, 0o100000), 60: (3, 0o1000), 61: (3, 0o4000), 62: (3, 0o40000),
         70: (1, 0o1), 71: (1, 0o2), 72: (1, 0o4), 73: (1, 0o10), 74: (1, 0o20), 75: (1, 0o40),
         92: (2, 0o400), 93: (2, 0o1000)}


def set_modes(fd, text):
    # RFC 4254, section 8; the numbers are those of Linux
    mode = termios.tcgetattr(fd)
    for item in text.split(","):
        if not item:
            continue
        code, _, value = item.partition(":")
        code = int(code)
        value = int(value)
        if code in CHARACTERS:
            at = getattr(termios, CHARACTERS[code], None)
            if at is not None:
                mode[6][at] = bytes([0 if value == 255 else value & 255])
        elif code in FLAGS:
            word, bit = FLAGS[code]
            mode[word] = mode[word] | bit if value else mode[word] & ~bit
        elif code in (90, 91) and value:
            mode[2] = (mode[2] & ~termios.CSIZE) | (termios.CS7 if code == 90 else termios.CS8)
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def set_size(fd, cols, rows, x, y):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, x, y))


def ignores_hangup(pid):
    # anybody may name a process in any bytes
    try:
        with open("/proc/%d/status" % pid, "rb") as status:
            for line in status:
                if line.startswith(b"SigIgn:"):
                    return int(line.split()[1], 16) & 1 == 1
    except (OSError, ValueError):
        pass
    return False


def group_members(group):
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = process(name)
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z" and not ignores_hangup(int(name)):
            found.append(int(name))
    return found


class Command:
    # a shell or a command line, on pipes or on a terminal
    def __init__(self, opts, line):
        user = pwd.getpwuid(os.getuid())
        shell = user.pw_shell or "/bin/sh"
        if not os.access(shell, os.X_OK):
            shell = "/bin/sh"
        env = {"USER": user.pw_name, "LOGNAME": user.pw_name, "HOME": user.pw_dir, "SHELL": shell,
               "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")}
        for name in ("LANG", "TZ", "XDG_RUNTIME_DIR"):
            if name in os.environ:
                env[name] = os.environ[name]
        if "e" in opts:
            for item in opts["e"].split(","):
                name, _, value = item.partition(":")
                env[unquote(name).decode()] = unquote(value).decode("utf-8", "surrogateescape")
        if line is None:
            argv = ["-" + os.path.basename(shell)]
        else:
            argv = [os.path.basename(shell), b"-c", line]
        self.terminal = "t" in opts
        self.exited = None
        if self.terminal:
            master, slave = os.openpty()
            set_modes(slave, opts.get("m", ""))
            set_size(slave, *[int(n) for n in opts["t"].split(",")])
            env["TERM"] = unquote(opts.get("tn", "dumb")).decode()
            try:
                env["SSH_TTY"] = os.ttyname(slave)
            except OSError:
                pass
            child = (slave, slave, slave)
            self.stdin, self.stdout, self.stderr = master, master, -1
        else:
            if opts.get("n") == "1":
                child_in, self.stdin = os.dup(0), -1  # which is /dev/null
            else:
                child_in, self.stdin = os.pipe()
            self.stdout, child_out = os.pipe()
            self.stderr, child_err = os.pipe()
            child = (child_in, child_out, child_err)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                if self.terminal:
                    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                for at, fd in enumerate(child):
                    os.dup2(fd, at + 200)
                for at in range(3):
                    os.dup2(at + 200, at)
                    os.close(at + 200)
                for name in ("PIPE", "HUP", "INT", "QUIT", "CHLD", "XFSZ"):
                    _signal.signal(getattr(_signal, "SIG" + name), _signal.SIG_DFL)
                try:
                    os.chdir(user.pw_dir)
                except OSError:
                    os.chdir("/")
                os.execve(shell, argv, env)
            except BaseException as error:
                os.write(2, ("portcullis: %s: %s\n" % (shell, error)).encode())
            os._exit(126)
        for fd in set(child):
            os.close(fd)
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)

    def reap(self):
        # looked at, but left as it is: while it is there no other process group can get its number
        if self.exited is None:
            self.exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return self.exited
        return None


# part: owner
class Owner:
    def __init__(self, opts, where, listener, out_fd, in_fd, lane, service):
        self.where = where
        self.listener = listener
        self.lanes = {}
        self.lane_of = {"out": None, "in": None}
        self.out_fd = -1
        self.in_fd = -1
        self.number = 0
        self.kept = []
        self.acked = 0
        self.queue = []
        self.credit = int(opts.get("c", "0"))
        self.spent = 0
        self.count = {b"o": 0, b"e": 0}
        self.open = {b"o": True, b"e": True}
        self.received = 0
        self.said = 0
        self.inbox = bytearray()
        self.stdin = []
        self.stdin_eof = False
        self.taken = 0
        self.granted = WINDOW
        self.deadline = time.monotonic() + float(opts.get("l", "40"))
        self.alone = None
        self.done = False
        self.ended = None
        self.hangup = 0
        self.stage_at = 0
        self.opts = opts
        self.service = service
        self.command = None
        self.expected = None
        self.line = bytearray()
        self.poll = select.poll()
        self.asked = {}
        self.pipe = os.pipe()
        for fd in self.pipe:
            os.set_blocking(fd, False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(self.pipe[1])
        for number in (_signal.SIGHUP, _signal.SIGPIPE, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_IGN)
        self.add_lane("out", lane, out_fd, 0)
        if in_fd >= 0:
            self.add_lane("in", lane, in_fd, 0)

    # --- lanes

    def add_lane(self, role, sock, fd, ack):
        old = self.lane_of[role]
        if old is not None and old is not sock:
            self.drop_lane(role)
        self.lane_of[role] = sock
        self.lanes[sock.fileno()] = sock
        os.set_blocking(fd, False)
        self.alone = None
        if role == "out":
            self.out_fd = fd
            try:
                fcntl.fcntl(fd, 1031, 1048576)
            except OSError:
                pass
            self.acknowledge(ack)
            hello = "v=1;h=python%d.%d;d=%s;u=%d;p=%d" % (sys.version_info[0], sys.version_info[1],
                    "".join("%%%02x" % byte for byte in os.fsencode(self.where)), os.getuid(), os.getpid())
            self.queue = [b"PCR1\n", self.encode(b"H", 0, hello.encode() + b";" + bytes(range(256)))]
            self.queue += [record for _, record in self.kept]
            if self.in_fd >= 0:
                self.send_now(b"R", struct.pack(">I", self.received))
        else:
            self.in_fd = fd
            self.inbox = bytearray()
            self.send_now(b"R", struct.pack(">I", self.received))
        self.flush()

    def drop_lane(self, role, code=75):
        sock = self.lane_of[role]
        fd = self.out_fd if role == "out" else self.in_fd
        if fd >= 0 and self.out_fd != self.in_fd:
            self.watch(fd, 0)
            os.close(fd)
        if role == "out":
            self.out_fd = -1
            self.queue = []
        else:
            self.in_fd = -1
        self.lane_of[role] = None
        if sock is not None and sock not in self.lane_of.values():
            self.watch(sock.fileno(), 0)
            self.lanes.pop(sock.fileno(), None)
            try:
                sock.send(b"%d\n" % code)
            except OSError:
                pass
            sock.close()
        if self.out_fd < 0 and self.in_fd < 0:
            self.alone = time.monotonic() + UNATTENDED

    def accept(self):
        fd, _ = self.listener._accept()
        sock = _socket.socket(fileno=fd)
        uid = struct.unpack("3i", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))[1]
        if uid != os.getuid():
            sock.close()
            return
        sock.settimeout(2)
        fds = []
        try:
            text, extra, _, _ = sock.recvmsg(64, _socket.CMSG_SPACE(4))
            for level, kind, data in extra:
                if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                    fds += [fd for fd, in struct.iter_unpack("i", data[:len(data) // 4 * 4])]
            role, _, ack = text.decode().strip().partition(" ")
            ack = int(ack or 0)
        except (OSError, ValueError):
            role = ""
        if len(fds) != 1 or role not in self.lane_of:
            for fd in fds:
                os.close(fd)
            sock.close()
            return
        sock.settimeout(None)
        os.set_inheritable(fds[0], False)
        self.add_lane(role, sock, fds[0], ack)

    # --- records towards the gateway

    def encode(self, kind, number, payload):
        record = HEAD.pack(kind[0], number, len(payload)) + payload
        return record.replace(b"\x10", b"\x10A").replace(b"\xef", b"\x10B") + TRAILER

    def send(self, kind, payload=b""):
        self.number += 1
        record = self.encode(kind, self.number, payload)
        self.kept.append((self.number, record))
        if self.out_fd >= 0:
            self.queue.append(record)

    def send_now(self, kind, payload):
        # unnumbered: state that a later one replaces, of no use to a lane that is not there
        if self.out_fd >= 0:
            self.queue.append(self.encode(kind, 0, payload))

    def acknowledge(self, number):
        if number > self.acked:
            self.acked = number
            at = 0
            while at < len(self.kept) and self.kept[at][0] <= number:
                at += 1
            del self.kept[:at]

    def flush(self):
        while self.queue and self.out_fd >= 0:
            try:
                done = os.write(self.out_fd, self.queue[0])
            except BlockingIOError:
                return
            except OSError:
                self.drop_lane("out")
                return
            if done < len(self.queue[0]):
                self.queue[0] = memoryview(self.queue[0])[done:]
                return
            del self.queue[0]

    def say_state(self, force=False):
        grant = self.taken + WINDOW
        if force or self.received - self.said >= 64 or grant - self.granted >= WINDOW // 4:
            self.said = self.received
            self.granted = grant
            self.send_now(b"A", struct.pack(">IQ", self.received, grant))

    # --- records from the gateway

    def read_lane(self):
        try:
            data = os.read(self.in_fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop_lane("in")
            return
        inbox = self.inbox
        inbox += data
        at = 0
        while len(inbox) - at >= 9:
            kind, number, length = HEAD.unpack_from(inbox, at)
            if length > 131072:
                self.fault("a record from the gateway is too long")
                return
            if len(inbox) - at - 9 < length:
                break
            payload = bytes(inbox[at + 9:at + 9 + length])
            at += 9 + length
            if number:
                if number <= self.received:
                    continue
                if number != self.received + 1:
                    self.fault("records from the gateway are missing")
                    return
                self.received = number
            self.handle(bytes([kind]), payload)
            if self.in_fd < 0:
                return
        del inbox[:at]
        self.say_state()

    def fault(self, text):
        self.send(b"F", text.encode())
        self.drop_lane("in")

    def handle(self, kind, payload):
        if kind == b"S":
            ack, credit, lease = struct.unpack(">IQI", payload)
            self.acknowledge(ack)
            self.credit = max(self.credit, credit)
            self.deadline = time.monotonic() + lease
            self.say_state(True)
        elif kind == b"i":
            if self.service is not None:
                self.service.feed(payload)
            elif self.command is None or self.command.stdin >= 0:
                self.stdin.append(payload)
                self.feed()
            else:
                self.taken += len(payload)
        elif kind == b"I":
            self.stdin_eof = True
            if self.service is not None:
                self.finish_service()
            else:
                self.feed()
        elif kind == b"W" and self.command is not None and self.command.terminal and self.command.stdout >= 0:
            set_size(self.command.stdout, *struct.unpack(">HHHH", payload))
        elif kind == b"K" and self.command is not None and self.command.exited is None:
            self.kill(payload.decode())
        elif kind == b"B":
            self.hang_up()
        elif kind == b"c":
            self.long_command(payload)

# part: command
    def kill(self, name):
        number = getattr(_signal, "SIG" + name, None) if name.isalnum() else None
        if number is None:
            return
        group = self.command.pid
        if self.command.terminal:
            try:
                # 0 while the shell has not taken the terminal yet, and 0 would mean ourselves
                group = os.tcgetpgrp(self.command.stdout) or group
            except OSError:
                pass
        try:
            os.killpg(group, number)
        except OSError:
            pass

    # --- the command

    def long_command(self, part):
        if self.expected is None:
            return
        self.line += part
        if not part:
            import hashlib
            if hashlib.sha256(self.line).hexdigest() != self.expected:
                self.fault("the command that came over the lane is not the one that was announced")
                return
            self.expected = None
            self.start(bytes(self.line))

# part: owner
    def start(self, line):
        if self.service is not None:
            self.open[b"e"] = False
        elif type(line) is Announced:
            self.expected = line.digest
        else:
            self.command = Command(self.opts, line)
            if self.command.terminal:
                self.open[b"e"] = False
            self.feed()

# part: command
    def feed(self):
        if self.command is None:
            return
        fd = self.command.stdin
        while self.stdin and fd >= 0:
            try:
                done = os.write(fd, self.stdin[0])
            except BlockingIOError:
                return
            except OSError:
                # nobody reads any more: what comes is taken and thrown away, so that the lane goes on
                self.taken += sum(len(part) for part in self.stdin)
                self.stdin = []
                self.close_stdin()
                break
            self.taken += done
            if done < len(self.stdin[0]):
                self.stdin[0] = self.stdin[0][done:]
                return
            del self.stdin[0]
        if self.stdin_eof and not self.stdin and not self.command.terminal:
            self.close_stdin()

    def close_stdin(self):
        command = self.command
        if command.stdin >= 0:
            if command.stdin != command.stdout:
                self.watch(command.stdin, 0)
                os.close(command.stdin)
            command.stdin = -1

# part: owner
    def data(self, kind, payload):
        self.count[kind] += len(payload)
        self.spent += len(payload)
        self.send(kind, payload)

# part: command
    def read_output(self, kind, fd):
        room = min(CHUNK, self.credit - self.spent)
        if room <= 0:
            return
        try:
            payload = os.read(fd, room)
        except BlockingIOError:
            return
        except OSError:
            payload = b""
        if payload:
            self.data(kind, payload)
        else:
            self.close_output(kind)

# part: owner
    def close_output(self, kind):
        if not self.open[kind]:
            return
        self.open[kind] = False
        self.send(kind.upper(), struct.pack(">Q", self.count[kind]))
        command = self.command
        if command is None:
            return
        fd = command.stdout if kind == b"o" else command.stderr
        if fd >= 0:
            self.watch(fd, 0)
            os.close(fd)
        if kind == b"o":
            if command.stdin == fd:
                command.stdin = -1
            command.stdout = -1
        else:
            command.stderr = -1

    def reap(self):
        try:
            os.read(self.pipe[0], 512)
        except BlockingIOError:
            pass
        if self.command is None:
            return
        status = self.command.reap()
        if status is None:
            return
        if status.si_code == os.CLD_EXITED:
            self.send(b"X", struct.pack(">BIB", 0, status.si_status, 0))
        else:
            self.send(b"X", struct.pack(">BIB", 1, status.si_status, 1 if status.si_code == os.CLD_DUMPED else 0))

    def finish_service(self):
        if self.open[b"o"] and not self.service.busy():
            self.close_output(b"o")
            self.send(b"X", struct.pack(">BIB", 0, 0, 0))

    # --- the end

    def hang_up(self):
        if self.hangup == 0:
            self.hangup = 1
            self.stage_at = time.monotonic()
            if self.command is None:
                return
            self.close_stdin()
            for kind in (b"o", b"e"):
                self.close_output(kind)
            if self.command.exited is None:
                for number in (_signal.SIGHUP, _signal.SIGCONT):
                    self.signal(group_members(self.command.pid), number)

    def signal(self, pids, number):
        for pid in pids:
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def escalate(self, now):
        # after the hang-up: TERM, then KILL, for the group; what was detached on purpose ignores SIGHUP and is spared
        left = group_members(self.command.pid) if self.command is not None else []
        if not left or self.hangup > 3:
            self.leave(129)
        if now >= self.stage_at + GRACE:
            self.hangup += 1
            self.stage_at = now
            self.signal(left, _signal.SIGTERM if self.hangup == 2 else _signal.SIGKILL)

    def leave(self, code):
        for role in ("in", "out"):
            self.drop_lane(role, code)
        os.chdir("/")
        remove_tree(self.where)
        os._exit(0)

    def over(self):
        return not self.done and self.expected is None and not (self.open[b"o"] or self.open[b"e"]) and (
            self.command is None or self.command.exited is not None)

    # --- the loop

    def watch(self, fd, events):
        if self.asked.get(fd, 0) != events:
            if events:
                self.poll.register(fd, events)
                self.asked[fd] = events
            else:
                self.poll.unregister(fd)
                del self.asked[fd]

    def interests(self):
        watch = self.watch
        watch(self.pipe[0], select.POLLIN)
        watch(self.listener.fileno(), select.POLLIN)
        for fd in self.lanes:
            watch(fd, select.POLLIN)
        if self.out_fd >= 0 and self.out_fd == self.in_fd:
            watch(self.out_fd, select.POLLIN | (select.POLLOUT if self.queue else 0))
        else:
            if self.out_fd >= 0:
                watch(self.out_fd, select.POLLOUT if self.queue else select.POLLERR)
            if self.in_fd >= 0:
                watch(self.in_fd, select.POLLIN)
        command = self.command
        if command is None:
            return
        ready = self.credit > self.spent and len(self.queue) < 16
        if command.terminal:
            if command.stdout >= 0:
                watch(command.stdout, (select.POLLIN if ready else 0) | (select.POLLOUT if self.stdin else 0))
            return
        if command.stdout >= 0:
            watch(command.stdout, select.POLLIN if ready else 0)
        if command.stderr >= 0:
            watch(command.stderr, select.POLLIN if ready else 0)
        if command.stdin >= 0:
            watch(command.stdin, select.POLLOUT if self.stdin else 0)

    def timeout(self, now):
        if self.hangup:
            return 100
        until = self.deadline if not self.done or self.ended is None or self.in_fd >= 0 else self.ended
        if self.alone is not None and not self.done:
            until = min(until, self.alone)
        return max(0, int((until - now) * 1000) + 1)

    def finish(self, now):
        # all is said: once the gateway has it all, or can no longer ask for it, leave. Without a way for it to say so it
        # gets a moment, from when the last of it has gone; a slow reader has as long as the lease
        if self.queue:
            self.ended = None
        elif self.ended is None:
            self.ended = now + LINGER
        until = self.deadline if self.queue or self.in_fd >= 0 else self.ended
        if not self.kept or now >= until:
            self.leave(0)

    def run(self):
        woke = time.monotonic()
        while True:
            now = time.monotonic()
            if now - woke > 1:
                # a slow disk held us up: the gateway may have spoken meanwhile
                self.deadline += now - woke
            if self.hangup:
                self.escalate(now)
            elif self.done:
                self.finish(now)
            elif now >= self.deadline or (self.alone is not None and now >= self.alone):
                self.hang_up()
                continue
            self.interests()
            busy = self.service is not None and self.service.ready(self)
            events = self.poll.poll(0 if busy else self.timeout(now))
            woke = time.monotonic()
            for fd, event in events:
                self.event(fd, event)
            if self.service is not None:
                self.service.work(self)
                if self.stdin_eof:
                    self.finish_service()
            if self.command is not None and self.command.terminal and self.command.exited is not None:
                self.drain_terminal()
            if self.over():
                self.send(b"Q")
                self.done = True
            self.flush()
            if self.done and self.in_fd < 0:
                self.release_out()

    def release_out(self):
        # no way for an acknowledgement to come: let the lane end, and stay a little in case it was lost
        if not self.queue and self.out_fd >= 0:
            self.drop_lane("out", 0)
            self.alone = None

# part: command
    def drain_terminal(self):
        # as sshd: what the terminal still holds is sent, who else has it open is not waited for
        command = self.command
        while command.stdout >= 0 and self.credit > self.spent:
            try:
                payload = os.read(command.stdout, min(CHUNK, self.credit - self.spent))
            except OSError:
                payload = b""
            if not payload:
                self.close_output(b"o")
                return
            self.data(b"o", payload)

# part: owner
    def event(self, fd, event):
        command = self.command
        if fd == self.pipe[0]:
            self.reap()
        elif fd == self.listener.fileno():
            self.accept()
        elif fd in self.lanes:
            sock = self.lanes[fd]
            for role in ("out", "in"):
                if self.lane_of[role] is sock:
                    self.drop_lane(role)
        elif fd == self.in_fd and event & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self.read_lane()
        elif fd == self.out_fd:
            if event & select.POLLOUT:
                self.flush()
            elif event & (select.POLLERR | select.POLLHUP):
                self.drop_lane("out")
        elif command is not None:
            if fd == command.stdin and event & (select.POLLOUT | select.POLLERR):
                self.feed()
                self.say_state()
            if fd == command.stdout and event & (select.POLLIN | select.POLLHUP):
                self.read_output(b"o", fd)
                self.flush()
            elif fd == command.stderr and event & (select.POLLIN | select.POLLHUP):
                self.read_output(b"e", fd)
                self.flush()


# part: files
class Files:
    # file operations: each request is length, id, operation, arguments; each answer length, id, errno, result
    MOST = 1048576

    def __init__(self):
        self.inbox = bytearray()
        self.out = []
        self.held = 0
        self.handles = {}
        self.next = 1

    def feed(self, payload):
        self.inbox += payload

    def busy(self):
        return self.whole() or self.held > 0

    def whole(self):
        return len(self.inbox) >= 4 and len(self.inbox) - 4 >= struct.unpack_from(">I", self.inbox)[0]

    def ready(self, owner):
        return (self.held and owner.credit > owner.spent and len(owner.queue) < 16) or (
            self.held < self.MOST and self.whole())

    def work(self, owner):
        for _ in range(16):
            if self.held < self.MOST and self.whole():
                length, number, code = struct.unpack_from(">IIB", self.inbox)
                body = bytes(self.inbox[9:4 + length])
                del self.inbox[:4 + length]
                owner.taken += 4 + length
                self.answer(number, code, body)
            else:
                break
        owner.say_state()
        while self.out and owner.credit > owner.spent and len(owner.queue) < 16:
            room = min(CHUNK, owner.credit - owner.spent)
            parts = []
            size = 0
            while self.out and size < room:
                part = self.out[0][:room - size]
                if len(part) == len(self.out[0]):
                    del self.out[0]
                else:
                    self.out[0] = self.out[0][len(part):]
                parts.append(part)
                size += len(part)
            self.held -= size
            owner.data(b"o", parts[0] if len(parts) == 1 and type(parts[0]) is bytes else b"".join(parts))
            owner.flush()

    def answer(self, number, code, body):
        try:
            result = getattr(self, "op_%d" % code)(Body(body)) or b""
            status = 0
        except OSError as error:
            status = error.errno or errno.EIO
            result = os.strerror(status).encode()
        except (AttributeError, KeyError, ValueError, IndexError, struct.error, OverflowError):
            status = errno.EINVAL
            result = b"the file operation is malformed, or names a handle that is not open"
        self.out.append(memoryview(struct.pack(">III", len(result) + 8, number, status) + result))
        self.held += len(result) + 12

    def keep(self, thing):
        number = self.next
        self.next += 1
        self.handles[number] = thing
        return number

    def attributes(self, found):
        return struct.pack(">QIIIQQ", found.st_size, found.st_uid, found.st_gid, found.st_mode,
                           int(found.st_atime) & 0xffffffffffffffff, int(found.st_mtime) & 0xffffffffffffffff)

    def op_1(self, body):  # open
        path, flags, mode = body.text(), body.u32(), body.u32()
        how = os.O_RDWR if flags & 3 == 3 else os.O_WRONLY if flags & 2 else os.O_RDONLY
        for bit, value in ((4, os.O_APPEND), (8, os.O_CREAT), (16, os.O_TRUNC), (32, os.O_EXCL)):
            if flags & bit:
                how |= value
        fd = os.open(path, how | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC, 0o666 if mode == 0xffffffff else mode)
        if os.fstat(fd).st_mode & 0o170000 == 0o040000:
            os.close(fd)
            raise OSError(errno.EISDIR, "")
        os.set_blocking(fd, True)
        real = self.real(fd, path)
        return struct.pack(">II", self.keep((fd, "append" if flags & 4 else "file")), len(real)) + real

    def real(self, fd, path):
        try:
            return os.readlink(b"/proc/self/fd/%d" % fd)
        except OSError:
            return os.path.realpath(path)

    def op_2(self, body):  # read: short only at the end of the file
        fd = self.handles[body.u32()][0]
        offset, length = body.u64(), min(body.u32(), self.MOST)
        data = os.pread(fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def op_3(self, body):  # write
        fd, kind = self.handles[body.u32()]
        offset, data = body.u64(), memoryview(body.rest())
        while data:
            done = os.write(fd, data) if kind == "append" else os.pwrite(fd, data, offset)
            data = data[done:]
            offset += done

    def op_4(self, body):  # close
        handle = self.handles.pop(body.u32())
        if handle[1] == "names":
            handle[2].close()
        os.close(handle[0])

    def op_5(self, body):
        return self.attributes(os.stat(body.text()))

    def op_6(self, body):
        return self.attributes(os.lstat(body.text()))

    def op_7(self, body):
        return self.attributes(os.fstat(self.handles[body.u32()][0]))

    def change(self, target, body, follow=True):
        # masks: 1 size, 2 owner, 4 mode, 8 times; a size first, since it moves the times
        mask, size, uid, gid, mode, atime, mtime = struct.unpack(">IQIIIQQ", body.rest())
        link = {} if follow else {"follow_symlinks": False}
        failed = None
        for bit, step in ((1, lambda: os.truncate(target, size)), (4, lambda: os.chmod(target, mode & 0o7777)),
                          (8, lambda: os.utime(target, (atime, mtime), **link)),
                          (2, lambda: os.chown(target, uid, gid, **link))):
            if mask & bit:
                if bit in (1, 4) and not follow:
                    failed = OSError(errno.EOPNOTSUPP, "")
                    continue
                try:
                    step()
                except OSError as error:
                    failed = error
        if failed is not None:
            raise failed

    def op_8(self, body):
        self.change(body.text(), body)

    def op_9(self, body):
        self.change(self.handles[body.u32()][0], body)

    def op_10(self, body):  # open a directory
        path = body.text()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        real = self.real(fd, path)
        try:
            names = os.scandir(fd)
        except TypeError:
            names = os.scandir(path)
        return struct.pack(">II", self.keep([fd, "names", names, True]), len(real)) + real

    def op_11(self, body):  # some of its names
        handle = self.handles[body.u32()]
        entries = []
        if handle[3]:
            handle[3] = False
            for name in (b".", b".."):
                entries.append(self.entry(name, os.stat(name, dir_fd=handle[0])))
        size = 0
        for found in handle[2]:
            try:
                entries.append(self.entry(os.fsencode(found.name), found.stat(follow_symlinks=False)))
            except OSError:
                continue
            size += len(entries[-1])
            if size > 32768:
                break
        return struct.pack(">I", len(entries)) + b"".join(entries)

    def entry(self, name, found):
        return (struct.pack(">I", len(name)) + name + self.attributes(found) + struct.pack(">I", found.st_nlink) +
                self.owner(found))

    def owner(self, found):
        parts = []
        import grp
        for lookup, number in ((pwd.getpwuid, found.st_uid), (grp.getgrgid, found.st_gid)):
            try:
                text = lookup(number)[0].encode()
            except (KeyError, OSError):
                text = b"%d" % number
            parts.append(struct.pack(">I", len(text)) + text)
        return b"".join(parts)

    def op_12(self, body):
        os.unlink(body.text())

    def op_13(self, body):
        path, mode = body.text(), body.u32()
        os.mkdir(path, mode & 0o7777)

    def op_14(self, body):
        os.rmdir(body.text())

    def op_15(self, body):  # the last component need not exist, the others must
        path = body.text()
        real = os.path.realpath(path)
        if not os.path.lexists(real):
            os.stat(os.path.dirname(real) + b"/.")
        return real

    def op_16(self, body):
        old, new, replace = body.text(), body.text(), body.u32()
        if not replace:
            try:
                os.lstat(new)
            except FileNotFoundError:
                pass
            else:
                raise OSError(errno.EEXIST, "")
        os.rename(old, new)

    def op_17(self, body):
        return os.readlink(body.text())

    def op_18(self, body):
        target, path = body.text(), body.text()
        os.symlink(target, path)

    def op_19(self, body):
        old, new = body.text(), body.text()
        os.link(old, new)

    def op_20(self, body):
        os.fsync(self.handles[body.u32()][0])

    def system(self, target):
        found = os.statvfs(target)
        return struct.pack(">11Q", found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail,
                           found.f_files, found.f_ffree, found.f_favail, getattr(found, "f_fsid", 0) & (1 << 64) - 1,
                           found.f_flag, found.f_namemax)

    def op_21(self, body):
        return self.system(body.text())

    def op_22(self, body):
        self.change(body.text(), body, False)

    def op_23(self, body):  # ~ and ~user
        path = body.text()
        if path.startswith(b"~"):
            name, slash, rest = path[1:].partition(b"/")
            try:
                home = pwd.getpwnam(os.fsdecode(name)) if name else pwd.getpwuid(os.getuid())
            except KeyError:
                raise OSError(errno.ENOENT, "")
            path = os.fsencode(home.pw_dir) + slash + rest
        return self.op_15(Body(struct.pack(">I", len(path)) + path))

    def op_24(self, body):
        return self.system(self.handles[body.u32()][0])


class Body:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, size):
        part = self.data[self.at:self.at + size]
        if len(part) < size:
            raise ValueError()
        self.at += size
        return part

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def text(self):
        text = self.take(self.u32())
        if b"\0" in text:
            raise ValueError()
        return text

    def rest(self):
        part = self.data[self.at:]
        self.at = len(self.data)
        return part


# part: command
class Announced:
    def __init__(self, digest):
        self.digest = digest


def command_line(text):
    if text.startswith("sha256:"):
        return Announced(text[7:])
    if text == "shell:":
        return None
    if text.startswith("base64:"):
        import binascii
        return binascii.a2b_base64(text[7:])
    return os.fsencode(text)


# part: owner
def settle(name):
    # in the first place that takes it: a full home is no reason to keep out whoever comes to tidy it up
    why = None
    for base in base_directories():
        sweep(base)
        where = os.path.join(base, ".portcullis-" + name)
        try:
            os.mkdir(where, 0o700)
        except FileExistsError:
            die("there is a helper of that name already", 73)
        except OSError as error:
            why = error
            continue
        try:
            os.chdir(where)
            lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            listener.bind("s")
            listener.listen(4)
            return where, listener
        except OSError as error:
            why = error
            os.chdir("/")
            remove_tree(where)
    die("the helper finds no room: %s" % why, 73)


def own(opts, text, null):
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
    out_fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 20)
    for fd in (0, 1, 2):
        os.dup2(null, fd, inheritable=True)
    os.close(null)
    service = None
    if opts["w"] == "files":
        service = Files()
        try:
            os.chdir(pwd.getpwuid(os.getuid()).pw_dir)
        except (OSError, KeyError):
            os.chdir("/")
    owner = Owner(opts, where, listener, out_fd, out_fd if one_lane else -1, ours, service)
    if owner.out_fd < 0:
        # the gateway has gone already, perhaps to run this another way
        owner.leave(75)
    try:
        owner.start(None if service is not None else command_line(text))
        owner.run()
    except BaseException as error:
        if owner.command is not None and owner.command.exited is None:
            owner.signal((-owner.command.pid,), _signal.SIGHUP)
        owner.send(b"F", ("the helper failed: %s: %s" % (type(error).__name__, error)).encode())
        owner.flush()
        owner.leave(70)


# part: all
def main(argv):
    if sys.version_info < (3, 6):
        os.execv("/bin/sh", ["sh", "-c", "eval \"$1\"", "portcullis", argv[3], argv[1], argv[2]])
    opts = options(argv[1])
    # before this is another user, and only for reading: not every node lets everybody have it
    null = os.open("/dev/null", os.O_RDONLY)
    if "u" in opts and os.getuid() == 0:
        try:
            become(unquote(opts["u"]).decode())
        except KeyError:
            die("there is no user %s on this node" % unquote(opts["u"]).decode(), 67)
    if opts["r"] in ("out", "both") and "w" in opts:
        own(opts, argv[2], null)
    else:
        attach(opts["r"], opts)


main(sys.argv)
