# A lane that joins an owner: its terminal or pipe is handed over, and the process only waits.
import _socket
import os
import struct

from common import base_directories, die, own_directories, own_directory, raw, unquote, wait_and_leave


def attach(opts):
    role = opts["r"]
    path = unquote(opts["d"]).decode("utf-8", "surrogateescape")
    if "/" not in path:
        # the gateway never heard where it is, and knows only how its name begins
        found = [own_directories(base, ".portcullis-" + path + "-") for base in base_directories()]
        path = (sum(found, []) or [""])[0]
    # whoever could put a socket there would get the terminal
    if not own_directory(path) or os.lstat(path).st_mode & 0o077:
        die("the directory of that command is gone, or not of this user", 69)
    # the name of a socket may be 107 bytes long, the path of a home longer
    os.chdir(path)
    fd = 1
    if role != "out":
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
