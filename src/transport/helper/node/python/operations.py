# What the file service can do, by name.
import errno
import os
import pwd
import struct

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
    11: ("read_dir", "h"),
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

    def close(self):
        os.close(self.fd)


class OpenDirectory:
    def __init__(self, fd, path):
        self.fd = fd
        # . and .. come first, which scandir leaves out
        self.fresh = True
        try:
            self.names = os.scandir(fd)
        except TypeError:
            # Python 3.6 takes only paths
            self.names = os.scandir(path)

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
        # without waiting for the other end of a named pipe, which would stop the operations behind this one
        how |= os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(path, how, 0o666 if mode == NO_MODE else mode)
        if os.fstat(fd).st_mode & 0o170000 == 0o040000:
            os.close(fd)
            raise OSError(errno.EISDIR, "")
        os.set_blocking(fd, True)
        return self.keep(OpenFile(fd, flags & APPEND), path)

    def read(self, handle, offset, length):
        # short only at the end of the file
        fd = self.handles[handle].fd
        length = min(length, LONGEST_READ)
        data = os.pread(fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def write(self, handle, offset, data):
        # all or an error
        file = self.handles[handle]
        while data:
            done = os.write(file.fd, data) if file.append else os.pwrite(file.fd, data, offset)
            data = data[done:]
            offset += done

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
        failed = None
        for bit, step in (
            (SIZE, lambda: os.truncate(target, size)),
            (MODE, lambda: os.chmod(target, mode & 0o7777)),
            (TIMES, lambda: os.utime(target, (atime, mtime), **link)),
            (OWNER, lambda: os.chown(target, uid, gid, **link)),
        ):
            if mask & bit:
                if bit in (SIZE, MODE) and not follow:
                    failed = OSError(errno.EOPNOTSUPP, "")
                    continue
                try:
                    step()
                except OSError as error:
                    failed = error
        if failed is not None:
            raise failed

    # --- directories

    def open_dir(self, path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self.keep(OpenDirectory(fd, path), path)

    def read_dir(self, handle):
        # some of its names; none at the end
        directory = self.handles[handle]
        entries = []
        if directory.fresh:
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
        if not replace:
            try:
                os.lstat(new)
            except FileNotFoundError:
                pass
            else:
                raise OSError(errno.EEXIST, "")
        os.rename(old, new)

    def read_link(self, path):
        return os.readlink(path)

    def symlink(self, target, path):
        os.symlink(target, path)

    def link(self, old, new):
        os.link(old, new)

    def real_path(self, path):
        # the last component need not exist, the others must
        real = os.path.realpath(path)
        if not os.path.lexists(real):
            os.stat(os.path.dirname(real) + b"/.")
        return real

    def expand_path(self, path):
        # ~ and ~user at the start
        if path.startswith(b"~"):
            name, slash, rest = path[1:].partition(b"/")
            try:
                home = pwd.getpwnam(os.fsdecode(name)) if name else pwd.getpwuid(os.getuid())
            except KeyError:
                raise OSError(errno.ENOENT, "") from None
            path = os.fsencode(home.pw_dir) + slash + rest
        return self.real_path(path)

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
            found.f_flag,
            found.f_namemax,
        )

    def file_system(self, path):
        return self.figures(path)

    def file_system_of(self, handle):
        return self.figures(self.handles[handle].fd)
