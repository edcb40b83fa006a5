# The directory of an owner: made in the first place that takes it, and with it gone what dead owners left there.
#
#   .portcullis-<128 random bits of the gateway's>-<64 of the node's>/   s      the socket that lanes come to
#                                                                        lock   held as long as its owner lives
#
# The first are in every lane's arguments, which other users of the node can read; so there is no name to be taken before
# the directory is there.
import _socket
import fcntl
import os
import time

from common import base_directories, die, own_directories
from proc import stat_of


def remove_tree(path):
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except OSError:
        pass


def sh_owner_lives(path):
    # the sh helper can hold no lock: it leaves the id of a process, when that started, and on which machine
    try:
        with open(path) as owner:
            pid, since, machine = owner.read().split()
        # a home may be that of many machines, and their processes are not here
        if machine != os.uname()[1]:
            return True
        fields = stat_of(pid)
        return fields[0] not in "ZX" and fields[19] == since
    except (OSError, ValueError):
        return False


def sweep(path):
    # a live owner holds the lock of its directory; whoever gets it has found a dead one
    try:
        # a young one may be about to take its lock
        if os.lstat(path).st_mtime > time.time() - 60:
            return
        if os.path.exists(os.path.join(path, "owner")):
            if not sh_owner_lives(os.path.join(path, "owner")):
                remove_tree(path)
            return
        lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        remove_tree(path)
        return
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_tree(path)
    except OSError:
        pass
    os.close(lock)


def settle(name):
    # in the first place that takes it: a full home is no reason to keep out whoever comes to tidy it up
    why = None
    prefix = ".portcullis-" + name + "-"
    for base in base_directories():
        # the end of the name is made here and now, so that nobody who sees the arguments can take it first
        where = os.path.join(base, prefix + os.urandom(8).hex())
        try:
            os.mkdir(where, 0o700)
        except OSError as error:
            why = error
            where = None
        # looked for when ours is there: of two that start the same, at least one sees the other, and nothing runs twice
        for path in own_directories(base, ".portcullis-"):
            if path == where:
                continue
            if os.path.basename(path).startswith(prefix):
                if where is not None:
                    remove_tree(where)
                die("this was started already", 73)
            sweep(path)
        if where is None:
            continue
        try:
            os.chdir(where)
            # open until this process ends, and so is the lock
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
    return die("the helper finds no room: %s" % why, 73)
