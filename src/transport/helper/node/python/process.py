# The process of a command, on pipes or on a terminal of its own.
import _signal
import fcntl
import os
import pwd
import struct
import termios

from common import unquote
from proc import stat_of

# RFC 4254, section 8: the opcodes of special characters, with termios(3)'s names for their places
CHARACTERS = {
    1: "VINTR",
    2: "VQUIT",
    3: "VERASE",
    4: "VKILL",
    5: "VEOF",
    6: "VEOL",
    7: "VEOL2",
    8: "VSTART",
    9: "VSTOP",
    10: "VSUSP",
    12: "VREPRINT",
    13: "VWERASE",
    14: "VLNEXT",
    16: "VSWTC",
    18: "VDISCARD",
}
# the opcodes of flags in the order of the RFC: which word of Linux's termios has them (0 input, 1 output, 2 control,
# 3 local), the first opcode, and the bit of it and of each that follows
FLAGS = (
    (0, 30, (0o4, 0o10, 0o20, 0o40, 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000, 0o10000, 0o20000, 0o40000)),
    (3, 50, (0o1, 0o2, 0o4, 0o10, 0o20, 0o40, 0o100, 0o200, 0o400, 0o100000, 0o1000, 0o4000, 0o40000)),
    (1, 70, (0o1, 0o2, 0o4, 0o10, 0o20, 0o40)),
    (2, 92, (0o400, 0o1000)),
)
CS7, CS8 = 90, 91

# those that run any command line they are given
USUAL_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh", "busybox")


def set_modes(fd, text):
    # what the client's terminal is like, opcode:value,...
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
                # 255 is the RFC's word for a character that there is not
                mode[6][at] = bytes([0 if value == 255 else value & 255])
        elif code in (CS7, CS8):
            if value:
                mode[2] = (mode[2] & ~termios.CSIZE) | (termios.CS7 if code == CS7 else termios.CS8)
        else:
            for word, first, bits in FLAGS:
                if first <= code < first + len(bits):
                    bit = bits[code - first]
                    mode[word] = mode[word] | bit if value else mode[word] & ~bit
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def set_size(fd, cols, rows, x, y):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, x, y))


def environment(user, shell, opts, variables):
    # a login's, as sshd has it: nothing of the agent's own but what says where and when this node is
    mail = "/var/mail/" if os.path.isdir("/var/mail") else "/var/spool/mail/"
    env = {
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "HOME": user.pw_dir,
        "SHELL": shell,
        "MAIL": mail + user.pw_name,
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
    }
    for name in ("LANG", "TZ", "XDG_RUNTIME_DIR"):
        if name in os.environ:
            env[name] = os.environ[name]
    if "sc" in opts:
        ends = opts["sc"].split(",")
        env["SSH_CONNECTION"] = " ".join(ends)
        # for which bash reads .bashrc before a command
        env["SSH_CLIENT"] = " ".join(ends[:2] + ends[3:])
    if "e" in opts:
        for item in opts["e"].split(","):
            name, _, value = item.partition(":")
            env[unquote(name).decode()] = unquote(value)
    for item in variables.split(b"\0")[:-1]:
        name, _, value = item.partition(b"=")
        env[name.decode()] = value
    return env


class Process:
    def __init__(self, opts, line, variables):
        # line is None for a login shell
        user = pwd.getpwuid(os.getuid())
        shell = user.pw_shell or "/bin/sh"
        if not os.access(shell, os.X_OK):
            shell = "/bin/sh"
        env = environment(user, shell, opts, variables)
        if opts.get("s") == "sh":
            # what was decided about is the line as this shell reads it; who has no shell of the usual ones gets none by that
            if os.path.basename(shell) not in USUAL_SHELLS:
                line = b"echo portcullis: the shell of this user takes no command lines >&2; exit 126"
            shell = "/bin/sh"
        if line is None:
            argv = ["-" + os.path.basename(shell)]
        else:
            argv = [os.path.basename(shell), b"-c", line]
        self.terminal = "t" in opts
        # how it ended
        self.exited = None
        if self.terminal:
            # modes and size are there before the first byte
            master, slave = os.openpty()
            set_modes(slave, opts.get("m", ""))
            set_size(slave, *[int(n) for n in opts["t"].split(",")])
            env["TERM"] = unquote(opts.get("tn", "dumb")).decode()
            try:
                env["SSH_TTY"] = os.ttyname(slave)
            except OSError:
                pass
            theirs = (slave, slave, slave)
            self.stdin, self.stdout, self.stderr = master, master, -1
        else:
            if opts.get("n") == "1":
                child_in, self.stdin = os.dup(0), -1  # which is /dev/null
            else:
                child_in, self.stdin = os.pipe()
            self.stdout, child_out = os.pipe()
            self.stderr, child_err = os.pipe()
            theirs = (child_in, child_out, child_err)
        self.pid = os.fork()
        if self.pid == 0:
            self.become(shell, argv, env, user.pw_dir, theirs)
        for fd in set(theirs):
            os.close(fd)
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)

    def become(self, shell, argv, env, home, theirs):
        # in the child; nothing comes back from here
        try:
            os.setsid()
            if self.terminal:
                fcntl.ioctl(theirs[0], termios.TIOCSCTTY, 0)
            # by way of numbers that none of them has: one may be where another is to go
            for at, fd in enumerate(theirs):
                os.dup2(fd, at + 200)
            for at in range(3):
                os.dup2(at + 200, at)
                os.close(at + 200)
            # what is ignored stays so in a new program: Python ignores some by itself, and whoever started the agent may have
            # ignored any, as a script does for what it starts in the background
            for number in range(1, _signal.NSIG):
                try:
                    _signal.signal(number, _signal.SIG_DFL)
                except (OSError, ValueError):
                    # not to be set, or the system's own
                    pass
            try:
                os.chdir(home)
            except OSError:
                os.chdir("/")
            os.execve(shell, argv, env)
        except BaseException as error:
            os.write(2, ("portcullis: %s: %s\n" % (shell, error)).encode())
        os._exit(126)

    def reap(self):
        # how it ended, once; looked at, but left as it is: while it is there no other process group can get its number
        if self.exited is None:
            self.exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return self.exited
        return None

    def foreground(self):
        # the group that a signal is for
        if self.terminal:
            try:
                # 0 while the shell has not taken the terminal yet, and 0 would mean ourselves
                return os.tcgetpgrp(self.stdout) or self.pid
            except OSError:
                pass
        return self.pid

    def members(self):
        # of its group, without those that ignore SIGHUP: what was detached on purpose does
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                fields = stat_of(name)
            except OSError:
                continue
            if int(fields[2]) == self.pid and fields[0] != "Z" and not ignores_hangup(int(name)):
                found.append(int(name))
        return found


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
