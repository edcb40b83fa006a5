# What the file service can do, by name.
import errno
import os
import pwd
import struct

from paths import expand_path, home_of, real_path

# The operations: number, name, and the kinds of the arguments (h a handle and u a number, 32 bits; q 64 bits; p a path and
# t a text: length and bytes; d the data that is left). The gateway's table and the one of the sh helper say the same, or
# a test fails.
OPERATIONS = {
    1: ("open", "puu"),
    2: ("read", "hqu"),
    3: ("write", "hqd"),
    4: ("close", "h"),
    5: ("stat", "p"),
    6: ("lstat", "p"),
    7: ("fstat", "h"),
    8: ("set_stat", "puquuuqq"),
    9: ("fset_stat", "huquuuqq"),
    10: ("open_dir", "p"),
    11: ("read_dir", "hu"),
    12: ("remove", "p"),
    13: ("make_dir", "pu"),
    14: ("remove_dir", "p"),
    15: ("real_path", "p"),
    16: ("rename", "ppu"),
    17: ("read_link", "p"),
    18: ("symlink", "tp"),
    19: ("link", "pp"),
    20: ("fsync", "h"),
    21: ("file_system", "p"),
    22: ("lset_stat", "puquuuqq"),
    23: ("expand_path", "t"),
    24: ("file_system_of", "h"),
    25: ("copy", "hqqhq"),
    26: ("home_directory", "t"),
    27: ("names_of", "ud"),
    28: ("most_open", "u"),
}

# the flags of open, those of SFTP version 3, section 6.3
READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 4, 8, 16, 32
NO_MODE = 0xFFFFFFFF
# which attributes a change is about
SIZE, OWNER, MODE, TIMES = 1, 2, 4, 8
# the most that one answer reads of a file
LONGEST_READ = 1048576
# what one answer lists of a directory: a little more than this
LISTED = 32768
# how much is copied at a time
COPIED = 262144


def arguments(kinds, body):
    values = []
    at = 0
    for kind in kinds:
        if kind == "d":
            value = memoryview(body)[at:]
        elif kind == "q":
            (value,) = struct.unpack_from(">Q", body, at)
            at += 8
        else:
            (value,) = struct.unpack_from(">I", body, at)
            at += 4
            if kind in "pt":
                size, value = value, body[at : at + value]
                at += size
                if len(value) < size or b"\0" in value:
                    raise ValueError()
        values.append(value)
    return values


class OpenFile:
    def __init__(self, fd, append):
        self.fd = fd
        self.append = append

    def seek(self, offset):
        # not pread() and pwrite(), whose errors are others
        os.lseek(self.fd, offset, os.SEEK_SET)

    def write(self, data):
        # all or an error; of nothing, whether it could be written
        data = data[os.write(self.fd, data) :]
        while data:
            data = data[os.write(self.fd, data) :]

    def close(self):
        os.close(self.fd)


class OpenDirectory:
    def __init__(self, fd, path):
        self.fd = fd
        self.path = path
        self.names = None
        self.start()

    def start(self):
        # . and .. come first, which scandir leaves out
        self.fresh = True
        if self.names is not None:
            self.names.close()
        try:
            self.names = os.scandir(self.fd)
        except TypeError:
            # Python 3.6 takes only paths
            self.names = os.scandir(self.path)

    def close(self):
        self.names.close()
        os.close(self.fd)


class Operations:
    def __init__(self):
        self.handles = {}
        self.last = 0

    def keep(self, thing, path):
        # an answer to opening: the handle, and what the kernel has really opened
        self.last += 1
        self.handles[self.last] = thing
        try:
            real = os.readlink(b"/proc/self/fd/%d" % thing.fd)
        except OSError:
            real = os.path.realpath(path)
        return struct.pack(">II", self.last, len(real)) + real

    # --- files

    def open(self, path, flags, mode):
        how = os.O_RDWR if flags & 3 == READ | WRITE else os.O_WRONLY if flags & WRITE else os.O_RDONLY
        for bit, value in (
            (APPEND, os.O_APPEND),
            (CREATE, os.O_CREAT),
            (TRUNCATE, os.O_TRUNC),
            (EXCLUSIVE, os.O_EXCL),
        ):
            if flags & bit:
                how |= value
        # never waits for the other end of a named pipe, nor later for what is in it: that would stop the operations behind
        how |= os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(path, how, 0o666 if mode == NO_MODE else mode)
        return self.keep(OpenFile(fd, flags & APPEND), path)

    def read(self, handle, offset, length):
        # short only at the end of the file
        file = self.handles[handle]
        file.seek(offset)
        length = min(length, LONGEST_READ)
        data = os.read(file.fd, length) if length else b""
        while 0 < len(data) < length:
            more = os.read(file.fd, length - len(data))
            if not more:
                break
            data += more
        return data

    def write(self, handle, offset, data):
        file = self.handles[handle]
        if not file.append:
            file.seek(offset)
        file.write(data)

    def copy(self, handle, offset, length, to, to_offset):
        # how much it was; less only at the end of the file
        file, other = self.handles[handle], self.handles[to]
        file.seek(offset)
        if not other.append:
            other.seek(to_offset)
        copied = 0
        while copied < length:
            data = os.read(file.fd, min(length - copied, COPIED))
            if not data:
                break
            other.write(data)
            copied += len(data)
        return struct.pack(">Q", copied)

    def close(self, handle):
        self.handles.pop(handle).close()

    def fsync(self, handle):
        os.fsync(self.handles[handle].fd)

    # --- attributes

    def attributes(self, found):
        return struct.pack(
            ">QIIIQQ",
            found.st_size,
            found.st_uid,
            found.st_gid,
            found.st_mode,
            # a time before 1970 is negative
            int(found.st_atime) & 0xFFFFFFFFFFFFFFFF,
            int(found.st_mtime) & 0xFFFFFFFFFFFFFFFF,
        )

    def stat(self, path):
        return self.attributes(os.stat(path))

    def lstat(self, path):
        return self.attributes(os.lstat(path))

    def fstat(self, handle):
        return self.attributes(os.fstat(self.handles[handle].fd))

    def set_stat(self, path, *change):
        self.change(path, True, *change)

    def fset_stat(self, handle, *change):
        self.change(self.handles[handle].fd, True, *change)

    def lset_stat(self, path, *change):
        self.change(path, False, *change)

    def change(self, target, follow, mask, size, uid, gid, mode, atime, mtime):
        # goes on after an error and raises the last one; a size first, since it moves the times
        link = {} if follow else {"follow_symlinks": False}
        if mask & SIZE and not follow:
            # there is no such thing, and nothing else is done
            raise OSError(errno.EINVAL, "")
        failed = None
        for bit, step in (
            (SIZE, lambda: os.truncate(target, size)),
            (MODE, lambda: self.change_mode(target, follow, mode & 0o7777)),
            (TIMES, lambda: os.utime(target, (atime, mtime), **link)),
            (OWNER, lambda: os.chown(target, uid, gid, **link)),
        ):
            if mask & bit:
                try:
                    step()
                except OSError as error:
                    failed = error
                except OverflowError:
                    failed = OSError(errno.EINVAL, "")
        if failed is not None:
            raise failed

    def change_mode(self, target, follow, mode):
        if follow:
            os.chmod(target, mode)
            return
        # Linux has no lchmod(2); what is open by its name alone is not exchanged for a link meanwhile
        fd = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_mode & 0o170000 == 0o120000:
                raise OSError(errno.EOPNOTSUPP, "")
            os.chmod(b"/proc/self/fd/%d" % fd, mode)
        finally:
            os.close(fd)

    # --- directories

    def open_dir(self, path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self.keep(OpenDirectory(fd, path), path)

    def read_dir(self, handle, again):
        # some of its names; none at the end. From the first on, if asked for again
        directory = self.handles[handle]
        if again:
            directory.start()
        entries = []
        if directory.fresh and os.fstat(directory.fd).st_nlink:
            directory.fresh = False
            for name in (b".", b".."):
                entries.append(self.entry(name, os.stat(name, dir_fd=directory.fd)))
        size = 0
        for found in directory.names:
            try:
                entries.append(self.entry(os.fsencode(found.name), found.stat(follow_symlinks=False)))
            except OSError:
                # it has gone since
                continue
            size += len(entries[-1])
            if size > LISTED:
                break
        return struct.pack(">I", len(entries)) + b"".join(entries)

    def entry(self, name, found):
        import grp

        parts = [struct.pack(">I", len(name)), name, self.attributes(found), struct.pack(">I", found.st_nlink)]
        for lookup, number in ((pwd.getpwuid, found.st_uid), (grp.getgrgid, found.st_gid)):
            try:
                text = lookup(number)[0].encode()
            except (KeyError, OSError):
                text = b"%d" % number
            parts += [struct.pack(">I", len(text)), text]
        return b"".join(parts)

    def make_dir(self, path, mode):
        os.mkdir(path, mode & 0o7777)

    def remove_dir(self, path):
        os.rmdir(path)

    # --- names

    def remove(self, path):
        os.unlink(path)

    def rename(self, old, new, replace):
        if replace:
            os.rename(old, new)
            return
        if os.lstat(old).st_mode & 0o170000 == 0o100000:
            # never over what is there, not even over what has come this moment
            try:
                os.link(old, new)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV):
                    raise
            else:
                try:
                    os.unlink(old)
                except OSError:
                    os.unlink(new)
                    raise
                return
        try:
            os.stat(new)
        except OSError:
            os.rename(old, new)
            return
        raise OSError(errno.EEXIST, "")

    def read_link(self, path):
        return os.readlink(path)

    def symlink(self, target, path):
        os.symlink(target, path)

    def link(self, old, new):
        os.link(old, new)

    def real_path(self, path):
        return real_path(path)

    def expand_path(self, path):
        return expand_path(path)

    def home_directory(self, name):
        # of whoever this is, if there is a user of the name that was asked for
        home_of(name)
        return os.fsencode(pwd.getpwuid(os.getuid()).pw_dir)

    def names_of(self, users, numbers):
        # so many users and then groups, none where there is no name
        import grp

        names = []
        for at in range(0, len(numbers) // 4 * 4, 4):
            lookup = pwd.getpwuid if at < users * 4 else grp.getgrgid
            try:
                name = lookup(struct.unpack_from(">I", numbers, at)[0])[0].encode()
            except (KeyError, OSError):
                name = b""
            names.append(struct.pack(">I", len(name)) + name)
        return b"".join(names)

    def most_open(self, wanted):
        import resource

        # but for those that the helper has itself
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return struct.pack(">I", wanted if most == resource.RLIM_INFINITY else min(wanted, max(most - 64, 0)))

    # --- file systems

    def figures(self, target):
        found = os.statvfs(target)
        return struct.pack(
            ">11Q",
            found.f_bsize,
            found.f_frsize,
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_favail,
            getattr(found, "f_fsid", 0) & (1 << 64) - 1,
            # read-only and no set-user-id, which are the ones that the protocol has
            found.f_flag & 3,
            found.f_namemax,
        )

    def file_system(self, path):
        return self.figures(path)

    def file_system_of(self, handle):
        return self.figures(self.handles[handle].fd)
