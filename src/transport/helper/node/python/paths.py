# Real names of paths, and homes: as OpenSSH's sftp-server finds them.
import errno
import os
import pwd

# Linux's limit of a path, and how many links one may lead over (sftp-realpath.c)
PATH_MAX = 4096
MOST_LINKS = 33


def fail(number):
    raise OSError(number, os.strerror(number))


def real_path(path):
    # absolute, without links; the last name need not exist unless a slash follows it, the others must
    if not path:
        fail(errno.ENOENT)
    real = b"/" if path.startswith(b"/") else os.getcwdb()
    left = path[1:] if path.startswith(b"/") else path
    if len(left) >= PATH_MAX:
        fail(errno.ENAMETOOLONG)
    links = 0
    while left:
        name, slash, left = left.partition(b"/")
        if name in (b"", b"."):
            continue
        if name == b"..":
            real = os.path.dirname(real)
            continue
        here = real
        real = real.rstrip(b"/") + b"/" + name
        if len(real) >= PATH_MAX:
            fail(errno.ENAMETOOLONG)
        try:
            is_link = os.lstat(real).st_mode & 0o170000 == 0o120000
        except FileNotFoundError:
            if slash:
                raise
            return real
        if is_link:
            if links >= MOST_LINKS:
                fail(errno.ELOOP)
            links += 1
            target = os.readlink(real)
            real = b"/" if target.startswith(b"/") else here
            left = target + b"/" + left if slash and not target.endswith(b"/") else target + left
            if len(left) >= PATH_MAX:
                fail(errno.ENAMETOOLONG)
    return real


def home_of(name):
    try:
        return os.fsencode(pwd.getpwnam(os.fsdecode(name)).pw_dir)
    except KeyError:
        fail(errno.ENOENT)


def expand_path(path):
    # ~ and ~user at the start; the directory that relative paths start from is the user's home
    name, slash, rest = path.partition(b"/")
    if name == b"~":
        path = b"./" + rest
    elif name.startswith(b"~"):
        path = home_of(name[1:]) + slash + rest
    return real_path(path or b".")
