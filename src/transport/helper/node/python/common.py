# What every lane of the node's helper needs, for Python 3.6 and later. It is sent along in the session document, never
# installed.
#
# One lane process starts the owner, which outlives it: the owner has the job (a command, the file service or a relay), keeps what
# the gateway has not acknowledged, and speaks records over whatever lanes are attached. A later lane process hands the
# owner its own terminal or pipe over a unix socket and then only waits.
#
#   out_command, out_files, out_relay, in_lane, one_command, one_files, one_relay
#                                   a program each: which lane it is, and what it needs
#     main       options, user                                attach      a lane that joins an owner
#     owner      the lanes, the lease             lane        the lanes of an owner and the records on them
#       keeper     its job and the end            deflate     what of it travels deflated
#     job        what an owner asks of its job    settle      an owner's directory
#     command    a command line or a shell        files       the file service
#       process    its process, its terminal        operations  what it can do
#     relay       connections through this node     relayed     one of them
#       lookup     names                            rider       a command among them
#
# The gateway joins the files that a program imports to one text (program.rs says how), so no two of them may use one name
# for different things. The text is compiled at every start: modules that only some need are imported where they are used,
# and _socket and _signal stand for socket and signal, whose tables of constants take a while to make.
import os
import sys
import termios


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
    # nothing of Python's own end is wanted: no handlers, no flushing of what a fork has copied
    os._exit(code)


def raw(fd):
    # the terminal of an in lane is a pipe from the gateway: eight bits, nothing interpreted, nothing echoed
    mode = termios.tcgetattr(fd)
    mode[0] = 0
    mode[1] = 0
    mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8 | termios.CREAD
    mode[3] = 0
    mode[6][termios.VMIN] = 1
    mode[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def own_directory(path):
    # never through a link: /tmp is everybody's
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_mode & 0o170000 == 0o040000 and found.st_uid == os.getuid()


def own_directories(base, prefix):
    # those of this user whose names begin so
    try:
        names = os.listdir(base)
    except OSError:
        return []
    paths = [os.path.join(base, name) for name in names if name.startswith(prefix)]
    return [path for path in paths if own_directory(path)]


def base_directories():
    # where an owner's directory may be, in the order in which they are tried
    for name in ("XDG_RUNTIME_DIR", "HOME"):
        path = os.environ.get(name, "")
        if path.startswith("/") and own_directory(path) and os.access(path, os.W_OK | os.X_OK):
            yield path
    yield "/tmp"


def wait_and_leave(sock):
    # the lane process: nothing to do but to live until the owner says how to end. A shell does it in a tenth of the memory
    os.dup2(sock.fileno(), 3)
    os.set_inheritable(3, True)
    try:
        os.execv("/bin/sh", ["sh", "-c", "read code <&3 && exit $code; exit 75"])
    except OSError:
        os._exit(int(os.read(3, 4).strip() or 75))
